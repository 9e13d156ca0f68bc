"""Where the emulator is."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from lmroute.errors import LmrouteError

VARIABLE = "LMROUTE_EMULATOR"
"""Environment variable with the URL that the emulator printed."""
HOST = "127.0.0.1"
PORT = 1234


def url_of(host: str | None, port: int | None) -> str:
    """The URL of the emulator: by what the command line says, else by the variable, else LM Studio's own port.

    Raises:
        LmrouteError: when the variable holds no URL.
    """
    if host is None and port is None and (url := os.environ.get(VARIABLE, "")):
        return _checked(url)
    host = host or HOST
    return f"http://{f'[{host}]' if ':' in host else host}:{port or PORT}"


def port_of(url: str) -> int:
    """The port of a URL that ``url_of`` made."""
    return urlsplit(url).port or 80


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme == "http" and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise LmrouteError(f"environment variable {VARIABLE} holds no URL; put what `lmroute emulator` prints into it")
    return f"http://{parts.netloc}"
