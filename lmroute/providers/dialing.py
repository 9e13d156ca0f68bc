"""The one place that opens a socket to a provider.

httpcore (httpx's engine) does HTTP; its network backend is wrapped here so that every connection

* goes only as far as the profile's locality allows, judged on the resolved address and not on the name, and
* never outlives its deadline: each read waits for what is left of it, so a server that drips bytes ends on time too.

Local traffic never goes through a proxy, redirects are not followed (httpcore has none), and TLS is always verified.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import anyio
import httpcore
import httpx

from lmroute.model import Locality

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator

_REACH = {Locality.EMBEDDED: 0, Locality.LOOPBACK: 0, Locality.PRIVATE: 1, Locality.CLOUD: 2}
_SHARED_ADDRESS_SPACE = ipaddress.ip_network("100.64.0.0/10")
_MAX_CONNECTIONS = 100
_KEEPALIVE_S = 4.0  # LM Studio closes idle connections after 5 s; leave first

_deadline: ContextVar[float | None] = ContextVar("lmroute_deadline", default=None)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one attempt may wait.

    Attributes:
        deadline: ``time.monotonic()`` value after which nothing is waited for.
        connect_s, first_byte_s, idle_s: bounds of the phases, in seconds.
    """

    deadline: float
    connect_s: float
    first_byte_s: float
    idle_s: float

    def remaining(self) -> float:
        """Seconds left, 0 when none are."""
        return max(0.0, self.deadline - time.monotonic())


class AddressRefused(httpcore.ConnectError):
    """The address that a name resolved to lies beyond what the profile's locality allows."""


@contextmanager
def until(deadline: float) -> Iterator[None]:
    """Bound every socket operation of this thread or task by a monotonic deadline."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def deadline() -> float | None:
    """The monotonic deadline that ``until`` set for this thread or task."""
    return _deadline.get()


def locality_of(address: str) -> Locality | None:
    """How far away an IP address is; ``None`` for addresses that are never dialled (link-local, multicast, ...)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_loopback:
        return Locality.LOOPBACK
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return None
    if ip.is_private or (ip.version == 4 and ip in _SHARED_ADDRESS_SPACE):  # noqa: PLR2004
        return Locality.PRIVATE
    return None if ip.is_reserved else Locality.CLOUD


def _check_reach(host: str, addresses: Iterable[str], allowed: Locality) -> list[str]:
    addresses = list(dict.fromkeys(addresses))
    for address in addresses:
        found = locality_of(address)
        if found is None or _REACH[found] > _REACH[allowed]:
            kind = "an address that is never dialled" if found is None else f"a {found.value} address"
            raise AddressRefused(f"{host} is {address}, {kind}, but the profile says locality: {allowed.value}")
    return addresses


def _addresses(answers: Iterable[tuple[Any, ...]]) -> list[str]:
    return [str(answer[4][0]) for answer in answers]


def _left(timeout: float | None, deadline: float | None) -> float | None:
    """The shorter of a phase's timeout and what is left of the deadline."""
    if deadline is None:
        return timeout
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise httpcore.ReadTimeout("the deadline has passed")
    return remaining if timeout is None else min(timeout, remaining)


class _Bounded:
    """State of a connection that both kinds of stream share: its inner stream and the deadline of its present call."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.deadline: float | None = None

    def bound(self, timeout: float | None) -> float | None:
        # While a request is being sent the caller's context says; while its body is read, the connection remembers.
        return _left(timeout, _deadline.get() or self.deadline)

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


class BoundedStream(_Bounded, httpcore.NetworkStream):
    """A connection whose reads and writes end at the deadline."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return bytes(self.inner.read(max_bytes, self.bound(timeout)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.inner.write(buffer, self.bound(timeout))

    def close(self) -> None:
        self.inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return BoundedStream(self.inner.start_tls(ssl_context, server_hostname, self.bound(timeout)))


class AsyncBoundedStream(_Bounded, httpcore.AsyncNetworkStream):
    """``BoundedStream`` for an event loop."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        return bytes(await self.inner.read(max_bytes, self.bound(timeout)))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self.inner.write(buffer, self.bound(timeout))

    async def aclose(self) -> None:
        await self.inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        return AsyncBoundedStream(await self.inner.start_tls(ssl_context, server_hostname, self.bound(timeout)))


class GuardedBackend(httpcore.NetworkBackend):
    """Resolve, judge the addresses, connect to the first that answers."""

    def __init__(self, allowed: Locality) -> None:
        self._allowed = allowed
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        try:
            found = _addresses(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            raise httpcore.ConnectError(f"{host} does not resolve: {error.strerror or error}") from error
        *others, last = _check_reach(host, found, self._allowed)
        for address in others:
            try:
                return self._dial(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError:
                continue  # the next address may answer; the last one's error is the one shown
        return self._dial(last, port, timeout, local_address, socket_options)

    def _dial(self, address: str, port: int, timeout: float | None, *rest: Any) -> BoundedStream:
        return BoundedStream(self._inner.connect_tcp(address, port, _left(timeout, _deadline.get()), *rest))


class AsyncGuardedBackend(httpcore.AsyncNetworkBackend):
    """``GuardedBackend`` for an event loop."""

    def __init__(self, allowed: Locality) -> None:
        self._allowed = allowed
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            found = _addresses(await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            raise httpcore.ConnectError(f"{host} does not resolve: {error.strerror or error}") from error
        *others, last = _check_reach(host, found, self._allowed)
        for address in others:
            try:
                return await self._dial(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError:
                continue
        return await self._dial(last, port, timeout, local_address, socket_options)

    async def _dial(self, address: str, port: int, timeout: float | None, *rest: Any) -> AsyncBoundedStream:  # noqa: ASYNC109
        return AsyncBoundedStream(await self._inner.connect_tcp(address, port, _left(timeout, _deadline.get()), *rest))

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


def pool(url: str, allowed: Locality) -> httpcore.ConnectionPool:
    """A connection pool for one provider's base URL."""
    return httpcore.ConnectionPool(network_backend=GuardedBackend(allowed), **_pool_options(url, allowed))


def async_pool(url: str, allowed: Locality) -> httpcore.AsyncConnectionPool:
    """``pool`` for an event loop; it belongs to the loop it is first used on."""
    return httpcore.AsyncConnectionPool(network_backend=AsyncGuardedBackend(allowed), **_pool_options(url, allowed))


def _pool_options(url: str, allowed: Locality) -> dict[str, Any]:
    parts = urlsplit(url)
    proxy = _proxy_for(parts.scheme, parts.hostname or "") if allowed is Locality.CLOUD else None
    return {
        # Reading the certificate bundle takes tens of milliseconds, so only where TLS is spoken.
        "ssl_context": httpx.create_ssl_context() if parts.scheme == "https" else None,
        "proxy": None if proxy is None else httpcore.Proxy(proxy),
        "max_connections": _MAX_CONNECTIONS,
        "max_keepalive_connections": _MAX_CONNECTIONS,
        "keepalive_expiry": _KEEPALIVE_S,
    }


def _proxy_for(scheme: str, host: str) -> str | None:
    """The proxy that the environment names for a cloud host, or ``None``."""
    proxies = getproxies()
    url = proxies.get(scheme) or proxies.get("all")
    return None if url is None or proxy_bypass(host) else url
