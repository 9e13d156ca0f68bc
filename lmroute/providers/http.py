"""Read one JSON document from a server, whatever the server does."""

from __future__ import annotations

import json
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import httpcore

from lmroute import redact
from lmroute.errors import ProviderUnavailable, ServerUnreachable
from lmroute.providers import dialing
from lmroute.providers.addresses import AddressRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from lmroute.model import Locality, Secret

MAX_BODY = 2_000_000
"""Bytes of a listing that are read at most; a longer one is no listing."""

OK_STATUSES = range(200, 300)

WIRE_ERRORS = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError)
"""What a request that was sent, or was to be, may end with beside an answer."""

_LOOKED_AT = 4096
_BEGUN = re.compile(r"(t(ru?)?|f(a(ls?)?)?|n(ul?)?|-|\.|[eE][+-]?)?")
"""What is left for a reader to stumble over when a word or a number of JSON is cut off; nothing between two of them."""
_BEGUN_ESCAPE = re.compile(r"\\u[0-9a-fA-F]{0,4}$")
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer: HTTP status, the parsed body, and headers under lower-case names."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def ok(self) -> bool:
        """A 2xx status and no top-level ``error``: LM Studio answers unknown paths with 200 and an error."""
        return self.status in OK_STATUSES and not (isinstance(self.body, dict) and "error" in self.body)


def get_json(
    url: str, *, locality: Locality, token: Secret | None = None, connect_s: float = 2.0, total_s: float = 5.0
) -> Reply:
    """``GET url`` and parse the answer, within ``total_s`` seconds.

    An error status may come with any body: one that is not JSON is ``None`` then.

    Raises:
        ServerUnreachable: refused, broken or too slow; the message says which, and where.
        ProviderUnavailable: the answer is too long, or a success that is not JSON.
    """
    headers = [] if token is None else [("Authorization", f"Bearer {token.reveal()}")]
    with told_plainly(url), dialing.pool(url, locality) as pool, dialing.until(time.monotonic() + total_s):
        return read_json(pool, url, headers=headers, connect_s=connect_s, total_s=total_s)


@contextmanager
def told_plainly(url: str) -> Iterator[None]:
    """What goes wrong with requests inside, as lmroute's errors.

    Raises:
        ServerUnreachable: refused, broken or too slow; the message says which, and where.
        ProviderUnavailable: the answer is too long, or a success that is not JSON.
    """
    try:
        yield
    except WIRE_ERRORS as error:
        raise ServerUnreachable(f"{url}: {redact.text(describe(error))}") from error
    except Unreadable as error:
        raise ProviderUnavailable(f"{url}: {error}") from error


def read_json(
    pool: httpcore.ConnectionPool,
    url: str,
    *,
    body: Any = None,
    headers: Sequence[tuple[str, str]] = (),
    connect_s: float,
    total_s: float,
    trace: Callable[[str, dict[str, Any]], None] | None = None,
) -> Reply:
    """``get_json`` through a pool, with httpcore's own errors; ``dialing.until`` bounds it as a whole.

    Args:
        body: sent as JSON with POST; without one it is a GET.
        trace: told httpcore's events, as its ``trace`` extension is.

    Raises:
        Unreadable: the answer is too long, or a success that is not JSON.
    """
    plain = [("Accept", "application/json"), ("Accept-Encoding", "identity")]
    sent = None if body is None else json.dumps(body).encode()
    if sent is not None:
        plain += [("Content-Type", "application/json"), ("Content-Length", str(len(sent)))]
    extensions: dict[str, Any] = {"timeout": {"connect": connect_s, "read": total_s, "write": total_s, "pool": total_s}}
    if trace is not None:
        extensions["trace"] = trace
    method = "GET" if sent is None else "POST"
    with pool.stream(method, url, headers=[*plain, *headers], content=sent, extensions=extensions) as response:
        told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        return _reply(response.status, _capped(response.iter_stream()), told)


def describe(error: Exception) -> str:
    """A connection error in words a person can act on."""
    if isinstance(error, AddressRefused):
        return str(error)
    if isinstance(error, httpcore.ConnectTimeout):
        return "no answer to the connection attempt"
    if isinstance(error, httpcore.TimeoutException):
        return "no complete answer in time"
    if isinstance(error, httpcore.ConnectError):
        return "connection refused" if "refused" in str(error).lower() else f"cannot connect: {error}"
    if isinstance(error, httpcore.ProxyError):
        return f"proxy: {error}"
    return f"the connection broke: {error}" if str(error) else f"the connection broke ({type(error).__name__})"


def message_of(body: Any) -> str:
    """The text of an error body: its ``error``, ``error.message``, ``detail`` or ``message``; else empty."""
    if not isinstance(body, dict):
        return ""
    error = next((body[key] for key in ("error", "detail", "message") if body.get(key)), "")
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""


class Unreadable(Exception):
    """A body that is no JSON document of a sensible size; the text says why."""


class TooLong(Unreadable):
    """A body longer than ``MAX_BODY``."""


class Compressed(Unreadable):
    """A body that was compressed although that was not asked for."""


class CutOff(Unreadable):
    """A body that begins as JSON and ends too early."""


def _capped(chunks: Iterable[bytes]) -> bytes:
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > MAX_BODY:
            raise TooLong(f"the answer is longer than {MAX_BODY} bytes")
    return bytes(body)


def _document(body: bytes) -> Any:
    """A JSON document as RFC 8259 has it between systems, and one that says what it means: UTF-8, without a byte order
    mark, without NaN, and without two different values under one name, of which every reader takes another.

    Raises:
        ValueError, RecursionError: it is none.
    """
    return json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_no_number)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs) and any(found[name] != value for name, value in pairs):
        raise ValueError("two values under one name")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _reply(status: int, body: bytes, headers: dict[str, str]) -> Reply:
    try:
        return Reply(status, _document(body), headers)
    except (ValueError, RecursionError) as error:
        if status not in OK_STATUSES:
            return Reply(status, None, headers)
        if (coding := headers.get("content-encoding", "identity")) != "identity":
            raise Compressed(f"the answer is compressed ({redact.text(coding)[:_SHOWN]!r})") from error
        if _is_cut_off(body, error):
            raise CutOff(f"the answer is cut off after {len(body)} bytes") from error
        # Redacted before it is cut: half a secret has no shape any more.
        start = redact.text(body[:_LOOKED_AT].decode("utf-8", errors="replace"))[:_SHOWN]
        raise Unreadable(f"the answer is no JSON, it begins {start!r}" if body else "the answer is empty") from error


def _is_cut_off(body: bytes, error: Exception) -> bool:
    """Whether an object or a list was sound for as long as it went on."""
    if body.lstrip()[:1] not in {b"{", b"["}:
        return False
    if isinstance(error, UnicodeDecodeError):
        return error.reason == "unexpected end of data"
    if not isinstance(error, json.JSONDecodeError):
        return False
    rest = error.doc[error.pos :].strip()
    if error.msg.startswith("Unterminated string") or _BEGUN.fullmatch(rest):
        return True
    return "escape" in error.msg and _BEGUN_ESCAPE.search(error.doc) is not None
