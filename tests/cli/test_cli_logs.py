"""``lmroute logs``: the latest calls, one a line, followed, or one in full."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from lmroute.cli import logs as verb
from lmroute.cli import main
from lmroute.cli import records as shared
from lmroute.model import Attempt, Attributes, Candidate, Considered, Decision, Facts, Failure
from lmroute.telemetry.events import CANCELLED, CallEvent, Usage, records
from lmroute.telemetry.index import Damaged, Index, index_file
from lmroute.telemetry.usage import latest

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 23, 7, 40, tzinfo=UTC)
HERE, CLOUD = Candidate("lmstudio", "qwen3-8b"), Candidate("openai", "gpt-4.1-mini")
HOSTILE = "\x1b[31mred\x9b2J\x07\u202e\nnew line"


def event(call_id, *attempts, seconds=0.0, **known):
    made = {
        "call_id": call_id, "stack": "local_first@1", "attributes": Attributes(task="qa", tags=frozenset({"x"})),
        "decision": Decision("local", (Considered(HERE), Considered(CLOUD, "privacy is private"))),
        "attempts": attempts or (Attempt(HERE, 40.0, answered=HERE.model),), "usage": Usage(120, 7),
        "duration_ms": 99.0, "overhead_us": 9.0, "at": NOW.timestamp() + seconds,
        "facts": Facts(windows={HERE: 4096}),
    }  # fmt: skip
    return CallEvent(**made | known)


def fallen_back(call_id, **known):
    refused = Attempt(HERE, 2000.0, failure=Failure.TRANSPORT, message="connection refused")
    return event(call_id, refused, Attempt(CLOUD, 40.0, answered=CLOUD.model), **known)


def failed(call_id, **known):
    return event(call_id, Attempt(HERE, 2000.0, failure=Failure.TRANSPORT, message=HOSTILE), **known)


@pytest.fixture
def write():
    """Append events, or bytes, to the file of one of all programs' processes."""

    def append(*events, process=1, **changed):
        path = Path(os.environ["LMROUTE_STATE_HOME"]) / "events" / "2026-11-23" / f"host-{process}-1.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as out:
            for one in events:
                lines = (
                    [one]
                    if isinstance(one, bytes)
                    else [json.dumps(r | changed).encode() + b"\n" for r in records(one)]
                )
                out.write(b"".join(lines))
        return path

    return append


@pytest.fixture
def logs(capsys):
    def run(*words, code=0):
        assert main(["logs", *map(str, words)]) == code
        return capsys.readouterr()

    return run


def ids(text):
    return [line.split()[2] for line in text.splitlines()]


def test_without_records_it_tells_how_to_get_some(logs):
    shown = logs().out
    assert "no calls recorded yet" in shown
    assert "'lmroute logs -f' waits" in shown


def test_a_call_is_a_line(logs, write):
    write(event("c0ffee0123456789"), fallen_back("beef", seconds=1), failed("dead", seconds=2, usage=Usage()))
    lines = [line.split() for line in logs().out.splitlines()]
    assert lines[0] == [
        "2026-11-23",
        "07:40:00.000",
        "c0ffee01",
        "ok",
        "lmstudio/qwen3-8b",
        "local",
        "99",
        "ms",
        "120+7",
        "-",
    ]
    assert lines[1][3:5] == ["ok", "openai/gpt-4.1-mini"]
    assert lines[1][10:] == ["lmstudio/qwen3-8b", "(transport)", "->", "openai/gpt-4.1-mini"]
    assert lines[2][3:] == [
        "error", "nobody;", "asked", "lmstudio/qwen3-8b", "local", "99", "ms", "-", "-", "transport",
    ]  # fmt: skip


def test_a_call_that_nobody_answered_tells_who_was_asked_last(logs, write):
    refused = Attempt(HERE, 2.0, failure=Failure.TRANSPORT, message="no")
    given_up = Attempt(CLOUD, 40.0, is_cancelled=True, first_token_ms=3.0)
    write(event("beef", refused, given_up, refusal=CANCELLED))
    *_, unasked = records(event("dead", seconds=1))
    nobody = {"provider": None, "model": None, "status": "error", "attempts": 0}
    write(json.dumps(unasked | nobody).encode() + b"\n")
    cancelled, refused = (" ".join(line.split()) for line in logs().out.splitlines())
    assert "cancelled nobody; asked openai/gpt-4.1-mini local" in cancelled
    assert "error nobody local" in refused
    assert "nobody; asked openai/gpt-4.1-mini" in logs("--call", "beef").out
    assert json.loads(logs("--call", "beef", "--json").out)["call"]["provider"] is None


def test_a_price_is_shown_as_it_is_known(logs, write):
    write(event("free"), cost_usd=0.0)
    write(event("dear", seconds=1), cost_usd=0.000123)
    assert [line.split()[-1] for line in logs().out.splitlines()] == ["$0", "$0.000123"]


def test_a_small_price_is_no_zero(logs, write):
    write(event("dear"), cost_usd=0.000_000_2)
    assert logs().out.split()[-1] == "<$0.000001"


@pytest.fixture
def busy(monkeypatch):
    """Another process keeps the index to itself, for longer than anybody waits."""
    monkeypatch.setattr(shared, "WAIT_S", 0.01)
    with Index(index_file()) as index, index._lock():
        yield


def test_the_newest_are_shown_while_another_process_keeps_the_index(logs, write, request):
    write(event("c0ffee"))
    logs()
    write(event("beef", seconds=1))
    request.getfixturevalue("busy")
    for form in ((), ("--json",)):
        shown = logs(*form)
        assert shown.out.count("\n") == 2
        assert shown.err.count("another process keeps the usage index to itself") == 1


@pytest.mark.usefixtures("busy")
def test_nothing_found_is_not_nothing_there_while_the_index_is_kept(logs):
    out = logs().out
    assert "no calls recorded yet" not in out
    assert "the usage index may know more" in out


def test_who_follows_is_told_once_that_the_index_is_kept(logs, write, monkeypatch):
    write(event("c0ffee"))
    monkeypatch.setattr(shared, "WAIT_S", 0.01)
    polls = []

    def poll(_):
        if len(polls) == 3:
            polls[0].release()
            write(event("beef", seconds=1))
        elif len(polls) > 3:
            raise KeyboardInterrupt
        polls.append(Index(index_file())._lock())
        if len(polls) == 1:
            polls[0].acquire()

    monkeypatch.setattr(verb, "time", SimpleNamespace(sleep=poll))
    shown = logs("-f", code=130)
    assert ids(shown.out) == ["c0ffee", "beef"]
    assert shown.err.count("another process keeps the usage index to itself") == 1


@pytest.mark.parametrize("word", ["", "  "])
def test_an_empty_id_is_refused(word, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["logs", "--call", word])
    assert ended.value.code == 2
    assert "is no id of a call; 'lmroute logs' shows those" in capsys.readouterr().err


def test_an_id_may_be_written_in_capitals(logs, write):
    write(event("c0ffee"))
    assert ids(logs("--call", "C0FF").out.splitlines()[0]) == ["c0ffee"]


def test_the_latest_of_all_processes_in_the_order_of_time(logs, write):
    for number in range(30):
        write(event(f"c{number:02}", seconds=number), process=number % 3)
    assert ids(logs().out) == [f"c{number}" for number in range(10, 30)]
    assert ids(logs("-n", "2").out) == ["c28", "c29"]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--status", "error"], ["dead"]),
        (["--status", "error", "--status", "ok"], ["c0ffee", "beef", "dead"]),
        (["--provider", "openai"], ["beef"]),
        (["--rule", "local", "--task", "qa"], ["c0ffee", "beef", "dead"]),
        (["--error-code", "transport"], ["dead"]),
        (["--since", "2026-11-23T07:40:01"], ["beef", "dead"]),
        (["--until", "2026-11-23T07:40:01"], ["c0ffee"]),
    ],
)
def test_only_the_calls_that_are_asked_for(logs, write, words, shown):
    write(event("c0ffee"), fallen_back("beef", seconds=1), failed("dead", seconds=2))
    assert ids(logs(*words).out) == shown


def test_what_is_asked_for_and_not_there_is_said(logs, write, tmp_path):
    write(event("c0ffee"))
    assert logs("--rule", "none").out.startswith("no such calls are recorded")
    assert logs(tmp_path, "--rule", "none").out.startswith("there are no such calls in ")


def test_attempts_stand_below_their_call_with_what_was_said(logs, write):
    write(fallen_back("beef"))
    assert [line.split() for line in logs("--attempts").out.splitlines()[1:]] == [
        ["1", "lmstudio/qwen3-8b", "transport", "2,000", "ms", "connection", "refused"],
        ["2", "openai/gpt-4.1-mini", "ok", "40", "ms"],
    ]


def test_as_json_they_are_the_records_themselves(logs, write):
    written = [*map(json.loads, map(json.dumps, records(fallen_back("beef"))))]
    write(fallen_back("beef"))
    assert [json.loads(line) for line in logs("--json").out.splitlines()] == written[2:]
    assert [json.loads(line) for line in logs("--json", "--attempts").out.splitlines()] == written
    assert logs("--json", "--rule", "none").out == ""


def test_one_call_in_full(logs, write):
    write(event("c0ffee"), fallen_back("beefcafe"))
    out = " ".join(logs("--call", "beef").out.split())
    for told in (
        "beefcafe ok openai/gpt-4.1-mini",
        "1 lmstudio/qwen3-8b transport 2,000 ms connection refused",
        "stack local_first@1",
        "lmstudio/qwen3-8b kept",
        "openai/gpt-4.1-mini dropped: privacy is private",
        'tags ["x"]',
        'windows {"lmstudio/qwen3-8b": 4096}',
    ):
        assert told in out
    assert "prompt:" not in out
    document = json.loads(logs("--call", "beefcafe", "--json").out)
    assert document["call"]["call"] == "beefcafe"
    assert [each["attempt"] for each in document["attempts"]] == [1, 2]


def test_what_was_said_is_shown_where_it_was_recorded(logs, write):
    content = {
        "prompt": [{"role": "user", "parts": [{"type": "text", "content": f"two\nlines {HOSTILE}"}]}],
        "answer": [{"role": "assistant", "parts": [{"type": "tool_call", "name": "f"}]}, "odd"],
    }
    write(event("c0ffee", content=content))
    out = logs("--call", "c0ffee").out
    assert "prompt:\n    [user]\n    two\n    lines  [31mred" in out
    assert 'answer:\n    [assistant]\n    {"type": "tool_call", "name": "f"}\n    odd' in out
    assert "\x1b" not in out
    assert "two" not in logs().out


@pytest.mark.parametrize(
    ("prefix", "told"),
    [
        ("aa", "several calls whose id begins with 'aa': aa3, aa2, aa1"),
        ("*", "no recorded call '*'"),
        ("b", "no recorded call 'b'"),
    ],
)
def test_a_call_that_is_none_or_several_is_told(logs, write, prefix, told):
    write(event("aa1"), event("aa2", seconds=1), event("aa3", seconds=2))
    assert told in logs("--call", prefix, code=2).err
    assert ids(logs("--call", "aa1").out.splitlines()[0]) == ["aa1"]


def test_an_id_may_be_the_beginning_of_another(logs, write):
    write(event("aa"), event("aab"))
    assert ["call", "aa"] in [line.split() for line in logs("--call", "aa").out.splitlines()]


def test_a_record_whose_file_is_gone_is_told_as_far_as_it_is_known(logs, write):
    path = write(fallen_back("beef"))
    logs()
    path.unlink()
    out = logs("--call", "beef").out
    assert "lmstudio/qwen3-8b (transport) -> openai/gpt-4.1-mini" in out
    assert "is gone or has changed since" in out
    assert logs("--json").out == ""


def test_what_others_wrote_reaches_no_terminal(logs, write):
    names = ("model", "provider", "asked", "rule", "errorCode", "server")
    considered = [{"candidate": HOSTILE, "dropped": HOSTILE}, HOSTILE]
    nested = {name: {HOSTILE: [HOSTILE]} for name in ("attributes", "facts", "content")}
    hostile = dict.fromkeys(names, HOSTILE) | nested | {"considered": considered}
    write(fallen_back(HOSTILE), **hostile)
    for words in ([], ["--attempts"], ["--call", HOSTILE], ["--json", "--attempts"], ["--call", HOSTILE, "--json"]):
        out = logs(*words).out
        assert "red" in out
        for bad in "\x1b\x9b\x07\u202e":
            assert bad not in out


def test_a_key_that_came_into_a_record_is_not_shown(logs, write):
    key = "sk-abcdefghij0123456789"
    write(event("c0ffee"), rule=key, attributes={"task": key}, content={"prompt": key})
    for words in ([], ["--json"], ["--call", "c0ffee"], ["--call", "c0ffee", "--json"]):
        out = logs(*words).out
        assert "abcdefghij" not in out
        assert "***" in out


@pytest.fixture
def following(monkeypatch, capsys):
    """Follow, with something that happens at each pause instead of it; the last one is Ctrl-C."""

    def run(*happenings, words=()):
        shown, left = [], [*happenings]

        def pause(seconds):
            shown.append(capsys.readouterr().out)
            if not left:
                raise KeyboardInterrupt
            left.pop(0)()

        monkeypatch.setattr("lmroute.cli.logs.time", SimpleNamespace(sleep=pause))
        assert main(["logs", "-f", *words]) == 130
        assert capsys.readouterr() == ("", "")
        return [text if words else ids(text) for text in shown]

    return run


def test_following_shows_what_ends_from_now_on(write, following):
    write(event("before"))
    whole = b"".join(json.dumps(r).encode() + b"\n" for r in records(event("torn")))
    assert following(
        lambda: write(event("late", seconds=5), process=2),
        lambda: None,
        lambda: (write(event("b", seconds=7), process=2), write(event("a", seconds=6), process=3)),
        lambda: write(whole[:300]),
        lambda: write(whole[300:]),
        lambda: write(event("late", seconds=5), process=4),  # the same call in another file
    ) == [["before"], ["late"], [], ["a", "b"], [], ["torn"], []]


def test_following_begins_before_there_is_anything(write, following):
    assert following(lambda: write(event("c0ffee"))) == [[], ["c0ffee"]]


def test_following_sees_only_what_is_asked_for(write, following):
    shown = following(lambda: write(event("c0ffee"), failed("dead")), words=("--status", "error", "--json"))
    assert [json.loads(text)["call"] for text in shown if text] == ["dead"]


def test_following_another_folder(write, following, tmp_path):
    file = write(event("c0ffee")).rename(tmp_path / "calls.jsonl")
    shown = following(lambda: file.write_bytes(file.read_bytes() * 2), words=("--json", str(file)))
    assert [len(text.splitlines()) for text in shown] == [1, 0]


def test_an_index_that_turns_out_to_be_damaged_is_made_anew(logs, write, monkeypatch):
    write(event("c0ffee"))
    broken = count()

    def newest(index):
        if next(broken) == 0:
            raise Damaged("broken")
        return found(index)

    found = latest.newest
    monkeypatch.setattr(latest, "newest", newest)
    shown = logs()
    assert ids(shown.out) == ["c0ffee"]
    assert shown.err == "broken; it was made anew from the call records\n"
    assert next(broken) == 2


@pytest.mark.parametrize("words", [["-n", "0"], ["-n", "many"], ["-n", "-1"], ["--since", "soon"]])
def test_wrong_usage_is_refused(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["logs", *words])
    assert ended.value.code == 2
    assert capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGINT for another process, nor its pipes' errors")
def test_it_ends_at_once_with_ctrl_c_and_when_nobody_reads(write):
    write(event("c0ffee"))
    command = [sys.executable, "-m", "lmroute.cli", "logs", "-f"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    other = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert b"c0ffee" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.communicate() == (b"", b"")
        assert b"c0ffee" in other.stdout.readline()
        other.stdout.close()
        write(event("beef", seconds=1))
        assert other.wait(10) == 0
        assert other.stderr.read() == b""
    finally:
        for each in (process, other):
            each.kill()
            each.wait()
            each.stdout.close()
            each.stderr.close()
