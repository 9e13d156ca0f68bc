"""Connections that the server closed while nobody looked: the request goes out again, on a new one, and only then."""

import asyncio
import json
import socketserver
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from dspy import lm15

from lmroute.engine.children import AsyncProviderEngine, ProviderEngine
from lmroute.engine.provider import Provider
from lmroute.engine.verdicts import classify
from lmroute.model import Failure


@pytest.fixture(params=["complete", "stream"])
def kind(request):
    return request.param


@pytest.fixture
def good(kind, server):
    """A good answer that leaves the connection open."""
    if kind == "complete":
        return server.http(server.chat())
    frames = server.sse(server.chunk("hi"), server.chunk(finish="stop"), "data: [DONE]")
    return server.http(frames, "200 OK", "text/event-stream")


@pytest.fixture
def ask(kind, mode, make, server):
    """``ask() -> text`` of one engine: over one connection after the other, as long as they last."""
    engine = mode.provider(server.profile())

    def once():
        if kind == "complete":
            return mode.complete(engine, make.ask(model="m")).text
        return make.text(mode.stream(engine, make.ask(model="m")))

    return once


def ends(server):
    """How a server leaves a request on a connection that served before."""
    return {"closed": [server.CLOSE], "reset": [server.RESET]}


@pytest.mark.parametrize("end", ["closed", "reset"])
def test_a_request_on_a_stale_connection_is_sent_again_on_a_new_one(server, good, ask, end):
    server.answers(good, ends(server)[end], good)
    assert [ask(), ask()] == ["hi", "hi"]
    assert server.accepted == 2
    first, lost, again = server.received
    assert lost.body == again.body == first.body
    assert again.header("Connection") == "close"
    assert [header for header in again.headers if header[0] != "Connection"] == lost.headers


def test_the_new_connection_ends_with_its_answer(server, good, ask):
    server.answers(good, [server.CLOSE], good)
    ask(), ask()
    assert server.settles_at(0)
    assert ask() == "hi"  # and the next one is kept again
    assert ask() == "hi"
    assert (server.accepted, len(server.received)) == (3, 5)


def test_a_new_connection_is_taken_though_others_lie_idle(make, server):
    """They are as old as the one that failed: a laptop that wakes up has a pool full of them."""
    good = server.http(server.chat())

    async def main():
        engine = AsyncProviderEngine(Provider(server.profile(), {}))
        server.answers([server.pause(0.05), good])
        await asyncio.gather(*(engine.complete(make.ask(model="m")) for _ in range(4)))
        assert server.accepted == 4
        server.answers([server.CLOSE], good)
        assert (await engine.complete(make.ask(model="m"))).text == "hi"

    asyncio.run(main())
    assert (server.accepted, len(server.received)) == (5, 6)


@pytest.mark.parametrize("end", ["closed", "reset"])
def test_a_new_connection_that_fails_is_a_failure(server, ask, end):
    server.answers(ends(server)[end])
    with pytest.raises(lm15.TransportError, match="the connection broke") as caught:
        ask()
    assert classify(caught.value) is Failure.TRANSPORT
    assert (server.accepted, len(server.received)) == (1, 1)


def test_it_is_sent_twice_at_most(server, good, ask):
    server.answers(good, [server.CLOSE])
    assert ask() == "hi"
    with pytest.raises(lm15.TransportError, match="the connection broke"):
        ask()
    assert (server.accepted, len(server.received)) == (2, 3)


@pytest.mark.parametrize(
    "begun", [b"H", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]
)
@pytest.mark.parametrize("end", ["closed", "reset"])
def test_after_a_single_byte_it_is_not_sent_again(server, good, ask, begun, end):
    server.answers(good, [begun, server.pause(0.02), *ends(server)[end]], good)
    ask()
    with pytest.raises(lm15.TransportError):
        ask()
    assert (server.accepted, len(server.received)) == (1, 2)


def test_a_stream_that_breaks_off_is_not_sent_again(mode, make, server):
    engine = mode.provider(server.profile())
    good = server.http(server.sse(server.chunk("hi"), server.chunk(finish="stop")), "200 OK", "text/event-stream")
    half = [server.sse_head, server.sse(server.chunk("h")), server.CLOSE]
    server.answers(good, half, good)
    mode.stream(engine, make.ask(model="m"))
    with pytest.raises(lm15.LM15Error):
        mode.stream(engine, make.ask(model="m"))
    assert (server.accepted, len(server.received)) == (1, 2)


def test_a_server_that_says_nothing_has_not_hung_up(mode, make, server, good, kind):
    engine = mode.provider(server.profile(total_s=0.3, first_token_s=0.3))
    server.answers(good, [server.pause(5.0)], good)
    call = mode.complete if kind == "complete" else mode.stream
    call(engine, make.ask(model="m"))
    with pytest.raises(lm15.TimeoutError):
        call(engine, make.ask(model="m"))
    assert (server.accepted, len(server.received)) == (1, 2)


def test_the_second_time_has_what_is_left_of_the_deadline(mode, make, server, good, kind):
    engine = mode.provider(server.profile(total_s=0.5, first_token_s=0.5))
    server.answers(good, [server.pause(0.1), server.CLOSE], [server.pause(5.0)])
    call = mode.complete if kind == "complete" else mode.stream
    call(engine, make.ask(model="m"))
    with pytest.raises(lm15.TimeoutError):
        call(engine, make.ask(model="m"))
    assert (server.accepted, len(server.received)) == (2, 3)


def test_a_server_that_closes_after_each_answer_without_saying_so(server, good, ask):
    """Whether the client has heard of it or crosses with it: no caller does."""
    server.answers([good, server.CLOSE])
    assert [ask() for _ in range(20)] == ["hi"] * 20
    assert len(server.received) == 20


class AnswersOnce(socketserver.StreamRequestHandler):
    """Answers the first request of a connection and hangs up when it has read the second one."""

    def handle(self):
        if self.was_asked():
            self.wfile.write(self.server.answer)
            self.was_asked()

    def was_asked(self):
        length = 0
        while line := self.rfile.readline().strip():
            length = int(line.split(b":")[1]) if line.lower().startswith(b"content-length") else length
        body = self.rfile.read(length)
        if body:
            self.server.asked.append(body)
        return bool(body)


def test_many_threads_with_stale_connections_all_get_their_answers(make, server):
    threads, rounds = 6, 8
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), AnswersOnce) as host:
        host.answer, host.asked, host.daemon_threads = server.http(server.chat()), [], True
        serving = threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            engine = ProviderEngine(Provider(server.profile(endpoint=f"http://127.0.0.1:{host.server_address[1]}"), {}))
            with ThreadPoolExecutor(threads) as pool:
                texts = pool.map(lambda i: engine.complete(make.ask(f"{i}", model="m")).text, range(threads * rounds))
                assert list(texts) == ["hi"] * threads * rounds
            engine.close()
        finally:
            host.shutdown()
            serving.join()
    times = Counter(json.loads(body)["messages"][0]["content"] for body in host.asked)
    assert len(times) == threads * rounds
    assert set(times.values()) == {1, 2}


def test_a_connection_that_we_closed_is_no_stale_one(make, server):
    """Whoever closes an engine with calls under way does not want them made again."""
    server.answers(server.http(server.chat()), [server.pause(5.0)])

    async def main():
        engine = AsyncProviderEngine(Provider(server.profile(), {}))
        await engine.complete(make.ask(model="m"))
        call = asyncio.create_task(engine.complete(make.ask(model="m")))
        await asyncio.to_thread(server.has_been_asked, 2)
        await engine.aclose()
        with pytest.raises(lm15.TransportError):
            await call

    asyncio.run(main())
    assert (server.accepted, len(server.received)) == (1, 2)
