"""lm15's transport seam over the guarded connection: what DSPy's native engines send and receive goes through here.

Deadlines and address checks are ``lmroute.providers.dialing``'s; here answers that look fine and are not become
errors (``lmroute.engine.replies``) before lm15 sees them, and the model that really answers is noted.

lm15 asks of a transport only ``stream(request)`` and of its answer what ``_Answer`` and its two children have, so
nothing of lm15's private modules is imported.

**Stale connections.** Servers close idle connections (LM Studio after 5 s); a request may cross with that, and a laptop
that slept has not heard of it. So a request that fails on a connection that had served before, without a byte of an
answer, is sent once more, on a new connection and within the same deadline. A new connection that fails is a failure.
RFC 9110 (9.2.2) lets a client repeat a POST that it can tell was not applied, and browsers take this very sign for it:
the server closed before it read the request. It is no proof, a server may crash over what it reads; but as nothing but
an answer comes of a request, the worst is an answer generated twice.
"""

from __future__ import annotations

import weakref
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpcore
from dspy import lm15

from lmroute.engine import replies
from lmroute.engine.exchange import Exchange, current
from lmroute.engine.replies import Frames, settle
from lmroute.engine.verdicts import own
from lmroute.forks import Forked
from lmroute.providers import dialing
from lmroute.providers.http import describe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from lmroute.model import Locality

_REDIRECTS = range(300, 400)
_BREAKS = (
    "Server disconnected without sending a response.",
    "peer closed connection without sending complete message body",
)
"""Of httpcore's and h11's words for a broken protocol, those that quote nothing of what came."""


class Transport(Forked):
    """A synchronous lm15 transport to one address.

    Raises:
        lm15.TransportError: the environment names a proxy that cannot be used.
    """

    def __init__(self, address: str, locality: Locality) -> None:
        with _translated():
            self._pool = dialing.pool(address, locality)
        super().__init__()
        # DSPy closes no engine that it was given, so an LM that is let go of lets go of its connections.
        weakref.finalize(self, self._pool.close)

    @contextmanager
    def stream(self, request: Any) -> Iterator[Answer]:
        """Send one request; the answer is read while the context lasts."""
        exchange = current()
        with _waiting(exchange):
            response = self._send(request, exchange)
        try:
            yield Answer(response, exchange)
        finally:
            response.close()

    def _send(self, request: Any, exchange: Exchange) -> httpcore.Response:
        try:
            return self._pool.handle_request(_outgoing(request, exchange))
        except dialing.HungUp:
            again = _outgoing(request, exchange, last=True)
            return self._pool.create_connection(again.url.origin).handle_request(again)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _begin_in_child(self) -> None:
        # Its connections have closed themselves; to let go of it, and of a stream that is half read, takes its lock.
        self._pool._optional_thread_lock = type(self._pool._optional_thread_lock)()  # noqa: SLF001


class AsyncTransport:
    """``Transport`` for an event loop."""

    def __init__(self, address: str, locality: Locality) -> None:
        with _translated():
            self._pool = dialing.async_pool(address, locality)

    @asynccontextmanager
    async def stream(self, request: Any) -> AsyncIterator[AsyncAnswer]:
        """Send one request; the answer is read while the context lasts."""
        exchange = current()
        with _waiting(exchange):
            response = await self._send(request, exchange)
        try:
            yield await AsyncAnswer(response, exchange).ready()
        finally:
            await response.aclose()

    async def _send(self, request: Any, exchange: Exchange) -> httpcore.Response:
        try:
            return await self._pool.handle_async_request(_outgoing(request, exchange))
        except dialing.HungUp:
            again = _outgoing(request, exchange, last=True)
            return await self._pool.create_connection(again.url.origin).handle_async_request(again)

    async def aclose(self) -> None:
        """Close every connection of this loop."""
        await self._pool.aclose()


class _Answer:
    """Head of an answer, and the checks its body goes through."""

    http_version = "HTTP/1.1"
    reason = ""

    def __init__(self, response: httpcore.Response, exchange: Exchange) -> None:
        self._response = response
        self._exchange = exchange
        self.headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in response.headers]
        self.status = int(response.status)
        self.is_stream = (self.header("content-type") or "").lower().startswith("text/event-stream")
        exchange.replied = True

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def headers_all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def settled(self, body: bytes) -> bytes:
        """A whole body, with the status corrected to the one it should have come with."""
        if self.status in _REDIRECTS:
            where = self.header("location") or "nowhere"
            error = lm15.ProviderError(f"redirected to {where}; the endpoint should be that", status=self.status)
            raise own(error, "redirected elsewhere; the endpoint should be that")
        self.status, body = settle(self.status, self._exchange.read(body), self._exchange)
        return body


class Answer(_Answer):
    """What lm15 reads from a synchronous transport."""

    def __init__(self, response: httpcore.Response, exchange: Exchange) -> None:
        super().__init__(response, exchange)
        # A body that is no event stream is read now: its content decides the status that lm15 is about to look at.
        self._body = None if self.is_stream else self.settled(self._read_all())

    def _read_all(self) -> bytes:
        body = bytearray()
        for chunk in self._chunks():
            body += chunk
            _check_size(body)
        return bytes(body)

    def _chunks(self) -> Iterator[bytes]:
        source = self._response.iter_stream()
        while True:
            with _waiting(self._exchange):
                chunk = next(source, None)
            if chunk is None:
                return
            self._exchange.heard()
            yield chunk

    def read(self) -> bytes:
        """The whole body."""
        return self._read_all() if self._body is None else self._body

    def __iter__(self) -> Iterator[bytes]:
        if self._body is not None:
            yield self._body
            return
        frames = Frames(self._exchange)
        for chunk in self._chunks():
            yield self._exchange.read(frames.feed(chunk))
        yield self._exchange.read(frames.rest())


class AsyncAnswer(_Answer):
    """What lm15 reads from an asynchronous transport. The body of a non-stream is read by ``ready``."""

    _body: bytes | None = None

    async def ready(self) -> AsyncAnswer:
        """Read a body that is no event stream, so that its content can decide the status."""
        if not self.is_stream:
            self._body = self.settled(await self._read_all())
        return self

    async def _read_all(self) -> bytes:
        body = bytearray()
        async for chunk in self._chunks():
            body += chunk
            _check_size(body)
        return bytes(body)

    async def _chunks(self) -> AsyncIterator[bytes]:
        source = self._response.aiter_stream()
        while True:
            with _waiting(self._exchange):
                chunk = await anext(source, None)
            if chunk is None:
                return
            self._exchange.heard()
            yield chunk

    async def read(self) -> bytes:
        """The whole body."""
        return await self._read_all() if self._body is None else self._body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._body is not None:
            yield self._body
            return
        frames = Frames(self._exchange)
        async for chunk in self._chunks():
            yield self._exchange.read(frames.feed(chunk))
        yield self._exchange.read(frames.rest())


def _outgoing(request: Any, exchange: Exchange, *, last: bool = False) -> httpcore.Request:
    """A request for httpcore. ``last``: its connection, which is in no pool, is closed with the answer."""
    host = urlsplit(request.url).netloc.encode("ascii")
    headers = [(b"Host", host), (b"Accept-Encoding", b"identity")]
    headers += [(k.encode("latin-1"), v.encode("latin-1")) for k, v in request.headers if not _is_left_out(k, exchange)]
    headers.append((b"Content-Length", str(len(request.body)).encode()))
    if last:
        headers.append((b"Connection", b"close"))
    patience = exchange.patience
    extensions = {"timeout": {"connect": patience.connect_s, "pool": patience.remaining()}}
    return httpcore.Request(request.method, request.url, headers=headers, content=request.body, extensions=extensions)


def _is_left_out(header: str, exchange: Exchange) -> bool:
    return exchange.keyless and header.lower() == "authorization"


def _check_size(body: bytearray) -> None:
    if len(body) > replies.MAX_REPLY:
        raise own(lm15.ProviderError(f"the answer is longer than {replies.MAX_REPLY} bytes"))


@contextmanager
def _waiting(exchange: Exchange) -> Iterator[None]:
    """Bound what is done on the connection inside by the exchange's clocks; its failures are lm15's errors."""
    with dialing.until(exchange.wait_until), _translated():
        yield


@contextmanager
def _translated() -> Iterator[None]:
    """httpcore's errors as lm15's, in words that say what to look at."""
    try:
        yield
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
        raise own(lm15.TransportError(describe(error))) from error
    except httpcore.TimeoutException as error:
        raise own(lm15.TimeoutError(describe(error))) from error
    except (httpcore.NetworkError, httpcore.ProxyError) as error:
        raise own(lm15.TransportError(describe(error))) from error
    except httpcore.ProtocolError as error:
        known = next((known for known in _BREAKS if known in str(error)), type(error).__name__)
        raise own(lm15.TransportError(describe(error)), f"the connection broke: {known}") from error
