"""Event streams over a real socket: their clocks, their endings, and what goes wrong in the middle."""

import time

import pytest
from dspy import lm15

from lmroute.engine.exchange import Exchange
from lmroute.engine.replies import Frames
from lmroute.engine.verdicts import classify, recorded
from lmroute.model import Failure
from lmroute.providers.dialing import Patience

SOON = 6.0
"""Seconds within which everything here has to be over, however busy the machine is."""


def GOOD(server):  # noqa: N802 - a constant, but for the fixture
    return server.chunk("hello"), server.chunk(finish="stop"), "data: [DONE]"


def test_a_streams_first_byte_has_its_own_bound(mode, make, server):
    server.answers([server.pause(30)])
    started = time.monotonic()
    with pytest.raises(lm15.TimeoutError):
        mode.stream(mode.provider(server.profile(first_token_s=0.2, total_s=60)), make.ask(model="m"))
    assert time.monotonic() - started < SOON


def test_a_server_that_thinks_after_the_head_has_the_first_bytes_time(mode, make, server):
    server.answers([server.sse_head, server.pause(0.8), server.sse(*GOOD(server)), server.CLOSE])
    events = mode.stream(mode.provider(server.profile(first_token_s=30, idle_s=0.5)), make.ask(model="m"))
    assert [event.type for event in events] == ["start", "delta", "end"]


def test_the_first_byte_is_waited_for_after_the_head_only_so_long(mode, make, server):
    server.answers([server.sse_head, server.pause(30)])
    started = time.monotonic()
    with pytest.raises(lm15.TimeoutError):
        mode.stream(mode.provider(server.profile(first_token_s=0.2, idle_s=60)), make.ask(model="m"))
    assert time.monotonic() - started < SOON


def test_a_stream_that_stalls_ends_after_the_idle_time(mode, make, server):
    server.answers([server.sse_head, server.sse(server.chunk("he")), server.pause(30)])
    started = time.monotonic()
    with pytest.raises(lm15.TimeoutError):
        mode.stream(mode.provider(server.profile(idle_s=0.2, first_token_s=60)), make.ask(model="m"))
    assert time.monotonic() - started < SOON


def test_a_stream_in_single_bytes_with_crlf_is_whole(mode, make, server):
    frames = server.sse(server.chunk("grüß "), server.chunk("dich"), *GOOD(server)[1:]).replace(b"\n", b"\r\n")
    server.answers([server.sse_head, *[frames[i : i + 1] for i in range(len(frames))], server.CLOSE])
    events = mode.stream(mode.provider(server.profile()), make.ask(model="m"))
    assert make.text(events) == "grüß dich"
    assert [event.type for event in events] == ["start", "delta", "delta", "end"]
    assert events[0].model == "m"


GOOD_ENDINGS = {
    "done without a finish reason": lambda w: w.sse(w.chunk("hello"), "data: [DONE]"),
    "a finish reason without done": lambda w: w.sse(w.chunk("hello"), w.chunk(finish="stop")),
    "done twice": lambda w: w.sse(*GOOD(w), "data: [DONE]"),
    "no line end": lambda w: w.sse(*GOOD(w)).rstrip(),
    "pings between": lambda w: w.sse(": ping", w.chunk("hello"), ": ping", w.chunk(finish="stop"), "data: [DONE]"),
}


@pytest.mark.parametrize("body", GOOD_ENDINGS.values(), ids=GOOD_ENDINGS)
def test_what_ends_a_stream(mode, make, server, body):
    server.answers([server.sse_head, body(server), server.CLOSE])
    assert make.text(mode.stream(mode.provider(server.profile()), make.ask(model="m"))) == "hello"


def test_a_content_type_is_read_whatever_its_case(mode, make, server):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\nConnection: close\r\n\r\n"
    server.answers([head, server.sse(server.chunk("hel")), server.pause(30)])
    events = mode.stream(mode.provider(server.profile(total_s=20)), make.ask(model="m"), stop_after=2)
    assert make.text(events) == "hel"  # read as a stream: the whole body would have taken 20 s


BAD_STREAMS = {
    "a string error": (lambda w: ({"error": "Something odd"},), Failure.BAD_REPLY),
    "an object error": (lambda w: ({"error": {"message": "Something odd"}},), Failure.BAD_REPLY),
    "an error event": (
        lambda w: ('event: error\ndata: {"error": {"message": "Something odd"}, "message": "Something odd"}',),
        Failure.BAD_REPLY,
    ),
    "an overflow event": (
        lambda w: ({"error": {"message": "Input does not fit in context length. The input has 9 tokens"}},),
        Failure.CONTEXT_LENGTH,
    ),
    "an error after a token": (lambda w: (w.chunk("he"), {"error": "Something odd"}), Failure.BAD_REPLY),
    "no finish": (lambda w: (w.chunk("he"),), Failure.BAD_REPLY),
    "nothing at all": (lambda w: (), Failure.BAD_REPLY),
    "pings only": (lambda w: (": ping", ": ping"), Failure.BAD_REPLY),
    "an event that is no JSON": (lambda w: (w.chunk("he"), "data: {oops"), Failure.BAD_REPLY),
    "choices that are a number": (lambda w: ({"choices": 5},), Failure.BAD_REPLY),
    "tool calls with odd indices": (
        lambda w: ({"choices": [{"delta": {"tool_calls": [{"index": "x"}]}}]},),
        Failure.BAD_REPLY,
    ),
    "a line of a megabyte": (lambda w: ("data: " + "x" * 1_000_000,), Failure.BAD_REPLY),
}


@pytest.mark.parametrize(("frames", "failure"), BAD_STREAMS.values(), ids=BAD_STREAMS)
def test_a_bad_stream(mode, make, server, frames, failure):
    server.answers(server.event_stream(*frames(server)))
    with pytest.raises(lm15.LM15Error) as caught:
        mode.stream(mode.provider(server.profile()), make.ask(model="m"))
    assert classify(caught.value) is failure, caught.value
    assert server.settles_at(0)


@pytest.mark.parametrize("dialect", ["vllm", "lmstudio", "anthropic"])
def test_a_stream_that_breaks_off_is_recorded_in_words(mode, make, server, dialect):
    for frames in ([server.chunk("he")], []):
        server.answers(server.event_stream(*frames))
        with pytest.raises(lm15.StreamAssemblyError) as caught:
            mode.stream(mode.provider(server.profile(type=dialect)), make.ask(model="m"))
        assert recorded(caught.value) == "the stream ended early"


def test_an_error_answer_may_call_itself_an_event_stream(mode, make, server):
    server.answers(server.http({"error": "told so"}, "400 Bad Request", "text/event-stream"))
    with pytest.raises(lm15.InvalidRequestError, match="told so"):
        mode.stream(mode.provider(server.profile()), make.ask(model="m"))


def test_a_whole_answer_to_a_stream_request_is_no_stream(mode, make, server):
    server.answers(server.http(server.chat("hi")))
    with pytest.raises(lm15.StreamAssemblyError):
        mode.stream(mode.provider(server.profile()), make.ask(model="m"))


def test_a_line_without_end_is_refused_before_it_fills_the_memory(mode, make, server):
    server.answers([server.sse_head, b"data: ", *[b"x" * 65_536] * 400, server.CLOSE])
    started = time.monotonic()
    with pytest.raises(lm15.LM15Error, match="is longer than"):
        mode.stream(mode.provider(server.profile()), make.ask(model="m"))
    assert time.monotonic() - started < SOON
    assert server.settles_at(0)


def test_frames_name_the_first_model_and_mend_string_errors():
    exchange = Exchange(Patience(time.monotonic() + 9, 1, 1, 1))
    frames = Frames(exchange)
    out = frames.feed(b'data: {"a": 1}\nda') + frames.feed(b'ta: {"model": "x"}\ndata: {"model": "y"}\n')
    out += frames.feed(b'event: error\ndata: {"error": "no"}') + frames.rest()
    assert out.splitlines() == [
        b'data: {"a": 1}',
        b'data: {"model": "x"}',
        b'data: {"model": "y"}',
        b"event: error",
        b'data: {"error": {"message": "no"}}',
    ]
    assert exchange.answered == "x"


def test_the_clocks_of_a_stream():
    now = time.monotonic()
    whole, stream = (Exchange(Patience(now + 100, 1, 20, 10), streams) for streams in (False, True))
    assert whole.wait_until == now + 100
    assert now + 20 <= stream.wait_until < now + 30
    whole.heard(), stream.heard()
    assert whole.wait_until == now + 100
    assert now + 10 <= stream.wait_until < now + 20
    assert Exchange(Patience(now + 5, 1, 20, 10), True).wait_until == now + 5
