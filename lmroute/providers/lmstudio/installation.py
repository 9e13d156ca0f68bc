"""What LM Studio's files on this machine tell of its server. They are read, never written, and may be missing.

The places are those that LM Studio's own command line reads: the home folder is named in ``~/.lmstudio-home-pointer``,
else it is ``~/.cache/lm-studio`` if that is there, else ``~/.lmstudio``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104  only compared with what the file says


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How LM Studio's server was last started: the port, and the address that it listens on."""

    port: int
    interface: str = LOOPBACK


def home(user: Path | None = None) -> Path:
    """LM Studio's folder, which need not exist.

    Args:
        user: the home of the person; by default of the one who runs this.
    """
    person = user or Path.home()
    try:
        pointed = (person / ".lmstudio-home-pointer").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError):
        pointed = ""
    if pointed:
        return Path(pointed)
    legacy = person / ".cache" / "lm-studio"
    return legacy if legacy.is_dir() else person / ".lmstudio"


def is_installed(user: Path | None = None) -> bool:
    """Whether LM Studio was ever started by this person on this machine."""
    return home(user).is_dir()


def server_settings(user: Path | None = None) -> ServerSettings | None:
    """The last settings of the server; ``None`` when there is no such file, or it says nothing sensible."""
    try:
        told = json.loads((home(user) / ".internal" / "http-server-config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    port = told.get("port") if isinstance(told, dict) else None
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 2**16:
        return None
    interface = told.get("networkInterface")
    return ServerSettings(port, interface if isinstance(interface, str) and interface else LOOPBACK)
