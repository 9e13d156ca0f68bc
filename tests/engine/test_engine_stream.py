"""Streams: the next candidate may take over before anything is visible, never after, and nothing leaks."""

import asyncio
import gc
import time
from contextlib import aclosing

import pytest
from dspy import lm15
from dspy.clients.engines.stream_guard import achecked_stream, checked_stream
from hypothesis import given
from hypothesis import strategies as st

from lmroute.engine.routing_engine import AsyncRoutingEngine, RoutingEngine
from lmroute.model import AUTO, Failure

START = lm15.StreamStartEvent(id="s1", model="streaming")
END = lm15.StreamEndEvent(finish_reason="stop", usage=lm15.Usage(input_tokens=3, output_tokens=2))
GONE = lm15.TransportError("gone")


def said(text):
    return lm15.StreamDeltaEvent(delta=lm15.TextDelta(text=text))


def broken(code="server", message="broken"):
    return lm15.StreamErrorEvent(error=lm15.ErrorDetail(code=code, message=message))


def text_of(events):
    return "".join(event.delta.text for event in events if event.type == "delta")


GOOD = [START, said("he"), said("llo"), END]


@pytest.fixture
def route(mode, make):
    def build(**scripts):
        children = {name: mode.child(script) for name, script in scripts.items()}
        sink = make.sink()
        return mode.router(make.stack(*map(make.profile, scripts)), children, sink=sink), children, sink

    return build


BEFORE_ANYTHING_VISIBLE = {
    "before the start": [GONE],
    "after the start": [START, GONE],
    "an error event": [broken()],
    "an error event after the start": [START, broken()],
    "nothing": [],
    "only a start": [START],
    "no start": [said("he"), END],
    "two starts": [START, START, said("he"), END],
    "no event": ["he"],
}


@pytest.mark.parametrize("script", BEFORE_ANYTHING_VISIBLE.values(), ids=BEFORE_ANYTHING_VISIBLE)
def test_before_the_first_delta_the_next_one_takes_over(mode, make, route, script):
    engine, children, sink = route(a=script, b=GOOD)
    events = mode.stream(engine, make.ask())
    assert [event.type for event in events] == ["start", "delta", "delta", "end"]
    assert text_of(events) == "hello"
    assert events[0].model == "streaming"
    assert events[-1].provider_data["lmroute"]["provider"] == "b"
    assert sink.kinds() == ["attempt", "attempt", "call"]
    assert sink.lines[-1]["attributes"]["stream"] is True
    assert [child.streams for child in children.values()] == [0, 0]


AFTER_IT = {
    "after a delta": [START, said("he"), GONE],
    "an error event after a delta": [START, said("he"), broken()],
    "no end": [START, said("he")],
    "an end that something follows": [START, said("he"), END, said("llo")],
    "an error after the end": [START, said("he"), END, GONE],
    "an error after an empty answer": [START, END, GONE],
}


@pytest.mark.parametrize("script", AFTER_IT.values(), ids=AFTER_IT)
def test_after_the_first_delta_the_error_is_the_callers(mode, make, route, script):
    engine, children, sink = route(a=script, b=GOOD)
    with pytest.raises((lm15.TransportError, lm15.ServerError, lm15.StreamAssemblyError)):
        mode.stream(engine, make.ask())
    assert not children["b"].asked
    assert children["a"].streams == 0
    assert sink.kinds() == ["attempt", "call"]
    assert [line["status"] for line in sink.lines] == ["error", "error"]


def test_what_came_before_the_error_has_been_seen(make):
    engine = RoutingEngine(make.stack(make.profile("a")), {"a": Fixed([START, said("he"), GONE])})
    source = engine.stream(make.ask())
    assert [next(source).type, next(source).type] == ["start", "delta"]
    with pytest.raises(lm15.TransportError, match="gone"):
        next(source)


class Fixed:
    """A synchronous child whose stream is this list."""

    def __init__(self, events):
        self.events = events

    def stream(self, request):
        for event in self.events:
            if isinstance(event, BaseException):
                raise event
            yield event


def test_the_end_carries_trace_and_usage(mode, make, route):
    engine, _, sink = route(a=[START, said("hi"), lm15.StreamEndEvent(usage=END.usage, provider_data={"x": 1})])
    end = mode.stream(engine, make.ask())[-1]
    assert end.provider_data.keys() == {"x", "lmroute"}
    assert end.provider_data["lmroute"]["model"] == "streaming"
    call = sink.lines[-1]
    assert (call["model"], call["input_tokens"], call["output_tokens"]) == ("streaming", 3, 2)


def test_a_stream_without_usage_or_model_is_recorded_as_far_as_it_is_known(mode, make, route):
    engine, _, sink = route(a=[lm15.StreamStartEvent(), said("hi"), lm15.StreamEndEvent()])
    mode.stream(engine, make.ask())
    call = sink.lines[-1]
    assert (call["model"], call["input_tokens"], call["status"]) == ("m", None, "ok")


def test_an_empty_answer_is_an_answer(mode, make, route):
    engine, children, _ = route(a=[START, END], b=GOOD)
    events = mode.stream(engine, make.ask())
    assert [event.type for event in events] == ["start", "end"]
    assert not children["b"].asked


def test_all_streams_fail(mode, make, route):
    engine, _, sink = route(a=[GONE], b=[START, broken("rate_limit", "busy")])
    with pytest.raises(lm15.RateLimitError, match=r"a/m: transport \(gone\); b/m: rate_limit \(busy\)"):
        mode.stream(engine, make.ask())
    assert sink.kinds() == ["attempt", "attempt", "call"]


def test_a_malformed_request_is_not_streamed_elsewhere(mode, make, route):
    engine, children, _ = route(a=[lm15.InvalidRequestError("malformed")], b=GOOD)
    with pytest.raises(lm15.InvalidRequestError, match="malformed"):
        mode.stream(engine, make.ask())
    assert not children["b"].asked


def test_a_bug_passes_untouched(mode, make, route):
    engine, children, _ = route(a=[START, KeyError("bug")], b=GOOD)
    with pytest.raises(KeyError, match="bug"):
        mode.stream(engine, make.ask())
    assert not children["b"].asked
    assert children["a"].streams == 0


@pytest.mark.parametrize("seen", [1, 2, 3])
def test_a_consumer_that_stops_early_closes_the_child(mode, make, route, seen):
    engine, children, _ = route(a=GOOD)
    assert len(mode.stream(engine, make.ask(), stop_after=seen)) == seen
    assert children["a"].streams == 0


def test_a_stream_that_is_dropped_half_way_leaves_nothing(make):
    """Nobody closes it: the garbage collector and the loop's end have to do."""
    closed = []

    class Child:
        async def stream(self, request):
            try:
                for event in GOOD:
                    yield event
            finally:
                closed.append(True)

    engine = AsyncRoutingEngine(make.stack(make.profile("a")), {"a": Child()})

    async def main():
        async for _ in engine.stream(make.ask()):
            break
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert closed == [True]


def test_dspys_own_guard_finds_nothing_wrong(mode, make, route):
    engine, _, _ = route(a=[GONE], b=GOOD)
    if mode.name == "sync":
        assert text_of(checked_stream(engine.stream(make.ask()))) == "hello"
        return

    async def collect():
        async with aclosing(achecked_stream(engine.stream(make.ask()))) as events:
            return [event async for event in events]

    assert text_of(mode.run(collect())) == "hello"


STEP = st.sampled_from([START, END, said("x"), GONE, broken(), lm15.InvalidRequestError("malformed")])


@given(scripts=st.lists(st.lists(STEP, max_size=4), min_size=1, max_size=3))
def test_whatever_children_stream_the_caller_gets_one_whole_stream_or_one_error(make, scripts):
    names = [f"p{i}" for i in range(len(scripts))]
    sink = make.sink()
    engine = RoutingEngine(
        make.stack(*map(make.profile, names)), dict(zip(names, map(Fixed, scripts), strict=True)), sink=sink
    )
    seen = []
    try:
        for event in engine.stream(make.ask()):
            seen.append(event)  # noqa: PERF402 - what was seen before an error counts
    except lm15.LM15Error:
        assert sink.lines[-1]["status"] == "error"
        assert END.finish_reason not in {getattr(event, "finish_reason", None) for event in seen}
    else:
        assert sink.lines[-1]["status"] == "ok"
        assert [event.type for event in seen] == ["start", *["delta"] * (len(seen) - 2), "end"]
    assert sink.kinds().count("call") == 1
    assert sink.kinds()[-1] == "call"


def test_the_start_names_the_model_that_answers(mode, make, server):
    server.answers(server.event_stream(server.chunk("hi", model="the/real-one"), server.chunk(finish="stop")))
    profile = server.profile(id="a")
    engine = mode.router(make.stack(profile), {"a": mode.provider(profile)})
    events = mode.stream(engine, make.ask())
    assert events[0].model == "the/real-one"
    assert events[-1].provider_data["lmroute"]["model"] == "the/real-one"


def test_a_substitution_is_found_before_the_first_token_is_shown(mode, make, server):
    chunks = (server.chunk("hi", model="another"), server.chunk(finish="stop", model="another"))
    server.answers(server.event_stream(*chunks))
    profiles = server.profile(id="a", type="lmstudio"), make.profile("b")
    engine = mode.router(make.stack(*profiles), {"a": mode.provider(profiles[0]), "b": mode.child(GOOD)})
    events = mode.stream(engine, make.ask())
    assert text_of(events) == "hello"
    attempts = events[-1].provider_data["lmroute"]["attempts"]
    assert [attempt["errorCode"] for attempt in attempts] == [Failure.MODEL_SUBSTITUTED, None]
    assert server.settles_at(0)


def test_the_time_of_an_attempt_counts_after_the_start_as_well(mode, make, server):
    """Anthropic's streams begin before there is a token, so the wait for it is a second one."""
    start = 'event: message_start\ndata: {"type": "message_start", "message": {"id": "a1", "model": "m", "usage": {}}}'
    server.answers([server.sse_head, server.sse(start), server.pause(30)])
    profiles = server.profile(id="a", type="anthropic", total_s=0.4), make.profile("b", models=(AUTO,))
    engine = mode.router(make.stack(*profiles), {"a": mode.provider(profiles[0]), "b": mode.child(GOOD)})
    events = mode.stream(engine, make.ask(max_tokens=5))
    assert text_of(events) == "hello"
    assert events[-1].provider_data["lmroute"]["attempts"][0]["errorCode"] == "timeout"
    assert server.settles_at(0)


def test_the_policys_deadline_counts_to_the_end_of_a_stream(mode, make, server):
    server.answers(
        [server.sse_head, *[s for _ in range(300) for s in (server.sse(server.chunk("x")), server.pause(0.05))]]
    )
    profile = server.profile(id="a", total_s=60)
    engine = mode.router(make.stack(profile, deadline_s=0.4), {"a": mode.provider(profile)})
    started = time.monotonic()
    with pytest.raises(lm15.TimeoutError):
        mode.stream(engine, make.ask())
    assert time.monotonic() - started < 6
    assert server.settles_at(0)
