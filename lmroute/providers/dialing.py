"""The one place that opens a socket to a provider.

httpcore (httpx's engine) does HTTP; its network backend is wrapped here so that every connection

* goes only as far as the profile's locality allows, judged on the resolved address and not on the name, and
* never outlives its deadline: each wait, for the resolver too, is for what is left of it, so a server that drips bytes
  ends on time.

Local traffic never goes through a proxy, redirects are not followed (httpcore has none), and TLS is always verified.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import getproxies, proxy_bypass

import anyio
import httpcore
import httpx

from lmroute.model import Locality
from lmroute.providers.addresses import check_reach, resolve
from lmroute.providers.connections import AsyncBoundedStream, BoundedStream, HungUp, deadline, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Resolver: TypeAlias = Callable[[str, int, float | None], list[str]]

__all__ = ["HungUp", "Patience", "async_pool", "deadline", "pool", "until"]

_PLAIN_WORDS = {ConnectionRefusedError: "connection refused", ConnectionResetError: "connection reset"}
_SHORTEST_WAIT_S = 0.001
_MAX_CONNECTIONS = 100
_KEEPALIVE_S = 4.0  # LM Studio closes idle connections after 5 s; leave first


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


def _turns(addresses: list[str], ends: float | None) -> Iterator[tuple[str, float | None]]:
    """Each address with its time to connect: half of what is left, and for the last one all of it."""
    for address in addresses:
        left = _until_end(ends)
        yield address, left if left is None or address == addresses[-1] else left / 2


def _end(timeout: float | None) -> float | None:
    """When a phase that may take ``timeout`` seconds has to be over, on the monotonic clock."""
    outer = deadline()
    if timeout is None:
        return outer
    ends = time.monotonic() + timeout
    return ends if outer is None else min(ends, outer)


def _until_end(ends: float | None) -> float | None:
    """Seconds until then; never 0, which sockets take for "do not wait"."""
    return None if ends is None else max(ends - time.monotonic(), _SHORTEST_WAIT_S)


@contextmanager
def _said_alike() -> Iterator[None]:
    """The same words for a failed connection, whichever backend failed: AnyIO hides the reason behind its own."""
    try:
        yield
    except httpcore.ConnectError as error:
        reason: BaseException = error
        while reason.__cause__ is not None:
            reason = reason.__cause__
        words = next((words for kind, words in _PLAIN_WORDS.items() if isinstance(reason, kind)), str(reason))
        raise httpcore.ConnectError(words) from error


class GuardedBackend(httpcore.NetworkBackend):
    """Resolve, judge the addresses, connect to the first that answers within its share of the time."""

    def __init__(self, allowed: Locality, resolver: Resolver = resolve) -> None:
        self._allowed = allowed
        self._resolver = resolver
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        ends = _end(timeout)
        addresses = check_reach(host, self._resolver(host, port, _until_end(ends)), self._allowed)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address, share in _turns(addresses, ends):
            try:
                with _said_alike():
                    return BoundedStream(self._inner.connect_tcp(address, port, share, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error  # the next address may answer; the last one's error is the one shown
        raise failure


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
        ends = _end(timeout)
        # Left behind when it is cancelled: its own timeout ends it.
        found = await anyio.to_thread.run_sync(resolve, host, port, _until_end(ends), abandon_on_cancel=True)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address, share in _turns(check_reach(host, found, self._allowed), ends):
            try:
                with _said_alike():
                    return AsyncBoundedStream(
                        await self._inner.connect_tcp(address, port, share, local_address, socket_options)
                    )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


def pool(url: str, allowed: Locality, resolver: Resolver = resolve) -> httpcore.ConnectionPool:
    """A connection pool for one provider's base URL; ``resolver`` is for who wants to watch names being resolved."""
    return httpcore.ConnectionPool(network_backend=GuardedBackend(allowed, resolver), **_pool_options(url, allowed))


def async_pool(url: str, allowed: Locality) -> httpcore.AsyncConnectionPool:
    """``pool`` for an event loop; it belongs to the loop it is first used on."""
    return httpcore.AsyncConnectionPool(network_backend=AsyncGuardedBackend(allowed), **_pool_options(url, allowed))


def _pool_options(url: str, allowed: Locality) -> dict[str, Any]:
    parts = urlsplit(url)
    proxy = _proxy_for(parts.scheme, parts.hostname or "") if allowed is Locality.CLOUD else None
    return {
        # Reading the certificate bundle takes tens of milliseconds, so only where TLS is spoken.
        "ssl_context": httpx.create_ssl_context() if parts.scheme == "https" else None,
        "proxy": proxy,
        "max_connections": _MAX_CONNECTIONS,
        "max_keepalive_connections": _MAX_CONNECTIONS,
        "keepalive_expiry": _KEEPALIVE_S,
    }


def _proxy_for(scheme: str, host: str) -> httpcore.Proxy | None:
    """The proxy that the environment names for a cloud host, or ``None``."""
    proxies = getproxies()
    url = proxies.get(scheme) or proxies.get("all")
    if url is None or proxy_bypass(host):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in {"http", "https"}:
        raise httpcore.ProxyError(f"{parts.scheme} is not supported; set {scheme.upper()}_PROXY to an HTTP one")
    user, password = unquote_to_bytes(parts.username or ""), unquote_to_bytes(parts.password or "")
    return httpcore.Proxy(parts.geturl(), auth=(user, password) if user else None)
