"""``lmroute health``: how the servers are, once or as they change, over the real emulator."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from lmroute.cli import main, statuses, watching
from lmroute.emulator.running import running
from lmroute.health import looking
from lmroute.health.status import Status
from lmroute.model import Health, Profile
from lmroute.providers.probe import ErrorCode, Outcome, Phase, State

NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def emulator():
    with running() as server:
        yield server


@pytest.fixture
def health(emulator, capsys):
    """Run it against the emulator, of which ollama's profile knows too little; exit code, stdout and stderr."""

    def run(*words, url=None):
        overrides = (f"providers.lmstudio.endpoint={url or emulator.url}",)
        selected = () if any(word.startswith("provider=") for word in words) else ("provider=[lmstudio]",)
        code = main(["health", *words, *selected, *overrides])
        return (code, *capsys.readouterr())

    return run


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_server_that_is_well(health):
    code, out, err = health()
    assert code == 0
    assert "✔ lmstudio  healthy" in out
    assert "local_first/local: 1 of 1 candidates up" in out
    assert "connect" not in out
    assert err == ""


def test_one_that_is_not_with_what_to_do(health):
    code, out, _ = health(url=NOBODY)
    assert code == 1
    assert "✖ lmstudio  down" in out
    assert "connection_refused: http://127.0.0.1:9/v1: connection refused" in out
    assert "help: start LM Studio's server" in out
    assert "connect 0 ms failed" in out or "connect 1 ms failed" in out
    assert "local_first/local: 0 of 1 candidates up, down" in out


def test_phases_are_told_on_demand(health):
    code, out, _ = health("--phases")
    assert code == 0
    assert all(f"{name} " in out for name in ("dns", "connect", "auth", "list", "model"))


def test_a_chat_is_asked_for_on_demand(health):
    code, out, _ = health("--chat")
    assert code == 0
    assert "chat " in out


def test_named_providers_are_told_without_rules(health):
    code, out, _ = health("ollama", f"providers.ollama.endpoint={NOBODY}", "provider=[lmstudio,ollama]")
    assert code == 1
    assert "ollama" in out
    assert "lmstudio" not in out
    assert "local_first" not in out


def test_the_document(health):
    code, out, _ = health("--json", f"providers.ollama.endpoint={NOBODY}", "provider=[lmstudio,ollama]")
    document = json.loads(out)
    well, sick = document["providers"]
    assert code == 1
    assert document["format_version"] == "1.0"
    assert (well["provider"], well["state"], well["errorCode"]) == ("lmstudio", "healthy", None)
    assert well["models"]
    assert well["lastChecked"].endswith("Z")
    assert (sick["provider"], sick["state"], sick["errorCode"]) == ("ollama", "down", "connection_refused")
    assert [phase["outcome"] for phase in sick["phases"]] == ["ok", "failed", *["skipped"] * 4]
    rule = next(rule for rule in document["rules"] if rule["rule"] == "local")
    assert (rule["policy"], rule["state"], rule["up"]) == ("local_first", "degraded", 1)
    assert [(one["provider"], one["state"]) for one in rule["candidates"]] == [
        ("lmstudio", "healthy"),
        ("ollama", "down"),
    ]


def test_serving_is_about_the_rules(health):
    words = ("provider=[lmstudio,ollama]", f"providers.ollama.endpoint={NOBODY}")
    assert health(*words)[0] == 1
    assert health(*words, "--serving")[0] == 0
    assert health(*words, "--serving", url=NOBODY)[0] == 1


def test_one_that_is_off_is_told_as_such(health):
    code, out, _ = health("++providers.lmstudio.enabled=false")
    assert code == 1, "nobody is left who is well"
    assert "? lmstudio  unknown" in out
    assert "off, so it was not asked" in out
    assert "help: leave out ++providers.lmstudio.enabled=false" in out


def test_nobody_is_not_well(health):
    assert health("provider=[]")[0] == 1


def test_waiting_ends_when_all_are_well(health, monkeypatch):
    port = free_port()
    with ExitStack() as servers:
        sleeps = []

        def sleep(seconds):
            if not sleeps:
                servers.enter_context(running(port=port))
            sleeps.append(seconds)

        monkeypatch.setattr(looking, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
        code, out, _ = health("--wait", "60", "--interval", "0.25", url=f"http://127.0.0.1:{port}")
    assert code == 0
    assert "healthy" in out
    assert set(sleeps) == {0.25}


def test_waiting_ends_when_the_time_is_over(health, monkeypatch):
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(looking, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    code, out, _ = health("--wait", "2.5", url=NOBODY)
    assert code == 1
    assert "down" in out
    assert now == [2.5]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--watch", "--chat"), "--chat is for a single look"),
        (("--watch", "--serving"), "--serving is for a single look"),
        (("--interval", "3"), "--interval goes with --watch or --wait"),
        (("lmstudio", "--serving"), "write provider=[lmstudio]"),
        (("nobody",), "no provider is called 'nobody'"),
        (("--watch", "++providers.lmstudio.enabled=false"), "no provider is on"),
    ],
)
def test_what_makes_no_sense_is_refused(health, words, said):
    code, out, err = health(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert "help: " in err


@pytest.mark.parametrize(
    "words", [("--wait", "-1"), ("--wait", "inf"), ("--watch", "--wait", "3"), ("--interval", "x")]
)
def test_what_cannot_be_read_is_refused(health, words):
    with pytest.raises(SystemExit) as ended:
        health(*words)
    assert ended.value.code == 2


SICK = Status("a", State.DOWN, 90.0, "no answer", ErrorCode.TIMEOUT, "restart it", 2000.0)


@pytest.mark.parametrize(("encoding", "signs"), [("ascii", False), ("latin-1", False), ("utf-8", True)])
def test_signs_only_where_they_can_be_shown_and_the_word_always(monkeypatch, encoding, signs):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    for state in State:
        line = next(statuses.lines([Status("a", state)], 0.0))
        assert line.isascii() is not signs or state is State.UNKNOWN
        assert state.value in line


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "now"), (0.4, "now"), (50, "50 s ago"), (61, "1 min ago"), (7300, "2 h ago"), (200_000, "2 d ago")],
)
def test_ages(seconds, said):
    assert statuses.age(seconds) == said


def test_what_is_told_of_a_sick_one():
    phases = (Phase("connect", 2.4, Outcome.OK), Phase("list", 1997.6, Outcome.FAILED), Phase("model"))
    told = list(statuses.lines([Status(*_fields(SICK), phases=phases)], 100.0))
    assert told == [
        "✖ a  down  2000 ms  checked 10 s ago",
        "    timeout: no answer",
        "    help: restart it",
        "    connect 2 ms, list 1998 ms failed",
    ]


def _fields(status):
    fields = ("provider", "state", "last_checked", "message", "error_code", "fix", "latency_ms")
    return [getattr(status, name) for name in fields]


def test_an_announcement_is_one_line():
    assert statuses.announcement(SICK) == "✖ a is down (timeout): no answer; help: restart it"
    assert statuses.announcement(Status("a", State.HEALTHY)) == "✔ a is healthy"


def test_a_watch_ends_when_nobody_reads_it(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", encoding="utf-8") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        monkeypatch.setattr(watching, "_heard", lambda *_: iter([SICK] * 3))
        assert watching.watch([Profile("a", "lmstudio")], Health(watch=True), as_json=False) == 0


def test_a_watch_is_lines_of_json_for_programs(monkeypatch, capsys):
    monkeypatch.setattr(watching, "_heard", lambda *_: iter([SICK, Status("a", State.HEALTHY)]))
    watching.watch([Profile("a", "lmstudio")], Health(watch=True), as_json=True)
    assert [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()] == ["down", "healthy"]


def test_help_needs_neither_hydra_nor_an_http_client():
    heavy = "{'hydra', 'httpx', 'httpcore', 'dspy', 'jsonschema'}"
    asked = f"import sys, lmroute.cli.health; print({heavy} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", asked], text=True).strip() == "set()"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_watch_tells_changes_until_it_is_interrupted():
    with ExitStack() as servers:
        server = servers.enter_context(running())
        overrides = ("provider=[lmstudio]", f"providers.lmstudio.endpoint={server.url}")
        process = subprocess.Popen(
            [sys.executable, "-m", "lmroute.cli", "health", "--watch", "--interval", "0.2", *overrides],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        )
        try:
            assert process.stdout.readline().endswith("✔ lmstudio is healthy\n")
            servers.close()
            assert "✖ lmstudio is down (connection_refused)" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
            assert process.stderr.read() == ""
        finally:
            process.kill()
            process.communicate()
