"""The lines of a call: the promised names, everything a replay needs, and no room for a prompt."""

import json
from dataclasses import fields, replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import (
    Attempt,
    Attributes,
    Candidate,
    Considered,
    Cost,
    Decision,
    Facts,
    Failure,
    Locality,
    Privacy,
    Profile,
)
from lmroute.telemetry.events import FORMAT_VERSION, CallEvent, Usage, records
from lmroute.telemetry.recorded import attributes_from, facts_from

LOCAL, CLOUD = Candidate("lmstudio", "auto"), Candidate("openai", "gpt-4.1-mini")
REFUSED = Attempt(LOCAL, 2.34567, failure=Failure.TRANSPORT, message="connection refused")
ANSWERED = Attempt(CLOUD, 120.5, answered="gpt-4.1-mini-2026", degraded=("schema moved into the prompt",))
COMMON = {
    "v", "ts", "run", "call", "stack", "rule", "kind", "provider", "type", "locality", "server", "model", "duration",
    "first_token", "status", "errorCode",
}  # fmt: skip
OF_AN_ATTEMPT = COMMON | {"attempt", "asked", "fallback_from", "started", "message", "degraded"}
OF_A_CALL = COMMON | {
    "attempts", "overhead_us", "input_tokens", "output_tokens", "cached_tokens", "written_tokens", "reasoning_tokens",
    "cost_usd", "cost_from", "finish_reason", "response_id", "request", "attributes", "considered",
}  # fmt: skip
PROFILES = {
    "openai": Profile("openai", "openai", cost=Cost(0.4, 1.6)),
    "lmstudio": Profile("lmstudio", "lmstudio", "http://127.0.0.1:1234/v1", locality=Locality.LOOPBACK),
}


def event(*attempts, **changed):
    known = {
        "call_id": "c1",
        "stack": "local_first@0123abcd",
        "attributes": Attributes(task="qa", privacy=Privacy.PUBLIC, tags=frozenset({"b", "a"}), needs_tools=True),
        "decision": Decision("everything", (Considered(LOCAL), Considered(CLOUD))),
        "attempts": attempts,
        "usage": Usage(12, 3),
        "duration_ms": 123.45678,
        "overhead_us": 78.91,
        "profiles": PROFILES,
        "run": "beef",
    }
    return CallEvent(**known | changed)


def test_a_call_that_was_answered():
    answer = {"finish_reason": "stop", "response_id": "r1", "settings": {"temperature": 0.0}}
    served = replace(ANSWERED, started_ms=1.5, first_token_ms=20.25)
    [attempt, call] = records(event(served, **answer))
    assert attempt == {
        "v": FORMAT_VERSION,
        "ts": call["ts"],
        "run": "beef",
        "call": "c1",
        "stack": "local_first@0123abcd",
        "rule": "everything",
        "kind": "attempt",
        "attempt": 1,
        "provider": "openai",
        "type": "openai",
        "locality": "cloud",
        "server": None,
        "model": "gpt-4.1-mini-2026",
        "asked": "gpt-4.1-mini",
        "fallback_from": None,
        "started": 1.5,
        "duration": 120.5,
        "first_token": 20.25,
        "status": "ok",
        "errorCode": None,
        "message": "",
        "degraded": ["schema moved into the prompt"],
    }
    assert call == {
        "v": FORMAT_VERSION,
        "ts": attempt["ts"],
        "run": "beef",
        "call": "c1",
        "stack": "local_first@0123abcd",
        "rule": "everything",
        "kind": "call",
        "provider": "openai",
        "type": "openai",
        "locality": "cloud",
        "server": None,
        "model": "gpt-4.1-mini-2026",
        "duration": 123.457,
        "first_token": 21.75,
        "status": "ok",
        "errorCode": None,
        "attempts": 1,
        "overhead_us": 78.9,
        "input_tokens": 12,
        "output_tokens": 3,
        "cached_tokens": None,
        "written_tokens": None,
        "reasoning_tokens": None,
        "cost_usd": pytest.approx((12 * 0.4 + 3 * 1.6) / 1e6),
        "cost_from": "profile",
        "finish_reason": "stop",
        "response_id": "r1",
        "request": {"temperature": 0.0},
        "attributes": {
            "task": "qa",
            "module": "",
            "signature": "",
            "tags": ["a", "b"],
            "privacy": "public",
            "needs": {"tools": True, "response_schema": False, "vision": False, "reasoning": False},
            "prompt_tokens": 0,
            "max_output_tokens": 0,
            "stream": False,
        },
        "considered": [{"candidate": "lmstudio/auto"}, {"candidate": "openai/gpt-4.1-mini"}],
    }


def test_a_call_that_fell_back_shows_every_attempt_and_ends_well():
    first, second, call = records(event(REFUSED, ANSWERED))
    assert (first["attempt"], first["provider"], first["model"]) == (1, "lmstudio", "auto")
    assert (first["status"], first["errorCode"], first["message"]) == ("error", "transport", "connection refused")
    assert first["duration"] == 2.346
    assert (first["server"], first["fallback_from"]) == ("127.0.0.1:1234", None)
    assert (second["attempt"], second["status"], second["fallback_from"]) == (2, "ok", "lmstudio/auto")
    assert (call["provider"], call["status"], call["errorCode"], call["attempts"]) == ("openai", "ok", None, 2)


def test_a_call_that_failed_has_no_provider_and_its_last_failure():
    timed_out = Attempt(CLOUD, 9.0, failure=Failure.TIMEOUT, message="no complete answer in time")
    *_, call = records(event(REFUSED, timed_out, usage=Usage()))
    assert (call["provider"], call["model"], call["status"], call["errorCode"]) == (None, None, "error", "timeout")
    assert (call["input_tokens"], call["output_tokens"]) == (None, None)


def test_a_call_that_nobody_was_eligible_for_says_why():
    decision = Decision("private", (Considered(LOCAL, dropped="disabled"),))
    [call] = records(event(decision=decision))
    assert (call["status"], call["errorCode"], call["attempts"]) == ("error", "no_candidate", 0)
    assert call["considered"] == [{"candidate": "lmstudio/auto", "dropped": "disabled"}]


def test_the_time_is_utc_with_milliseconds():
    stamp = next(records(event(ANSWERED)))["ts"]
    assert datetime.fromisoformat(stamp).utcoffset().total_seconds() == 0
    assert len(stamp.partition(".")[2].partition("+")[0]) == 3


@pytest.mark.parametrize("failure", Failure)
def test_every_failure_is_a_code(failure):
    attempt, call = records(event(Attempt(LOCAL, 1.0, failure=failure)))
    assert attempt["errorCode"] == call["errorCode"] == failure.value


def test_a_local_answer_costs_nothing_and_says_so():
    local = Attempt(LOCAL, 5.0, answered="gpt-4o")
    *_, call = records(event(local))
    assert (call["cost_usd"], call["cost_from"]) == (0.0, "local")


def test_a_price_that_nobody_knows_is_none():
    unpriced = {"openai": Profile("openai", "openai", "https://llm.example")}
    *_, call = records(event(ANSWERED, profiles=unpriced))
    assert (call["cost_usd"], call["cost_from"]) == (None, None)
    *_, failed = records(event(REFUSED))
    assert (failed["cost_usd"], failed["cost_from"]) == (None, None)


TEXTS = st.text(max_size=20)
ATTEMPTS = st.builds(
    Attempt,
    candidate=st.builds(Candidate, TEXTS, TEXTS),
    duration_ms=st.floats(0, 1e6),
    answered=TEXTS,
    failure=st.none() | st.sampled_from(Failure),
    message=TEXTS,
    degraded=st.lists(TEXTS, max_size=2).map(tuple),
)
EVENTS = st.builds(
    event,
    attributes=st.builds(Attributes),
    decision=st.builds(Decision, TEXTS, st.just((Considered(LOCAL, "disabled"), Considered(CLOUD)))),
    duration_ms=st.floats(0, 1e6),
    usage=st.builds(Usage, st.none() | st.integers(0), st.none() | st.integers(0)),
).flatmap(lambda drawn: st.lists(ATTEMPTS, max_size=3).map(lambda attempts: _with(drawn, attempts)))


def _with(drawn, attempts):
    values = {field.name: getattr(drawn, field.name) for field in fields(CallEvent)}
    return CallEvent(**values | {"attempts": tuple(attempts)})


@given(EVENTS)
def test_there_is_one_line_an_attempt_one_for_the_call_and_no_other_field(drawn):
    *attempts, call = records(drawn)
    assert [line["attempt"] for line in attempts] == list(range(1, len(drawn.attempts) + 1))
    assert all(set(line) == OF_AN_ATTEMPT for line in attempts)
    assert set(call) == OF_A_CALL
    assert json.loads(json.dumps([*attempts, call])) == [*attempts, call]


@given(EVENTS)
def test_a_call_is_ok_when_its_last_attempt_is(drawn):
    *attempts, call = records(drawn)
    served = bool(attempts) and attempts[-1]["status"] == "ok"
    assert (call["status"] == "ok") is served is (call["errorCode"] is None)
    assert (drawn.served is not None) is served


def test_there_is_no_room_for_a_prompt():
    """A field that is added to a request's attributes has to be let into the records on purpose."""
    [call] = records(event())
    written = call["attributes"]
    assert set(written) == {
        "task",
        "module",
        "signature",
        "tags",
        "privacy",
        "needs",
        "prompt_tokens",
        "max_output_tokens",
        "stream",
    }
    names = set(written) - {"needs"} | {f"needs_{name}" for name in written["needs"]}
    assert names == {field.name for field in fields(Attributes)} - {"predictor", "own", "use", "lot"}


def test_what_a_policy_declares_and_what_was_known_is_written_when_there_is_something_to_say():
    said = Attributes(predictor="rag.answer", own={"size": 3, "set": frozenset("ba")}, use="openai/x", lot=7)
    facts = Facts({LOCAL: "breaker open"}, {CLOUD: "throttled"}, {LOCAL: 4096}, frozenset({"b", "a"}), {"r": CLOUD})
    decision = Decision("", (), refused="no such tag")
    known = {"attributes": said, "facts": facts, "load": {LOCAL: 2}, "latency_ms": {CLOUD: 1.5}, "decision": decision}
    [call] = records(event(**known, waited_ms=12.3456, refusal="invalid_request"))
    written = {"predictor": "rag.answer", "own": {"size": 3, "set": ["a", "b"]}, "use": "openai/x", "lot": 7}
    assert {name: call["attributes"][name] for name in written} == written
    assert call["facts"] == {
        "out": {"lmstudio/auto": "breaker open"},
        "throttled": {"openai/gpt-4.1-mini": "throttled"},
        "windows": {"lmstudio/auto": 4096},
        "spent": ["a", "b"],
        "pins": {"r": "openai/gpt-4.1-mini"},
        "load": {"lmstudio/auto": 2},
        "latency_ms": {"openai/gpt-4.1-mini": 1.5},
    }
    assert (call["refused"], call["waited"], call["errorCode"]) == ("no such tag", 12.346, "invalid_request")


WORDS = st.text(max_size=8)
OWN = st.dictionaries(WORDS, WORDS | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.frozensets(WORDS))
ATTRIBUTES = st.builds(
    Attributes,
    task=WORDS,
    module=WORDS,
    signature=WORDS,
    predictor=WORDS,
    tags=st.frozensets(WORDS),
    privacy=st.sampled_from(Privacy),
    needs_tools=st.booleans(),
    needs_vision=st.booleans(),
    needs_reasoning=st.booleans(),
    needs_response_schema=st.booleans(),
    prompt_tokens=st.integers(0),
    max_output_tokens=st.integers(0),
    stream=st.booleans(),
    own=OWN,
    use=WORDS,
    lot=st.integers(0, 65535),
)
CANDIDATES = st.builds(Candidate, st.from_regex(r"[a-z_-]{1,8}", fullmatch=True), WORDS)
FACTS = st.builds(
    Facts,
    out=st.dictionaries(CANDIDATES, WORDS, max_size=3),
    throttled=st.dictionaries(CANDIDATES, WORDS, max_size=3),
    windows=st.dictionaries(CANDIDATES, st.integers(1), max_size=3),
    spent=st.frozensets(WORDS, max_size=3),
    pins=st.dictionaries(WORDS, CANDIDATES, max_size=3),
    load=st.dictionaries(CANDIDATES, st.integers(1), max_size=3),
    latency_ms=st.dictionaries(CANDIDATES, st.floats(0, 1e6), max_size=3),
)


@given(ATTRIBUTES, FACTS)
def test_every_input_of_a_decision_comes_back_from_its_record(attributes, facts):
    [call] = records(event(attributes=attributes, facts=facts, load=facts.load, latency_ms=facts.latency_ms))
    read = json.loads(json.dumps(call))
    assert attributes_from(read) == attributes
    again = facts_from(read)
    assert {f.name: getattr(again, f.name) for f in fields(Facts)} == {
        f.name: getattr(facts, f.name) for f in fields(Facts)
    }


def test_a_record_of_before_reads_as_nothing_known():
    [call] = records(event())
    assert "facts" not in call
    assert attributes_from(call).own == {}
    assert facts_from(call).out == {}
