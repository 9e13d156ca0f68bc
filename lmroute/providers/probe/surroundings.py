"""Why nobody answers at an address near by: what this machine, its container or its LM Studio tell about that."""

from __future__ import annotations

import ipaddress
import platform
import socket
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from lmroute.model import Locality
from lmroute.providers.lmstudio import installation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.model import Profile

_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_DOOR = "host.docker.internal"
"""What Docker calls the machine that a container runs on; Podman knows it as host.containers.internal."""
_USUAL_PORTS = {"http": 80, "https": 443}
_SERVE = "turn on 'Serve on Local Network' in LM Studio's server settings (or: lms server start --bind 0.0.0.0)"
_LOOK_S = 0.05
"""Loopback answers or refuses at once; this comes on top of a try's deadline."""


@dataclass(frozen=True)
class Surroundings:
    """This machine, as far as it explains a connection that fails.

    Attributes:
        marks: files that are there in containers only.
        release: of the operating system's kernel; WSL's has Microsoft's name in it.
        user: the person's home folder; ``None`` is that of whoever runs this.
    """

    marks: tuple[Path, ...] = _CONTAINER_MARKS
    release: str = field(default_factory=platform.release)
    user: Path | None = None

    @cached_property
    def is_container(self) -> bool:
        """Whether 127.0.0.1 is a container's own."""
        return any(mark.exists() for mark in self.marks)

    @cached_property
    def is_wsl(self) -> bool:
        """Whether this is Linux inside of Windows, where 127.0.0.1 may be either's."""
        return "microsoft" in self.release.lower()


HERE = Surroundings()


def advice(profile: Profile, address: str, usual: str, here: Surroundings | None = None) -> str:
    """What to do about a connection that failed: what is likely here, then the usual; only the first where it is sure.

    Args:
        address: the base URL that was dialled.
        usual: what is advised when nothing is known of the machine.
        here: the machine; ``HERE`` by default.
    """
    if sure := _on_loopback_only(profile, urlsplit(address)):
        return sure
    return "; else ".join([*reasons(profile, address, here), usual])


def reasons(profile: Profile, address: str, here: Surroundings | None = None) -> Iterator[str]:
    """Why a connection to an address near by may fail, each with what to do, likeliest first.

    Args:
        address: the base URL that was dialled.
        here: the machine; ``HERE`` by default.
    """
    here, parts = here or HERE, urlsplit(address)
    if _is_loopback(parts.hostname or ""):
        yield from _on_this_machine(profile, parts, here)
    elif profile.locality is not Locality.CLOUD:
        host = parts.hostname
        yield f"on {host}, {_serving(profile)}, and let port {_port(parts)} in through its firewall"


def _on_this_machine(profile: Profile, parts: SplitResult, here: Surroundings) -> Iterator[str]:
    port, endpoint = _port(parts), f"providers.{profile.id}.endpoint"
    if here.is_container:
        there = f"{endpoint}={_moved(parts, _DOOR)} providers.{profile.id}.locality=private"
        serve = f", and there {_SERVE}" if profile.type == "lmstudio" else ""
        yield f"in a container {parts.hostname} is the container itself; for a server on its host write {there}{serve}"
    elif here.is_wsl:
        yield (
            "from WSL a server on Windows is reached at the address that `ip route show default` tells: write that into"
            f" {endpoint}, and providers.{profile.id}.locality=private; on Windows {_serving(profile)}, and let port"
            f" {port} in through the firewall"
        )
    settings = installation.server_settings(here.user) if profile.type == "lmstudio" else None
    if settings and settings.port != port:
        moved = _moved(parts, port=settings.port)
        yield f"LM Studio was last started on port {settings.port}: write {endpoint}={moved}"


def _on_loopback_only(profile: Profile, parts: SplitResult) -> str | None:
    """What to do where the address is this machine's on a network, and its server does not listen there."""
    host, port = parts.hostname or "", _port(parts)
    if _is_loopback(host) or not _is_own(host) or not _listens_here(port):
        return None
    here = f"providers.{profile.id}.endpoint={_moved(parts, '127.0.0.1')}"
    return f"it answers at 127.0.0.1:{port}, so it serves this machine only: {_serving(profile)}, or write {here}"


def _serving(profile: Profile) -> str:
    return _SERVE if profile.type == "lmstudio" else "have it listen on all addresses"


def _port(parts: SplitResult) -> int:
    return parts.port or _USUAL_PORTS[parts.scheme]


def _moved(parts: SplitResult, host: str | None = None, port: int | None = None) -> str:
    """An address with another host or port, and without its path."""
    return f"{parts.scheme}://{host or parts.hostname}:{port or _port(parts)}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_own(host: str) -> bool:
    """Whether an IP address is one of this machine's: only those can be bound."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET  # noqa: PLR2004
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except (ValueError, OSError):
        return False
    return True


def _listens_here(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_LOOK_S):
            return True
    except OSError:
        return False
