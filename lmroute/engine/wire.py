"""lm15's transport seam over the guarded connection: what DSPy's native engines send and receive goes through here.

Besides deadlines and address checks (``lmroute.providers.dialing``) this is where answers that look fine and are not
become errors, so that lm15's dialects map them like any other: LM Studio's error bodies with status 200, its errors
that are bare strings, replies without ``choices``, bodies without end. It also notes which model really answers.

lm15 asks of a transport only ``stream(request)`` and of its answer what ``_Answer`` and its two children have, so
nothing of lm15's private modules is imported.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpcore
from dspy import lm15

from lmroute.providers import dialing
from lmroute.providers.http import describe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from lmroute.providers.dialing import Patience

MAX_REPLY = 64 * 1024 * 1024
"""Bytes of one answer that are read at most."""

_OK = 200
_BAD_GATEWAY = 502
_BAD_REQUEST = 400


@dataclass(slots=True)
class Exchange:
    """One request and what is learned from its answer.

    Attributes:
        needs_choices: whether the dialect's answer must hold ``choices`` (OpenAI chat).
        answered: the model that the answer names first; empty until it is known.
    """

    patience: Patience
    needs_choices: bool = False
    answered: str = ""
    timeouts: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        left = self.patience.remaining()
        self.timeouts = {
            "connect": min(self.patience.connect_s, left),
            "read": left,
            "write": left,
            "pool": left,
        }


_exchange: ContextVar[Exchange] = ContextVar("lmroute_exchange")


@contextmanager
def exchanging(exchange: Exchange) -> Iterator[None]:
    """Have the request that is sent inside belong to ``exchange``."""
    token = _exchange.set(exchange)
    try:
        with dialing.until(exchange.patience.deadline):
            yield
    finally:
        _exchange.reset(token)


class Transport:
    """A synchronous lm15 transport over a guarded pool."""

    def __init__(self, pool: httpcore.ConnectionPool) -> None:
        self._pool = pool

    @contextmanager
    def stream(self, request: Any) -> Iterator[Answer]:
        """Send one request; the answer is read while the context lasts."""
        exchange = _exchange.get()
        with _translated():
            response = self._pool.handle_request(_outgoing(request, exchange))
        try:
            yield Answer(response, exchange)
        finally:
            response.close()

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


class AsyncTransport:
    """``Transport`` for an event loop."""

    def __init__(self, pool: httpcore.AsyncConnectionPool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def stream(self, request: Any) -> AsyncIterator[AsyncAnswer]:
        """Send one request; the answer is read while the context lasts."""
        exchange = _exchange.get()
        with _translated():
            response = await self._pool.handle_async_request(_outgoing(request, exchange))
        try:
            yield await AsyncAnswer(response, exchange).ready()
        finally:
            await response.aclose()

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
        self.is_stream = (self.header("content-type") or "").startswith("text/event-stream")
        self.status = int(response.status)
        exchange.timeouts["read"] = exchange.patience.idle_s if self.is_stream else exchange.patience.remaining()
        connection = response.extensions.get("network_stream")
        if connection is not None:
            connection.deadline = exchange.patience.deadline

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def headers_all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def settled(self, body: bytes) -> bytes:
        """A whole body, with the status it should have come with."""
        self.status, body = settle(self.status, body, needs_choices=self._exchange.needs_choices)
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
        with _translated():
            yield from self._response.iter_stream()

    def read(self) -> bytes:
        """The whole body."""
        return self._read_all() if self._body is None else self._body

    def __iter__(self) -> Iterator[bytes]:
        if self._body is not None:
            yield self._body
            return
        frames = Frames(self._exchange)
        for chunk in self._chunks():
            yield frames.feed(chunk)
        yield frames.rest()


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
        with _translated():
            async for chunk in self._response.aiter_stream():
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
            yield frames.feed(chunk)
        yield frames.rest()


class Frames:
    """Watches an event stream pass by, line by line, whatever the chunks."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._partial = b""

    def feed(self, chunk: bytes) -> bytes:
        """The complete lines so far, with LM Studio's string errors in the shape that dialects read."""
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        if len(self._partial) > MAX_REPLY:
            raise lm15.ProviderError(f"a stream line is longer than {MAX_REPLY} bytes")
        return b"".join(self._line(line) + b"\n" for line in lines)

    def rest(self) -> bytes:
        """What came after the last line end."""
        return self._line(self._partial) if self._partial else b""

    def _line(self, line: bytes) -> bytes:
        wanted = not self._exchange.answered or b'"error"' in line
        if not (wanted and line.startswith(b"data:")):
            return line
        frame = _parsed(line[5:])
        if frame is None:
            return line
        self._exchange.answered = self._exchange.answered or str(frame.get("model") or "")
        if isinstance(frame.get("error"), str):
            return b"data: " + json.dumps({"error": {"message": frame["error"]}}).encode()
        return line


def settle(status: int, body: bytes, *, needs_choices: bool) -> tuple[int, bytes]:
    """The status and body that a server should have sent.

    A top-level ``error`` is an error whatever the status, and becomes an object whatever it was; an answer without
    ``choices`` is none. Anything else passes unchanged.
    """
    # In a JSON string the quotes would be escaped, so these bytes are keys; a good answer is not parsed twice.
    if b'"error"' not in body and not (needs_choices and b'"choices"' not in body):
        return status, body
    document = _parsed(body)
    if document is None:
        return status, body
    error = document.get("error")
    if error is not None and not document.get("choices"):
        if isinstance(error, str):
            body = json.dumps({"error": {"message": error}}).encode()
        return (_BAD_REQUEST if status == _OK else status), body
    if needs_choices and status == _OK and not document.get("choices"):
        message = f"the answer has no choices, only {', '.join(sorted(map(str, document))[:8]) or 'nothing'}"
        return _BAD_GATEWAY, json.dumps({"error": {"message": message}}).encode()
    return status, body


def _parsed(data: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None  # lm15 says what is wrong with a body that is no JSON
    return document if isinstance(document, dict) else None


def _outgoing(request: Any, exchange: Exchange) -> httpcore.Request:
    host = urlsplit(request.url).netloc.encode("ascii")
    headers = [(b"Host", host), (b"Accept-Encoding", b"identity")]
    headers += [(k.encode("latin-1"), v.encode("latin-1")) for k, v in request.headers]
    headers.append((b"Content-Length", str(len(request.body)).encode()))
    # While waiting for a stream to begin, the first-byte bound applies; lm15 asks for one with this field.
    if b'"stream": true' in request.body or b'"stream":true' in request.body:
        exchange.timeouts["read"] = min(exchange.patience.first_byte_s, exchange.timeouts["read"])
    extensions = {"timeout": exchange.timeouts}
    return httpcore.Request(request.method, request.url, headers=headers, content=request.body, extensions=extensions)


def _check_size(body: bytearray) -> None:
    if len(body) > MAX_REPLY:
        raise lm15.ProviderError(f"the answer is longer than {MAX_REPLY} bytes")


@contextmanager
def _translated() -> Iterator[None]:
    """httpcore's errors as lm15's, in words that say what to look at."""
    try:
        yield
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
        raise lm15.TransportError(describe(error)) from error
    except httpcore.TimeoutException as error:
        raise lm15.TimeoutError(describe(error)) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        raise lm15.TransportError(describe(error)) from error
