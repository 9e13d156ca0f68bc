"""Sockets that only this machine can reach."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = "127.0.0.1"


@contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens on a loopback address; 0 is any free port.

    Raises:
        LmrouteError: when the address is no loopback address or the port cannot be had.
    """
    address = _loopback(host)
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET  # noqa: PLR2004  the protocol's name
    # With its protocol named, asyncio turns Nagle's algorithm off; else replies wait 40 ms for the client's ACK.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        if sys.platform == "win32":  # there, SO_REUSEADDR would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((str(address), port))
            listener.listen()
        except (OSError, OverflowError) as error:
            raise LmrouteError(_no_port(str(address), port, error)) from error
        yield listener


def _loopback(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address that ``host`` names.

    Raises:
        LmrouteError: when other machines could reach it.
    """
    try:
        address = ipaddress.ip_address(LOOPBACK if host == "localhost" else host)
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise LmrouteError(f"the emulator serves this machine only, not '{host}'; use {LOOPBACK} or ::1")
    return address


def url_of(listener: socket.socket) -> str:
    """The URL of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _no_port(address: str, port: int, error: OSError | OverflowError) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"port {port} on {address} is in use, perhaps by LM Studio; stop that program or take --port 0"
    return f"port {port} on {address} cannot be had ({error}); take --port 0 for any free one"
