"""What a call leaves behind: the trace in its answer, its records; and what an engine says and does besides."""

import asyncio
import gc
import json
import time
from dataclasses import replace
from html import escape
from urllib.parse import quote

import pytest
from dspy import lm15

from lmroute.engine.recording import usage_of
from lmroute.engine.resolver import build
from lmroute.engine.routing_engine import AsyncRoutingEngine, RoutingEngine
from lmroute.model import Budget, Capabilities, JsonMode, Period, Selector, Telemetry
from lmroute.providers.catalog import Dialect
from lmroute.telemetry.events import Usage
from lmroute.telemetry.sinks.sink import JsonlSink

NOT_OURS = "(the library's own words; not recorded)"
GONE = lm15.TransportError("gone")


def trace(response):
    return response.provider_data["lmroute"]


def test_the_trace_tells_it_all(mode, make, route):
    profiles = make.profile("a"), make.profile("b", enabled=False), make.profile("c")
    engine, _, _ = route(make.stack(*profiles), a=GONE, b="hi", c="from c")
    response = mode.complete(engine, make.ask())
    told = trace(response)
    durations = [attempt.pop("duration") for attempt in told["attempts"]]
    assert all(duration >= 0 for duration in durations)
    assert told == {
        "policy": engine.routing.name,
        "rule": "everybody",
        "provider": "c",
        "model": "c-model",
        "attempts": [
            {"provider": "a", "model": "m", "status": "error", "errorCode": "transport", "message": NOT_OURS},
            {"provider": "c", "model": "c-model", "status": "ok", "errorCode": None},
        ],
        "dropped": {"b/m": "disabled"},
    }
    assert json.loads(json.dumps(told)) == told


def test_the_childs_own_provider_data_stays(mode, make, route):
    engine, _, _ = route(a=make.answer(provider_data={"stats": {}}))
    assert mode.complete(engine, make.ask()).provider_data.keys() == {"stats", "lmroute"}


def test_degradation_is_told(mode, make, route):
    stack = make.stack(make.profile("a", capabilities=Capabilities(json_mode=JsonMode.JSON_SCHEMA)))
    engine, children, sink = route(stack, a="{}")
    response = mode.complete(engine, make.ask(response_format={"type": "json_object"}))
    assert trace(response)["attempts"][0]["degraded"] == ["json_object sent as json_schema"]
    assert sink.lines[0]["degraded"] == ["json_object sent as json_schema"]
    assert children["a"].asked[0].config.response_format["type"] == "json_schema"


def test_records_hold_numbers_and_names_and_never_the_text(mode, make, tmp_path):
    sink = JsonlSink(tmp_path / "calls.jsonl")
    stack = make.stack(make.profile("a"), make.profile("b"))
    children = {"a": mode.child(lm15.AuthError("bad key sk-abcdefgh12345678")), "b": mode.child("the answer text")}
    mode.complete(mode.router(stack, children, sink=sink), make.ask("the question text", max_tokens=7))
    sink.close()
    text = (tmp_path / "calls.jsonl").read_text(encoding="utf-8")
    assert "question text" not in text
    assert "answer text" not in text
    assert "sk-abc" not in text
    first, second, call = map(json.loads, text.splitlines())
    assert {first["call"], second["call"], call["call"]} == {call["call"]}
    assert (first["provider"], first["status"], first["errorCode"], first["attempt"]) == ("a", "error", "auth", 1)
    assert (second["provider"], second["status"], second["errorCode"], second["attempt"]) == ("b", "ok", None, 2)
    assert (call["provider"], call["model"], call["status"], call["errorCode"]) == ("b", "answering", "ok", None)
    assert (call["attempts"], call["input_tokens"], call["output_tokens"]) == (2, 3, 2)
    assert call["attributes"]["prompt_tokens"] == 5
    assert call["attributes"]["max_output_tokens"] == 7
    assert call["duration"] >= first["duration"] + second["duration"]
    assert call["overhead_us"] >= 0


PROMPT = "Zoë Lovelace's secret recipe has eleven eggs\nand no sugar"
QUOTING = {
    "plain": str,
    "cut": lambda text: text[5:14],
    "upper": str.upper,
    "repr": repr,
    "json": json.dumps,
    "words": lambda text: json.dumps(text.split()),
    "url": quote,
    "html": lambda text: escape(text).replace(" ", "&nbsp;"),
    "reversed": lambda text: text[::-1],
}


@pytest.mark.parametrize("spelled", QUOTING.values(), ids=QUOTING)
def test_a_server_that_quotes_the_request_is_not_recorded(mode, make, route, spelled):
    quoted = spelled(PROMPT)
    failing = lm15.ServerError(f"Failed on: {quoted}", status=500, provider_code=quoted)
    engine, _, sink = route(a=failing, b=lm15.ServerError("no room", status=503, provider_code="out_of_memory"))
    with pytest.raises(lm15.ServerError) as caught:
        mode.complete(engine, make.ask(PROMPT))
    assert " ".join(quoted.split()) in str(caught.value)
    assert [line["message"] for line in sink.lines if line["kind"] == "attempt"] == [
        "(the server's own words; not recorded); HTTP 500",
        "(the server's own words; not recorded); HTTP 503; out_of_memory",
    ]


def test_of_known_wordings_the_numbers_are_recorded_too(mode, make, route):
    wording = "request (5023 tokens) exceeds the available context size (4096 tokens)"
    engine, _, sink = route(a=lm15.ContextLengthError(f"{wording}, try {PROMPT}", status=400))
    with pytest.raises(lm15.ContextLengthError, match="eleven eggs"):
        mode.complete(engine, make.ask(PROMPT))
    assert sink.lines[0]["message"] == f"{wording}; HTTP 400"


def test_lmroutes_own_words_are_recorded(mode, make, server):
    server.answers(server.http({"choices": []}))
    profile = server.profile()
    sink = make.sink()
    engine = mode.router(make.stack(profile), {"a": mode.provider(profile)}, sink=sink)
    with pytest.raises(lm15.ProviderError):
        mode.complete(engine, make.ask())
    assert sink.lines[0]["message"] == "the answer has no choices"


class BrokenSink:
    def write(self, lines):
        raise RuntimeError("no room for sk-abcdefgh12345678")


def test_a_sink_that_raises_fails_no_call(mode, make, caplog):
    engine = mode.router(make.stack(make.profile("a")), {"a": mode.child("hi")}, sink=BrokenSink())
    for _ in range(2):
        assert mode.complete(engine, make.ask()).text == "hi"
    assert make.text(mode.stream(engine, make.ask())) == "hi"
    assert engine.routing.sink.failures == 3
    [said] = [record.getMessage() for record in caplog.records if record.name == "lmroute.telemetry"]
    assert "BrokenSink" in said
    assert "no room for ***" in said


def test_both_engines_of_an_lm_say_once_that_their_sink_is_broken(make):
    lm = build(make.stack(make.profile("a")), sink=BrokenSink())
    assert lm.engine.routing.sink is lm.engine.twin.routing.sink


def costing(make):
    """A stack whose only budget ends with its first token."""
    budget = Budget("tiny", Period.RUN, Selector(), tokens=1)
    return make.stack(make.profile("a"), policy={"budgets": (budget,)})


@pytest.mark.parametrize("seen", [1, 2])
def test_a_stream_that_is_closed_early_is_recorded_and_paid(mode, make, route, seen):
    engine, _, sink = route(costing(make), a="hello there")
    assert len(mode.stream(engine, make.ask(), stop_after=seen)) == seen
    attempt, call = sink.lines
    assert (attempt["provider"], attempt["status"], attempt["errorCode"]) == ("a", "cancelled", "cancelled")
    assert (call["provider"], call["status"], call["errorCode"]) == (None, "cancelled", "cancelled")
    assert (call["attempts"], call["input_tokens"], call["output_tokens"]) == (1, None, None)
    assert engine.routing.live.facts(time.monotonic()).spent == {"tiny"}


def test_a_stream_that_is_dropped_is_recorded(make):
    class Child:
        def stream(self, request):
            yield from lm15.response_to_events(make.answer())

    engine = RoutingEngine(make.stack(make.profile("a")), {"a": Child()}, sink=(sink := make.sink()))
    events = engine.stream(make.ask())
    next(events)
    del events
    gc.collect()
    assert [(line["kind"], line["status"]) for line in sink.lines] == [("attempt", "cancelled"), ("call", "cancelled")]


def test_a_call_that_is_cancelled_is_recorded(make):
    async def run():
        asked = asyncio.Event()

        class Hanging:
            async def complete(self, request):
                asked.set()
                await asyncio.sleep(60)

        engine = AsyncRoutingEngine(make.stack(make.profile("a")), {"a": Hanging()}, sink=(sink := make.sink()))
        call = asyncio.create_task(engine.complete(make.ask()))
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return sink.lines

    assert [(line["kind"], line["errorCode"]) for line in asyncio.run(run())] == [
        ("attempt", "cancelled"),
        ("call", "cancelled"),
    ]


def test_a_bug_is_not_taken_for_a_caller_who_gave_up(mode, make, route):
    engine, _, sink = route(a=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        mode.complete(engine, make.ask())
    assert not sink.lines


def test_the_first_candidates_capabilities_are_the_engines(mode, make, route):
    able = Capabilities(tools=True, reasoning=True, json_mode=JsonMode.JSON_SCHEMA)
    stack = make.stack(make.profile("a", capabilities=able), make.profile("b", capabilities=Capabilities()))
    engine, _, _ = route(stack, a="hi", b="hi")
    assert engine.supports_function_calling
    assert engine.supports_reasoning
    assert engine.supports_response_schema
    assert {"response_format", "tools", "tool_choice", "reasoning_effort"} <= engine.supported_params
    stack = replace(stack, providers=dict(reversed(stack.providers.items())))
    engine, _, _ = route(stack, a="hi", b="hi")
    supported = engine.supports_function_calling, engine.supports_reasoning, engine.supports_response_schema
    assert supported == (False, False, False)
    assert not {"response_format", "tools", "reasoning_effort"} & engine.supported_params
    assert {"temperature", "max_tokens"} <= engine.supported_params


def test_json_mode_without_schemas_is_offered_as_that(mode, make, route):
    stack = make.stack(make.profile("a", capabilities=Capabilities(json_mode=JsonMode.JSON_OBJECT)))
    engine, _, _ = route(stack, a="hi")
    assert not engine.supports_response_schema
    assert "response_format" in engine.supported_params


def test_nobody_eligible_supports_nothing(mode, make, route):
    engine, _, _ = route(make.stack(make.profile("a", enabled=False)), a="hi")
    assert not engine.supports_function_calling


def test_closing_closes_the_children_that_can_be_closed(mode, make):
    child, plain = mode.child("hi"), object()
    engine = mode.router(make.stack(make.profile("a"), make.profile("b")), {"a": child, "b": plain})
    mode.close(engine)
    assert child.closed


def said(role, text):
    return {"role": role, "parts": [{"type": "text", "content": text}]}


@pytest.mark.parametrize("stream", [False, True])
def test_prompt_and_answer_are_kept_where_the_configuration_says_so(mode, make, route, stream):
    stack = replace(make.stack(make.profile("a")), telemetry=Telemetry(capture_content=True))
    engine, _, sink = route(stack, a="the answer")
    (mode.stream if stream else mode.complete)(engine, make.ask("the question", system="be brief"))
    content = sink.lines[-1]["content"]
    assert content["prompt"] == [said("system", "be brief"), said("user", "the question")]
    assert content["answer"] == [said("assistant", "the answer")]
    assert "content" not in sink.lines[0]


@pytest.mark.parametrize("stream", [False, True])
def test_nobody_else_keeps_any_of_it(mode, make, route, stream):
    engine, _, sink = route(a="the answer")
    (mode.stream if stream else mode.complete)(engine, make.ask("the question", system="be brief"))
    written = json.dumps(sink.lines)
    assert not any(word in written for word in ("question", 'answer"', "brief", 'content": {'))


def test_a_stream_that_is_given_up_keeps_what_was_seen_of_it(mode, make, route):
    stack = replace(make.stack(make.profile("a")), telemetry=Telemetry(capture_content=True))
    engine, _, sink = route(stack, a="the answer")
    mode.stream(engine, make.ask(), stop_after=2)
    gc.collect()
    assert sink.lines[-1]["status"] == "cancelled"
    assert sink.lines[-1]["content"]["answer"] == [said("assistant", "the answer")]


@pytest.mark.parametrize("stream", [False, True])
def test_a_record_tells_how_the_answer_ended_and_what_was_asked_for(mode, make, route, stream):
    engine, _, sink = route(a=GONE, b="hi")
    (mode.stream if stream else mode.complete)(engine, make.ask(temperature=0.5, max_tokens=9, seed=3))
    first, second, call = sink.lines
    assert call["request"] == {"temperature": 0.5, "max_tokens": 9, "seed": 3}
    assert (call["finish_reason"], call["response_id"]) == ("stop", "r1")
    assert (first["asked"], second["asked"], second["fallback_from"]) == ("m", "m", "a/m")
    assert 0 <= first["started"] <= first["started"] + first["duration"] <= second["started"] + 1e-3
    assert (second["first_token"] is not None) is stream is (call["first_token"] is not None)
    if stream:
        assert 0 <= second["first_token"] <= second["duration"]
    assert call["run"] == first["run"]


@pytest.mark.parametrize("ends", ["broken off", "given up"])
def test_a_stream_that_had_begun_and_was_not_answered_keeps_its_first_token(mode, make, route, ends):
    begun = [lm15.StreamStartEvent(model="m"), lm15.StreamDeltaEvent(delta=lm15.TextDelta(text="he"))]
    engine, _, sink = route(a=[*begun, GONE])
    if ends == "given up":
        mode.stream(engine, make.ask(), stop_after=2)
        gc.collect()
    else:
        with pytest.raises(lm15.TransportError):
            mode.stream(engine, make.ask())
    attempt, call = sink.lines
    assert (call["provider"], call["status"]) == (None, attempt["status"])
    assert attempt["first_token"] is not None
    assert call["first_token"] == pytest.approx(attempt["started"] + attempt["first_token"], abs=2e-3)


@pytest.mark.parametrize(
    ("dialect", "told", "counted"),
    [
        (Dialect.OPENAI_CHAT, {"cache_read_tokens": 60, "reasoning_tokens": 7, "total_tokens": 120}, (100, 20)),
        (Dialect.OPENAI_CHAT, {"reasoning_tokens": 7, "total_tokens": 127}, (100, 27)),  # xAI
        (Dialect.GEMINI, {"reasoning_tokens": 7, "total_tokens": 127}, (100, 27)),
        (Dialect.ANTHROPIC, {"cache_read_tokens": 60, "cache_write_tokens": 5}, (165, 20)),
        (Dialect.LITELLM, {"cache_read_tokens": 60, "total_tokens": 120}, (100, 20)),
    ],
)
def test_tokens_are_counted_alike_whatever_a_vendor_leaves_out(dialect, told, counted):
    usage = usage_of(lm15.Usage(input_tokens=100, output_tokens=20, **told), dialect)
    assert (usage.input_tokens, usage.output_tokens) == counted
    assert usage.cached_tokens == told.get("cache_read_tokens")


def test_tokens_that_were_not_told_stay_unknown():
    assert usage_of(None, Dialect.ANTHROPIC) == usage_of(lm15.Usage(), Dialect.ANTHROPIC) == Usage()
