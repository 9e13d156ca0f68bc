"""`lmroute validate`: what goes where, and with which exit code."""

import io
import itertools
import json
import os
import socket
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from lmroute.cli import main, output
from lmroute.diagnostics import Report
from lmroute.emulator.running import running
from lmroute.validate import selection

GOOD = """\
# @package providers.mine
id: mine
type: openai_compatible
endpoint: http://127.0.0.1:8080
models: [auto]
locality: loopback
"""
BAD = GOOD.replace("models", "modles")
WARNED = GOOD + "enabled: on\n"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder without a project, an empty configuration folder, and no CI system."""
    for name in ("GITHUB_ACTIONS", "GITHUB_WORKSPACE", "GITHUB_STEP_SUMMARY", "LMROUTE_FORMAT", "FORCE_COLOR",
                 "LM_API_TOKEN", "LMSTUDIO_API_TOKEN", "OPENAI_API_KEY"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path.resolve()
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(folder / "own"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def mine(here):
    """Write a profile of one's own."""

    def write(text):
        file = here / "own" / "provider" / "mine.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    return write


@pytest.fixture
def ran(capsys):
    """Run the verb: ``ran(*words) -> exit code, stdout, stderr``."""

    def run(*words):
        code = main(["validate", *words])
        return code, *capsys.readouterr()

    return run


def test_what_is_shipped_is_good(ran):
    code, out, err = ran()

    assert (code, err) == (0, "")
    assert out.startswith("all good: checked ")
    assert out.endswith(" compositions\n")


def test_a_mistake_is_told_with_its_place_and_its_fix(ran, mine):
    mine(BAD)

    code, out, err = ran("--files-only")

    assert (code, err) == (1, "")
    found, advice, last = out.splitlines()
    assert found == "own/provider/mine.yaml:5:1: LMR102 providers.mine.modles: unknown key"
    assert advice == "  help: did you mean 'models'?"
    assert last.startswith("1 error in ")


@pytest.mark.parametrize(
    ("text", "options", "code"),
    [
        (GOOD, [], 0),
        (BAD, [], 1),
        (BAD, ["--exit-zero"], 0),
        (BAD, ["--fail-on", "warning"], 1),
        (WARNED, [], 0),
        (WARNED, ["--fail-on", "error"], 0),
        (WARNED, ["--fail-on", "warning"], 1),
        (WARNED, ["--fail-on", "warning", "--exit-zero"], 0),
        (WARNED, ["--fail-on", "warning", "--ignore", "LMR003"], 0),
        (BAD, ["--ignore", "LMR1"], 0),
        (BAD, ["--ignore", "lmr102,003"], 0),
        (BAD, ["--select", "LMR1"], 1),
        (BAD, ["--select", "003"], 0),
        (BAD, ["--select", "LMR003", "--select", "LMR1"], 1),
        (BAD, ["--select", "LMR1", "--ignore", "LMR102"], 0),
    ],
)
def test_exit_codes(ran, mine, text, options, code):
    mine(text)

    assert ran("--files-only", *options)[0] == code


@pytest.mark.parametrize("kind", ["text", "full", "github"])
def test_what_is_not_selected_is_said_to_be_hidden(ran, mine, kind):
    mine(BAD)

    out = ran("--files-only", "--ignore", "LMR102", "--format", kind)[1]
    assert out.startswith("1 error hidden by --select/--ignore in ")


def test_options_and_overrides_come_in_any_order(monkeypatch):
    seen = []
    monkeypatch.setattr(selection, "run", lambda request: seen.append(request) or Report())

    for words in itertools.permutations(["routing=x", "~task.tags", "--format=json", "+a={b: =c}", "-m"]):
        assert main(["validate", *words]) == 0
        assert seen[-1].overrides == tuple(word for word in words if not word.startswith("-"))
        assert seen[-1].multirun


def test_an_option_with_a_value_between_overrides(ran):
    code, out, _ = ran("provider=openai", "--format", "json", "routing=local_only")

    assert code == 1
    assert [one["code"] for one in json.loads(out)["diagnostics"]] == ["LMR302"]
    assert json.loads(out)["checked"]["compositions"] == 1


def test_a_sweep_is_checked_job_by_job(ran):
    code, out, _ = ran("-m", "provider=lmstudio,openai", "routing=local_only,cost_first", "--format", "json")

    report = json.loads(out)
    assert code == 1
    assert report["checked"]["compositions"] == 4
    assert "lmroute validate provider=openai routing=local_only" in {d["reproduce"] for d in report["diagnostics"]}


@pytest.mark.parametrize(
    ("environment", "options", "first"),
    [
        ({}, [], "own/provider"),
        ({}, ["--format", "full"], "error[LMR102]"),
        ({"LMROUTE_FORMAT": "full"}, [], "error[LMR102]"),
        ({"LMROUTE_FORMAT": "full"}, ["--format", "text"], "own/provider"),
        ({"GITHUB_ACTIONS": "true"}, [], "::error file=own/provider/mine.yaml,"),
        ({"GITHUB_ACTIONS": "false"}, [], "own/provider"),
        ({"GITHUB_ACTIONS": "true", "LMROUTE_FORMAT": "text"}, [], "own/provider"),
        ({"GITHUB_ACTIONS": "true"}, ["--format", "json"], "{\n"),
        ({}, ["--format", "sarif"], "{\n"),
        ({}, ["--format", "junit"], "<?xml "),
    ],
)
def test_the_format_is_asked_for_or_found_out(ran, mine, monkeypatch, *, environment, options, first):
    mine(BAD)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    code, out, _ = ran("--files-only", *options)

    assert code == 1
    assert out.startswith(first)


def test_in_a_job_of_github_the_summary_page_is_written_too(ran, mine, here, monkeypatch):
    mine(BAD)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(here / "page.md"))

    ran("--files-only")

    assert "| error LMR102 |" in (here / "page.md").read_text(encoding="utf-8")


def test_a_report_goes_to_a_file_and_its_sum_to_stderr(ran, mine, here, monkeypatch):
    mine(BAD)
    monkeypatch.setenv("FORCE_COLOR", "1")

    code, out, err = ran("--files-only", "--format", "junit", "--output", "report.xml")

    assert (code, out) == (1, "")
    assert ET.parse(here / "report.xml").getroot().get("failures") == "1"
    assert err.startswith("1 error in ")
    assert err.endswith(" files; the report is in report.xml\n")

    ran("--files-only", "--output", "report.txt")
    assert "\x1b" not in (here / "report.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["text", "full", "github"])
def test_quiet_says_nothing_when_there_is_nothing_to_say(ran, mine, name):
    mine(GOOD)
    assert ran("--quiet", "--files-only", "--format", name) == (0, "", "")

    mine(BAD)
    assert "LMR102" in ran("--quiet", "--files-only", "--format", name)[1]


@pytest.mark.parametrize("name", ["json", "sarif", "junit"])
def test_a_document_is_written_quiet_or_not(ran, name):
    assert ran("--quiet", "--files-only", "--format", name)[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--files-only", "seed=1"], "--files-only composes nothing"),
        (["--files-only", "-m"], "--files-only composes nothing"),
        (["--live", "--files-only"], "leave out --files-only"),
        (["--live", "-m", "seed=1,2"], "leave out -m"),
        (["--select", "LMR103x"], "there is no code 'LMR103x'\n  help: did you mean 'LMR103'?"),
        (["--ignore", "LMR9"], "there is no code 'LMR9'\n  help: write a code, or what several begin with"),
        (["--ignore", ""], "there is no code ''"),
        (["--select", "LMR1,"], "there is no code ''"),
        (["--files-only", "--output", "absent/x.txt"], "cannot be written: No such file"),
    ],
)
def test_wrong_usage_is_2_and_says_what_to_do(ran, words, said):
    code, out, err = ran(*words)

    assert (code, out) == (2, "")
    assert said in err


def test_a_format_from_the_environment_may_be_misspelt(ran, monkeypatch):
    monkeypatch.setenv("LMROUTE_FORMAT", "jsn")

    assert ran() == (2, "", "LMROUTE_FORMAT=jsn: there is no such format\n  help: did you mean 'json'?\n")


@pytest.mark.parametrize("words", [["--format", "xml"], ["--fail-on", "never"], ["--nonsense"]])
def test_what_argparse_refuses_is_2(ran, words):
    with pytest.raises(SystemExit) as ended:
        ran(*words)

    assert ended.value.code == 2


@pytest.mark.parametrize("name", ["text", "json", "sarif", "junit"])
def test_an_internal_error_is_2_and_no_document(ran, monkeypatch, name):
    def broken(request):
        raise KeyError("sk-abcdefgh12345678")

    monkeypatch.setattr(selection, "run", broken)

    code, out, err = ran("--format", name)

    assert (code, out) == (2, "")
    assert "internal error: KeyError" in err
    assert "abcdefgh" not in err


@pytest.mark.parametrize("words", [["--changed"], ["--changed="], ["--changed", "provider=lmstudio"]])
def test_changed_takes_a_commit_only_if_it_is_one(monkeypatch, words):
    seen = []
    monkeypatch.setattr(selection, "run", lambda request: seen.append(request) or Report())

    main(["validate", *words])

    assert seen[0].changed == ""
    assert seen[0].overrides == tuple(word for word in words if word.startswith("provider"))


def test_changed_hands_on_the_commit(monkeypatch):
    seen = []
    monkeypatch.setattr(selection, "run", lambda request: seen.append(request) or Report())

    main(["validate", "--changed", "main~2"])
    main(["validate", "--changed=main"])
    main(["validate"])

    assert [request.changed for request in seen] == ["main~2", "main", None]


@pytest.mark.parametrize(
    ("environment", "terminal", "wanted"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
    ],
)
def test_when_there_is_color(monkeypatch, environment, terminal, wanted):
    for name, value in {"TERM": "xterm", "NO_COLOR": "", **environment}.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stdout", stream)

    assert output.colored() is wanted


def test_color_comes_out(ran, mine, monkeypatch):
    mine(BAD)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)

    assert "\x1b[1;31mLMR102\x1b[0m" in ran("--files-only")[1]


def lmroute(*words, **more):
    return subprocess.run(
        [sys.executable, "-m", "lmroute.cli", *words], capture_output=True, timeout=120, check=False, **more
    )


def test_a_reader_who_leaves_is_no_error(here):
    reading, writing = os.pipe()
    os.close(reading)  # gone before the first word
    command = [sys.executable, "-m", "lmroute.cli", "explain", "--json"]
    try:
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=120, check=False)
    finally:
        os.close(writing)

    assert (done.returncode, done.stderr) == (0, b"")


def test_a_console_of_another_encoding_gets_escapes(here, mine):
    mine(GOOD.replace("id: mine", "id: mine\n名前: x"))

    done = lmroute("validate", "--files-only", env={**os.environ, "PYTHONIOENCODING": "ascii"})

    assert (done.returncode, done.stderr) == (1, b"")
    assert rb"\u540d\u524d: unknown key" in done.stdout


@pytest.mark.parametrize("name", ["json", "sarif", "junit"])
def test_a_document_is_whole_on_any_console(here, mine, name):
    mine(GOOD + "é名😀: x\n")

    done = lmroute("validate", "--files-only", "--format", name, env={**os.environ, "PYTHONIOENCODING": "ascii"})

    read = ET.fromstring if name == "junit" else json.loads
    found = read(done.stdout)
    texts = (
        [element.text or "" for element in found.iter()] if name == "junit" else [json.dumps(found, ensure_ascii=False)]
    )
    assert any("é名😀: unknown key" in text or '"providers.mine.é名😀"' in text for text in texts)


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (["--files-only"], {"dspy", "litellm", "httpx", "hydra", "omegaconf", "starlette"}),
        (["--files-only", "--format", "sarif"], {"dspy", "litellm", "httpx", "hydra", "omegaconf", "starlette"}),
        (["provider=lmstudio"], {"dspy", "litellm", "httpx", "starlette"}),
        (["--help"], {"dspy", "litellm", "httpx", "hydra", "omegaconf", "jsonschema"}),
    ],
)
def test_nothing_heavy_is_imported(here, words, absent):
    code = (
        "import sys; from lmroute.cli import main\n"
        f"try: main(['validate', *{words!r}])\n"
        "except SystemExit: pass\n"
        f"print(sorted({absent!r} & set(sys.modules)), file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)

    assert done.stderr == "[]\n"


@pytest.fixture
def closed():
    """A port of this machine that nobody listens to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_live_fails_when_a_rule_has_no_server_left(ran, closed):
    override = f"providers.lmstudio.endpoint=http://127.0.0.1:{closed}"

    code, out, err = ran("--live", "provider=lmstudio", override)

    assert code == 1
    assert f"<command line> {override}: LMR501 " in out
    assert "1 error in 7 files, 1 composition and 1 server\n" in out
    assert out.endswith("local_first/local: 0 of 1 candidates up, down\n")
    assert err == "asking lmstudio …\n"


def healthy(server):
    """Overrides that fit LM Studio's profile to the emulator's model."""
    profile = "providers.lmstudio"
    return ["provider=lmstudio", f"{profile}.endpoint={server.url}", f"{profile}.capabilities.tools=false"]


def test_live_is_good_when_the_servers_are(ran):
    with running() as server:
        words = [*healthy(server), "--live"]
        code, out, _ = ran(*words)
        as_json, document, beside = ran(*words, "--format", "json")

    assert code == as_json == 0
    assert out.startswith("all good: checked 7 files, 1 composition and 1 server\n")
    assert "local_first/local: 1 of 1 candidates up\n" in out
    assert json.loads(document)["checked"]["servers"] == 1
    assert "local_first/local: 1 of 1 candidates up\n" in beside


def test_live_wants_the_secrets_too(ran, mine, closed):
    server = GOOD.replace("8080", str(closed))
    mine(server + "auth_token: {env: LMROUTE_TEST_TOKEN_NOBODY_SETS}\n")

    assert ran("provider=mine")[0] == 0
    code, out, _ = ran("provider=mine", "--live", "--format", "json")

    found = json.loads(out)["diagnostics"]
    assert code == 1
    assert ("LMR401", "error") in {(one["code"], one["severity"]) for one in found}
    assert "LMR502" not in {one["code"] for one in found}


def test_live_says_how_to_ask_again(ran, closed):
    words = ["provider=lmstudio", f"providers.lmstudio.endpoint=http://127.0.0.1:{closed}"]

    _, out, _ = ran("--live", "--format", "json", *words)

    assert json.loads(out)["diagnostics"][0]["reproduce"] == f"lmroute validate {' '.join(words)} --live"


@pytest.mark.parametrize("words", [["provider=[]"], ["provider=olama"]])
def test_live_asks_nobody_about_a_broken_composition(ran, words):
    code, _, err = ran("--live", *words)

    assert code == 1
    assert err == "no server was asked: the composition has errors\n"


def test_quiet_holds_for_live_too(ran):
    with running() as server:
        assert ran(*healthy(server), "--live", "--quiet") == (0, "", "")
