"""Read one JSON document from a server, whatever the server does."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpcore

from lmroute import redact
from lmroute.errors import ProviderUnavailable, ServerUnreachable
from lmroute.providers import dialing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lmroute.model import Locality, Secret

MAX_BODY = 2_000_000
"""Bytes of a listing that are read at most; a longer one is no listing."""

OK_STATUSES = range(200, 300)


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer: HTTP status and the parsed body."""

    status: int
    body: Any

    @property
    def ok(self) -> bool:
        """A 2xx status and no top-level ``error``: LM Studio answers unknown paths with 200 and an error."""
        return self.status in OK_STATUSES and not (isinstance(self.body, dict) and "error" in self.body)


def get_json(
    url: str, *, locality: Locality, token: Secret | None = None, connect_s: float = 2.0, total_s: float = 5.0
) -> Reply:
    """``GET url`` and parse the answer, within ``total_s`` seconds.

    Raises:
        ServerUnreachable: refused, broken or too slow; the message says which, and where.
        ProviderUnavailable: the answer is too long or not JSON.
    """
    headers = [("Accept", "application/json"), ("Accept-Encoding", "identity")]
    if token is not None:
        headers.append(("Authorization", f"Bearer {token.reveal()}"))
    timeouts = {"connect": connect_s, "read": total_s, "write": total_s, "pool": total_s}
    try:
        with (
            dialing.pool(url, locality) as pool,
            dialing.until(time.monotonic() + total_s),
            pool.stream("GET", url, headers=headers, extensions={"timeout": timeouts}) as response,
        ):
            return Reply(response.status, _parse(_capped(response.iter_stream())))
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise ServerUnreachable(f"{url}: {describe(error)}") from error
    except ValueError as error:
        raise ProviderUnavailable(f"{url}: the answer is no JSON ({redact.text(str(error))})") from error


def describe(error: Exception) -> str:
    """A connection error in words a person can act on."""
    if isinstance(error, dialing.AddressRefused):
        return str(error)
    if isinstance(error, httpcore.ConnectTimeout):
        return "no answer to the connection attempt"
    if isinstance(error, httpcore.TimeoutException):
        return "no complete answer in time"
    if isinstance(error, httpcore.ConnectError):
        return "connection refused" if "refused" in str(error).lower() else f"cannot connect: {error}"
    return f"the connection broke: {error}" if str(error) else f"the connection broke ({type(error).__name__})"


def _capped(chunks: Iterable[bytes]) -> bytes:
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > MAX_BODY:
            raise ValueError(f"more than {MAX_BODY} bytes")
    return bytes(body)


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        start = body[:60].decode("utf-8", errors="replace")
        raise ValueError(f"it begins {start!r}") from error
