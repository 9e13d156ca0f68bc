"""No server, however slow or chatty, is waited for beyond the deadline. The bounds here are far from the deadlines."""

import asyncio
import time
from contextlib import nullcontext

import httpcore
import pytest

from lmroute.model import Locality
from lmroute.providers import dialing

SOON_S = 0.25
LONG_S = 10.0
"""What a test may take at most: a server of these would be waited for without end."""

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
TIMEOUTS = {"connect": 60.0, "read": 60.0, "write": 60.0, "pool": 60.0}


def read_sync(url, deadline, context):
    options = {"timeout": TIMEOUTS}
    with dialing.pool(url, Locality.LOOPBACK) as pool, context, pool.stream("GET", url, extensions=options) as response:
        response.extensions["network_stream"].deadline = deadline
        return b"".join(response.iter_stream())


def read_async(url, deadline, context):
    async def read():
        async with dialing.async_pool(url, Locality.LOOPBACK) as pool:
            with context:
                async with pool.stream("GET", url, extensions={"timeout": TIMEOUTS}) as response:
                    response.extensions["network_stream"].deadline = deadline
                    return b"".join([part async for part in response.aiter_stream()])

    return asyncio.run(read())


@pytest.fixture(params=[read_sync, read_async], ids=["sync", "async"])
def read(request):
    """``read(url, in_context)``: the whole body, with a deadline that comes soon."""

    def read(url, in_context=True):
        deadline = time.monotonic() + SOON_S
        return request.param(url, deadline, dialing.until(deadline) if in_context else nullcontext())

    return read


def too_late(read, *args):
    started = time.monotonic()
    with pytest.raises(httpcore.ReadTimeout):
        read(*args)
    assert time.monotonic() - started < LONG_S


def dripping(beginning, piece):
    """An answer that begins and then goes on in small pieces for ever. Its server is known after the start."""

    def answer(_connection):
        yield beginning
        yield from answer.server.drip(piece)

    return answer


@pytest.fixture
def drip(serve):
    """Starts a server that drips: ``drip(beginning, piece) -> url``."""

    def start(beginning, piece):
        answer = dripping(beginning, piece)
        answer.server = serve(answer)
        return answer.server.url

    return start


def test_a_server_that_says_nothing(read, drip):
    too_late(read, drip(b"", b""))


def test_a_server_that_drips_header_bytes(read, drip):
    too_late(read, drip(HEAD + b"X-Long: ", b"x"))


def test_a_server_that_drips_headers(read, drip):
    too_late(read, drip(HEAD, b"X-More: y\r\n"))


def test_a_server_that_drips_its_body(read, drip):
    too_late(read, drip(HEAD + b"Content-Length: 1000000\r\n\r\n", b"x"))


def test_a_server_that_drips_chunks(read, drip):
    too_late(read, drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"))


def test_a_body_without_length_that_does_not_end(read, drip):
    too_late(read, drip(HEAD + b"Connection: close\r\n\r\n", b"x"))


def test_a_body_that_is_read_after_the_context_has_ended(read, drip):
    """A stream's consumer is in no context of ours: then the connection itself remembers."""
    too_late(read, drip(HEAD + b"Content-Length: 1000000\r\n\r\n", b"x"), False)


def test_a_deadline_that_has_passed_sends_nothing(serve):
    server = serve()
    with pytest.raises(httpcore.TimeoutException):
        read_sync(server.url, None, dialing.until(time.monotonic() - 1))
    assert [head for head in server.heads if head] == []


def test_what_comes_in_time_is_read(read, serve):
    assert read(serve(serve.reply(b"x" * 100_000)).url) == b"x" * 100_000


def test_a_phase_that_is_shorter_than_the_deadline_counts(drip):
    url = drip(b"", b"")
    started = time.monotonic()
    with dialing.pool(url, Locality.LOOPBACK) as pool, dialing.until(started + 60), pytest.raises(httpcore.ReadTimeout):
        pool.request("GET", url, extensions={"timeout": TIMEOUTS | {"read": SOON_S}})
    assert time.monotonic() - started < LONG_S
