"""Whether a profile's locality can be true: policies keep private work local by that word."""

from __future__ import annotations

import ipaddress
from difflib import get_close_matches
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lmroute.model import Locality

_NEAR = frozenset({"local", "lan", "home", "internal", "intranet", "corp", "localdomain", "test", "arpa"})
"""Endings of host names that are given out on one's own network."""

if TYPE_CHECKING:
    from lmroute.model import Profile


def contradiction(profile: Profile) -> tuple[str, Locality] | None:
    """Why a profile cannot have the locality it states, and the nearest one it may have; None when it can.

    Looks at the profile's own words and never resolves a name, so a host name may well be ``private``.
    """
    if profile.locality in (Locality.CLOUD, Locality.EMBEDDED):
        return None
    if profile.endpoint is None:
        return f"without an endpoint, type '{profile.type}' is in the cloud", Locality.CLOUD
    # Ollama's server hands these models on to ollama.com.
    if profile.type == "ollama" and (remote := [m for m in profile.models if m.endswith(("-cloud", ":cloud"))]):
        return f"Ollama runs '{remote[0]}' in the cloud", Locality.CLOUD
    host = urlsplit(profile.endpoint).hostname or ""
    if _is_public(host):
        return f"'{host}' is a public address", Locality.CLOUD
    if profile.locality is Locality.LOOPBACK and not _is_loopback(host):
        hint = "; did you mean localhost?" if get_close_matches(host, ["localhost"], cutoff=0.8) else ""
        return f"'{host}' is not this machine{hint}", Locality.PRIVATE if _may_be_near(host) else Locality.CLOUD
    return None


def _may_be_near(host: str) -> bool:
    """Whether a host that is not this machine may be on this network: an address, or a name that no registry sells."""
    return _address(host) is not None or "." not in host or host.rpartition(".")[2] in _NEAR


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address else host == "localhost" or host.endswith(".localhost")


def _is_public(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_global


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
