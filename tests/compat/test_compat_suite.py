"""The suite itself: what it prints, what it leaves alone, what it tells of a server that is wrong."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from lmroute.emulator.faults import Faults
from lmroute.emulator.running import running
from lmroute.emulator.settings import Settings, Token
from lmroute.model import Secret

from .options import allowed, endpoint_of, token_of
from .table import BARRED, BEHAVIOURS, Table

HERE = Path(__file__).parent
TOKEN = "sk-lm-Hgfedcb2:Zyxwvutsrq1234567890"


def report(law, outcome, reason="", target="here", **properties):
    named = [("target", target), *properties.items()]
    longrepr = (__file__, 1, f"Skipped: {reason}") if outcome == "skipped" else reason
    nodeid = f"tests/compat/test_x.py::test_{law}_something[{target}]"
    return SimpleNamespace(nodeid=nodeid, outcome=outcome, when="call", longrepr=longrepr, user_properties=named)


def lines(*reports):
    table = Table()
    for one in reports:
        table.add(one)
    return list(table.lines())


def test_a_failure_outweighs_what_held_and_what_held_outweighs_what_was_skipped():
    told = lines(
        report("l01", "passed"),
        report("l01", "failed", "it was 7\nand more"),
        report("l02", "passed"),
        report("l02", "skipped", "no such thing"),
        report("l03", "passed"),
        report("l03", "skipped", f"{BARRED}load"),
        report("l04", "skipped", "no such thing"),
    )
    assert [line.split()[-1] for line in told[1:5]] == ["failed", "ok", "partly", "skipped"]
    assert told[5:] == [
        "",
        "L01 failed: it was 7",
        "L02 L04 skipped: no such thing",
        f"L03 skipped: {BARRED}load",
    ]


def test_each_server_has_its_column_and_what_was_seen_there():
    told = lines(
        report("l05", "passed", target="old", seen="nothing"),
        report("l05", "passed", target="new", seen="everything"),
        report("l06", "passed", target="new"),
    )
    assert told[0].split() == ["old", "new"]
    assert told[2].split()[-2:] == ["-", "ok"]
    assert told[4:] == ["L05 saw [old]: nothing", "L05 saw [new]: everything"]


def test_a_token_is_never_in_the_table():
    assert TOKEN not in "\n".join(lines(report("l16", "failed", f"Bearer {TOKEN} was refused")))


def test_what_is_no_behaviour_is_not_in_the_table():
    other = report("l01", "failed")
    other.nodeid = "tests/compat/test_compat_suite.py::test_that"
    assert lines(other) == []


def test_every_behaviour_has_a_test():
    text = "\n".join(file.read_text(encoding="utf-8") for file in HERE.glob("test_compat_*.py"))
    assert [law for law in BEHAVIOURS if f"def test_{law.lower()}_" not in text] == []
    assert list(BEHAVIOURS) == [f"L{number:02}" for number in range(1, 25)]


def run(*options):
    command = [sys.executable, "-m", "pytest", str(HERE), "-q", "-p", "no:cacheprovider", *options]
    env = {**os.environ, "LMROUTE_TEST_TOKEN": TOKEN, "COLUMNS": "200"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_a_given_server_is_only_read_and_what_is_wrong_with_it_is_told():
    broken = Faults(path="/lmstudio-greeting", html_500=True)
    settings = Settings(require_auth=True, tokens=(Token(Secret(TOKEN)),), faults=broken)
    with running(settings) as emulator:
        before = httpx.get(f"{emulator.url}/lmroute-emulator/state", trust_env=False).json()
        code, told = run("--endpoint", f"{emulator.url}/v1/", "--token-env", "LMROUTE_TEST_TOKEN")
        after = httpx.get(f"{emulator.url}/lmroute-emulator/state", trust_env=False).json()

    cells = {line[:3]: line.split()[-1] for line in told.splitlines() if line[:3] in BEHAVIOURS and ":" not in line}
    assert code == 1, told
    assert (cells["L01"], cells["L03"], cells["L05"], cells["L16"]) == ("failed", "ok", "skipped", "ok")
    assert emulator.url in told
    posted = {asked["path"] for asked in after["requests"] if asked["method"] != "GET" and asked["status"] == 200}
    assert posted <= {"/v1/models", "/v1/chat/completions", "/chat/completions", "/v1/completions"}  # as unknown routes
    assert [after[name] for name in ("instances", "downloads")] == [before[name] for name in ("instances", "downloads")]
    assert TOKEN not in told
    assert TOKEN[6:] not in told


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_told_once():
    with running() as emulator:
        url = emulator.url
    code, told = run("--endpoint", url, "-k", "l01")
    assert (code, told.count("does not answer")) == (2, 1)


@pytest.mark.slow
def test_a_server_that_wants_a_token_is_told_once():
    with running(Settings(require_auth=True, tokens=(Token(Secret(TOKEN)),))) as emulator:
        code, told = run("--endpoint", emulator.url, "-k", "l01")
    assert (code, told.count("wants an API token")) == (2, 1)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://127.0.0.1:1234", "http://127.0.0.1:1234"),
        ("http://127.0.0.1:1234/v1/", "http://127.0.0.1:1234"),
        ("https://box.local/lm/api/v1", "https://box.local/lm"),
        ("", None),
    ],
)
def test_an_endpoint_is_taken_with_and_without_v1(given, url):
    assert endpoint_of(Options(endpoint=given)) == url


@pytest.mark.parametrize(
    ("read", "option", "words"),
    [
        (endpoint_of, {"endpoint": "127.0.0.1:1234"}, "is a URL such as"),
        (endpoint_of, {"endpoint": "http://me:secret@127.0.0.1"}, "without user name"),
        (allowed, {"allow": "load,everything"}, "not everything"),
        (token_of, {"token_env": "LMROUTE_NO_SUCH"}, "LMROUTE_NO_SUCH is not set"),
    ],
)
def test_what_cannot_be_done_is_said(read, option, words):
    with pytest.raises(pytest.UsageError, match=words):
        read(Options(**option))


class Options(dict):
    def __init__(self, **options):
        super().__init__(options)

    def getoption(self, name, default):
        return self.get(name, default)
