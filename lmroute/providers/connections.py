"""One connection to a provider: reads and writes end at the caller's deadline, and it tells when it had gone stale."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import httpcore

from lmroute.forks import Forked

if TYPE_CHECKING:
    import ssl

_STATUS_LINE = b"HTTP/"
_deadline: ContextVar[float | None] = ContextVar("lmroute_deadline", default=None)


class until:  # noqa: N801 - used like the function it would be, at a third of a generator's cost
    """Bound every socket operation of this thread or task by a monotonic deadline; an earlier outer one stays."""

    __slots__ = ("_deadline", "_token")

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def __enter__(self) -> None:
        outer = _deadline.get()
        self._token = _deadline.set(self._deadline if outer is None else min(self._deadline, outer))

    def __exit__(self, *_: object) -> None:
        _deadline.reset(self._token)


def deadline() -> float | None:
    """The monotonic deadline that ``until`` set for this thread or task."""
    return _deadline.get()


def _left(timeout: float | None, deadline: float | None) -> float | None:
    """The shorter of a phase's timeout and what is left of the deadline."""
    if deadline is None:
        return timeout
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise httpcore.ReadTimeout("the deadline has passed")
    return remaining if timeout is None else min(timeout, remaining)


class HungUp(httpcore.RemoteProtocolError):
    """A connection that had served before was closed by the server, without a byte of an answer to this request.

    Servers close idle connections (LM Studio after 5 s), and a laptop that slept has not heard of it.
    """


class _Bounded:
    """State of a connection that both kinds of stream share.

    Attributes:
        deadline: of its present call.
        has_served: whether it has brought an answer.
        awaits_answer: whether it waits for the first byte of one.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.deadline: float | None = None
        self.has_served = self.awaits_answer = False
        self._speaks_http = True

    def heard(self, data: bytes) -> bytes:
        """What was read; the end of the stream is no answer.

        Raises:
            HungUp: see there.
            RemoteProtocolError: what was said before the end was no HTTP; h11 would take it for an answer cut short.
        """
        if data:
            if not self.has_served:
                self._speaks_http = data.startswith(_STATUS_LINE[: len(data)])
            self.has_served, self.awaits_answer = True, False
        elif not self._speaks_http:
            raise httpcore.RemoteProtocolError("what answers there does not speak HTTP")
        else:
            self.broke("Server disconnected without sending a response.")
        return data

    def broke(self, why: object) -> None:
        """Nothing more will be read.

        Raises:
            HungUp: see there.
        """
        if self.has_served and self.awaits_answer:
            raise HungUp(str(why))

    def bound(self, timeout: float | None) -> float | None:
        # While a request is being sent the caller's context says; while its body is read, the connection remembers.
        return _left(timeout, _deadline.get() or self.deadline)

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


class BoundedStream(_Bounded, Forked, httpcore.NetworkStream):
    """A connection whose reads and writes end at the deadline. A forked child closes its copy, and tells nobody."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        Forked.__init__(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return self.heard(self.inner.read(max_bytes, self.bound(timeout)))
        except httpcore.ReadError as error:
            self.broke(error)
            raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.awaits_answer = True
        self.inner.write(buffer, self.bound(timeout))

    def close(self) -> None:
        self.awaits_answer = False
        self.inner.close()

    def _begin_in_child(self) -> None:
        self.close()  # without a word of TLS; while a copy is open, the server would not see the parent go away

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return BoundedStream(self.inner.start_tls(ssl_context, server_hostname, self.bound(timeout)))


class AsyncBoundedStream(_Bounded, httpcore.AsyncNetworkStream):
    """``BoundedStream`` for an event loop."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        try:
            return self.heard(await self.inner.read(max_bytes, self.bound(timeout)))
        except httpcore.ReadError as error:
            self.broke(error)
            raise

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self.awaits_answer = True
        await self.inner.write(buffer, self.bound(timeout))

    async def aclose(self) -> None:
        self.awaits_answer = False
        await self.inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        return AsyncBoundedStream(await self.inner.start_tls(ssl_context, server_hostname, self.bound(timeout)))
