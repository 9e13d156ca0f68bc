"""Where a name leads, and how far away that is."""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache
from queue import Empty, SimpleQueue
from threading import Thread
from urllib.parse import urlsplit

import httpcore

from lmroute.model import Locality

_REACH = {Locality.EMBEDDED: 0, Locality.LOOPBACK: 0, Locality.PRIVATE: 1, Locality.CLOUD: 2}
_SHARED_ADDRESS_SPACE = ipaddress.ip_network("100.64.0.0/10")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PORTS = {"http": 80, "https": 443}


class AddressRefused(httpcore.ConnectError):
    """The address that a name resolved to lies beyond what the profile's locality allows."""


def resolve(host: str, port: int, timeout: float | None) -> list[str]:
    """The addresses of a name, each once.

    Asked in a thread of its own, because the system's resolver knows no timeout and may take half a minute.

    Raises:
        httpcore.ConnectError: there are none, or not in ``timeout`` seconds.
    """
    answers: SimpleQueue[list[str] | OSError | UnicodeError] = SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            answers.put(error)
        else:
            answers.put(list(dict.fromkeys(str(address[0]) for *_, address in found)))

    Thread(target=ask, name="lmroute resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except Empty:
        raise httpcore.ConnectError(f"{host} does not resolve in time") from None
    if isinstance(answer, Exception):
        reason = answer.strerror or answer if isinstance(answer, OSError) else "it is no host name"
        raise httpcore.ConnectError(f"{host} does not resolve: {reason}")
    if not answer:
        raise httpcore.ConnectError(f"{host} has no address")
    return answer


def locality_of(address: str) -> Locality | None:
    """How far away an IP address is; ``None`` for addresses that are never dialled (link-local, multicast, ...)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip in _NAT64:
        # How a network without IPv4 writes an IPv4 address. A gateway takes it there, so it is never near.
        return Locality.CLOUD if ipaddress.IPv4Address(ip.packed[-4:]).is_global else None
    if ip.is_loopback:
        return Locality.LOOPBACK
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved:
        return None
    return Locality.PRIVATE if ip.is_private or ip in _SHARED_ADDRESS_SPACE else Locality.CLOUD


def check_reach(host: str, addresses: list[str], allowed: Locality) -> list[str]:
    """The addresses of ``host`` that may be dialled.

    Raises:
        AddressRefused: one of them is further away than ``allowed``, or none is of a kind that is ever dialled.
    """
    # A name of the local network often has a link-local address beside its real one.
    near = {address: locality_of(address) for address in addresses}
    dialable = [address for address, found in near.items() if found is not None]
    for address in dialable or addresses:
        found = near[address]
        if found is None or _REACH[found] > _REACH[allowed]:
            kind = "an address that is never dialled" if found is None else f"a {found.value} address"
            raise AddressRefused(f"{host} is {address}, {kind}, but the profile says locality: {allowed.value}")
    return dialable


@lru_cache(maxsize=256)
def server_of(url: str) -> str:
    """The ``host:port`` that a URL leads to, the same for each way to say this machine. Asks no name server.

    Every loopback address is ``localhost`` here, although two servers may listen at two of them; the machine's own
    names and addresses are not known to be its own.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    try:
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # no port at all; whoever dials says so
        return parts.netloc.rpartition("@")[2].lower()
    if host.endswith(".localhost") or _is_loopback(host):
        host = "localhost"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return locality_of(host) is Locality.LOOPBACK
    except ValueError:  # a name
        return False
