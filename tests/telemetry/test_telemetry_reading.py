"""Call records read back, and what they say of a call."""

import json
import os
from dataclasses import replace

import pytest

from lmroute.errors import LmrouteError
from lmroute.model import Attempt, Attributes, Candidate, Considered, Decision, Facts, Failure, Privacy
from lmroute.telemetry.events import CANCELLED, FORMAT_VERSION, CallEvent, Usage, records
from lmroute.telemetry.files import FILE, files_in
from lmroute.telemetry.reading import Call, read
from lmroute.telemetry.recorded import considered, recorded
from lmroute.telemetry.sinks.sink import JsonlSink

AUTO, FIRST, SECOND = Candidate("lmstudio", "auto"), Candidate("openai", "first"), Candidate("openai", "second")


def event(*attempts, candidates=(AUTO, FIRST, SECOND), **changed):
    known = {
        "call_id": "c1",
        "stack": "local_first@0123abcd",
        "attributes": Attributes(
            task="qa", privacy=Privacy.PUBLIC, tags=frozenset({"b", "a"}), own={"r": frozenset("x")}
        ),
        "decision": Decision("everything", tuple(map(Considered, candidates))),
        "attempts": attempts,
        "usage": Usage(12, 3),
        "duration_ms": 123.0,
        "overhead_us": 78.0,
    }
    return CallEvent(**known | changed)


def written(file, *events, tail=""):
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record) for one in events for record in records(one)]
    file.write_text("\n".join(lines) + "\n" + tail, encoding="utf-8")
    return file


def told(*attempts, **changed):
    """What is recorded of an event, through JSON."""
    *tries, call = map(json.loads, map(json.dumps, records(event(*attempts, **changed))))
    return recorded(Call(call, tuple(tries)))


def failing(candidate, failure=Failure.TRANSPORT):
    return Attempt(candidate, 2.0, failure=failure, message="no")


def test_calls_come_with_their_attempts_in_the_order_of_the_file(tmp_path):
    answered = Attempt(AUTO, 5.0, answered="m")
    file = written(tmp_path / FILE, event(failing(FIRST), answered), event(answered, call_id="c2"))

    one, two = read([file]).calls

    assert (one.id, two.id) == ("c1", "c2")
    assert [(attempt["provider"], attempt["errorCode"]) for attempt in one.attempts] == [
        ("openai", "transport"), ("lmstudio", None),
    ]  # fmt: skip


def test_what_cannot_be_used_is_counted_and_said(tmp_path):
    tail = (
        '{"v": 7, "call": "x"}\n{"v": 7, "call": "y"}\n[1]\n{"call": 3, "v": 1}\n\n\xff\n{"v": 1, "kind": "call", "ca'
    )
    reading = read([written(tmp_path / FILE, event(Attempt(AUTO, 5.0, answered="m")), tail=tail)])
    assert (len(reading.calls), reading.torn, reading.foreign) == (1, 4, {"7": 2})
    assert reading.left_out == "4 lines that are no record, 2 records of version 7"


def test_what_could_not_be_written_is_known_by_what_the_file_tells(tmp_path):
    (tmp_path / "in the way").touch()
    sink = JsonlSink(tmp_path / "in the way" / FILE)
    for _ in range(2):
        sink.write(records(event()))
    sink.write(records(event(failing(FIRST))))
    (tmp_path / "in the way").unlink()
    sink.write(records(event(call_id="c2")))
    sink.close()
    with sink.path.open("a", encoding="utf-8") as file:
        file.write('{"v": 1, "kind": "lost", "call": "c3", "count": "many"}\n')
    reading = read([sink.path])
    assert [call.id for call in reading.calls] == ["c2"]
    assert (reading.lost, reading.torn) == (4, 1)
    assert reading.left_out == "1 line that is no record, 4 records that could not be written"


def test_nothing_left_out_says_nothing(tmp_path):
    assert read([written(tmp_path / FILE, event())]).left_out == ""


def test_a_folder_is_every_file_in_it_the_newest_first(tmp_path):
    old, new = (written(tmp_path / name / FILE, event()) for name in ("b", "a"))
    os.utime(old, (1, 1))
    assert files_in(tmp_path) == [new, old]
    assert files_in(old) == [old]


def test_a_folder_may_be_that_of_all_programs_and_a_runs_has_other_things_beside(tmp_path):
    daily = [written(tmp_path / "events" / "2026-03-04" / f"host-{pid}-1.jsonl", event()) for pid in (1, 2)]
    run = written(tmp_path / "outputs" / "1" / FILE, event())
    written(run.with_name("results.jsonl"), event(call_id="c2"))
    assert set(files_in(tmp_path / "events")) == {*daily}
    assert files_in(tmp_path / "outputs") == [run]
    assert set(files_in(tmp_path)) == {*daily, run}
    assert [call.id for call in read(files_in(tmp_path)).calls] == ["c1"]  # it stands in three files


def test_no_records_is_an_error(tmp_path):
    with pytest.raises(LmrouteError, match=r"neither a calls\.jsonl nor another \.jsonl file in this folder"):
        files_in(tmp_path)
    with pytest.raises(LmrouteError, match="no such file or folder"):
        files_in(written(tmp_path / FILE, event()), tmp_path / "gone")


@pytest.mark.parametrize(
    ("ts", "at"),
    [
        ("2026-03-04T05:06:07.008+00:00", 1772600767.008),
        ("2026-03-04T05:06:07.008", 1772600767.008),
        ("x", None),
        (3, None),
    ],
)
def test_when_a_call_ended(ts, at):
    ended = Call({"ts": ts}).ended
    assert (ended and ended.timestamp()) == at
    assert Call({}).ended is None


def test_a_call_is_what_was_recorded_of_it():
    facts = Facts(out={FIRST: "down"}, load={AUTO: 2}, spent=frozenset({"day"}), pins={"everything": AUTO})
    made = event(failing(FIRST, Failure.TIMEOUT), Attempt(SECOND, 7.5, answered="second"))
    call = told(*made.attempts, facts=replace(facts, load={}), load=facts.load)
    assert call.attributes == made.attributes
    assert (call.facts.out, call.facts.load, call.facts.spent, call.facts.pins) == (
        facts.out, facts.load, facts.spent, facts.pins,
    )  # fmt: skip
    assert (call.id, call.rule, call.answered) == ("c1", "everything", SECOND)
    assert call.failed == ((FIRST, Failure.TIMEOUT),)
    assert (call.duration_ms, call.input_tokens, call.output_tokens) == (7.5, 12, 3)


@pytest.mark.parametrize(
    ("attempts", "answered", "failed"),
    [
        ([Attempt(AUTO, 1.0, answered="qwen3-8b")], AUTO, []),
        ([failing(FIRST), Attempt(SECOND, 1.0, answered="second-2026")], SECOND, [FIRST]),
        ([failing(SECOND), Attempt(FIRST, 1.0, answered="first-2026")], FIRST, [SECOND]),
        ([failing(AUTO), Attempt(AUTO, 1.0, answered="qwen3-8b")], AUTO, []),
        ([failing(FIRST), Attempt(FIRST, 1.0, answered="first")], FIRST, []),
        ([failing(FIRST), failing(SECOND), Attempt(SECOND, 1.0, answered="second-2026")], SECOND, [FIRST]),
        ([failing(AUTO), failing(FIRST)], None, [AUTO, FIRST]),
        ([], None, []),
    ],
)
def test_who_answered_though_a_record_names_the_servers_own_model(attempts, answered, failed):
    call = told(*attempts)
    assert call.answered == answered
    assert [candidate for candidate, _ in call.failed] == failed
    assert (call.duration_ms is None) is (answered is None)


def test_the_considered_and_why_they_were_dropped():
    decision = Decision("r", (Considered(AUTO, "busy"), Considered(FIRST)))
    *_, call = records(event(decision=decision))
    assert considered(call) == [(AUTO, "busy"), (FIRST, "")]


@pytest.mark.parametrize(
    "damage",
    [
        {"attributes": None},
        {"attributes": {}},
        {"considered": [{}]},
        {"considered": None},
        {"facts": []},
        {"facts": {"load": {"a/b": "many"}}},
        {"facts": {"pins": {"r": 3}}},
        *(
            {"attributes": {**next(r for r in records(event()) if r["kind"] == "call")["attributes"], **wrong}}
            for wrong in (
                {"prompt_tokens": "many"},
                {"prompt_tokens": True},
                {"stream": "yes"},
                {"task": None},
                {"tags": 3},
                {"tags": [1]},
                {"privacy": "secret"},
                {"new_in_another_version": 1},
            )
        ),
    ],
)
def test_a_call_of_another_shape_is_none(damage):
    *_, call = records(event())
    assert recorded(Call(call)) is not None
    assert recorded(Call({**call, **damage})) is None


def test_the_version_is_the_writers(tmp_path):
    [call] = read([written(tmp_path / FILE, event())]).calls
    assert call.record["v"] == FORMAT_VERSION


@pytest.mark.parametrize(
    ("attempts", "meant"),
    [
        ([Attempt(FIRST, 3.0, is_cancelled=True)], FIRST),
        ([failing(AUTO), Attempt(FIRST, 3.0, is_cancelled=True)], FIRST),
        ([failing(AUTO)], FIRST),
        ([], AUTO),
    ],
)
def test_a_cancelled_call_was_meant_for_who_was_asked_or_next(attempts, meant):
    call = told(*attempts, usage=Usage(), refusal=CANCELLED)
    assert (call.answered, call.duration_ms, call.input_tokens) == (meant, None, None)
    assert [candidate for candidate, _ in call.failed] == [attempt.candidate for attempt in attempts if attempt.failure]
