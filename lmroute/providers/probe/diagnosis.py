"""From what a server or a network did to the fault that it is."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpcore

from lmroute.providers.addresses import AddressRefused
from lmroute.providers.http import OK_STATUSES, Compressed, CutOff, Reply, TooLong, Unreadable, describe, message_of
from lmroute.providers.probe.faults import ErrorCode, Fault

_ERRORS: tuple[tuple[type[Exception], ErrorCode], ...] = (
    (AddressRefused, ErrorCode.ADDRESS_REFUSED),
    (httpcore.ProxyError, ErrorCode.PROXY_ERROR),
    (httpcore.TimeoutException, ErrorCode.TIMEOUT),
    (httpcore.ProtocolError, ErrorCode.PROTOCOL_ERROR),
    (httpcore.ConnectError, ErrorCode.CONNECT_FAILED),
    (httpcore.NetworkError, ErrorCode.CONNECTION_RESET),
    (TooLong, ErrorCode.BODY_TOO_LARGE),
    (Compressed, ErrorCode.UNEXPECTED_ENCODING),
    (CutOff, ErrorCode.CONNECTION_RESET),
    (Unreadable, ErrorCode.NOT_JSON),
    (OSError, ErrorCode.TLS_ERROR),  # before anything is dialled: a certificate bundle that cannot be read
    (ValueError, ErrorCode.BAD_ENDPOINT),  # an address that is none
    (httpcore.UnsupportedProtocol, ErrorCode.BAD_ENDPOINT),
)
FAILURES = tuple(kind for kind, _ in _ERRORS)
"""Every exception that a request may end with."""

_WIRE = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, httpcore.TimeoutException)

_IN_PHASE = {
    ("dns", ErrorCode.CONNECT_FAILED): ErrorCode.DNS_FAILURE,
    ("connect", ErrorCode.TIMEOUT): ErrorCode.CONNECT_TIMEOUT,
    ("tls", ErrorCode.CONNECT_FAILED): ErrorCode.TLS_ERROR,
}
"""What the same exception means in one phase only."""

_NO_TLS = re.compile(r"wrong.version.number|record.layer.failure|unknown.protocol", re.IGNORECASE)
"""OpenSSL's words, which differ by release, for bytes that are no TLS."""
_HUNG_UP = re.compile(r"disconnected|peer closed|without sending", re.IGNORECASE)

_STATUSES = {
    401: ErrorCode.TOKEN_REFUSED,
    403: ErrorCode.TOKEN_REFUSED,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.NOT_FOUND,
    501: ErrorCode.NOT_FOUND,
    **dict.fromkeys((408, 425, 429), ErrorCode.RATE_LIMITED),  # all three mean: not now, later
    **dict.fromkeys((500, 502, 503, 504, 529), ErrorCode.SERVER_ERROR),
    **dict.fromkeys(range(300, 400), ErrorCode.REDIRECT_REFUSED),
    **dict.fromkeys(OK_STATUSES, ErrorCode.UNEXPECTED_SHAPE),
}
_WORDINGS: tuple[tuple[range, re.Pattern[str], ErrorCode], ...] = (
    (OK_STATUSES, re.compile(r"unexpected endpoint"), ErrorCode.NOT_FOUND),  # LM Studio's 404
    (range(503, 504), re.compile(r"loading"), ErrorCode.MODEL_LOADING),  # llama.cpp's server while it starts
    (range(400, 401), re.compile(r"api[ _-]?key"), ErrorCode.TOKEN_REFUSED),  # how Gemini refuses a key
)
"""Error texts, in lower case, that say more than the status they come with."""


def of_error(error: Exception, phase: str) -> Fault:
    """The fault behind an exception of a request that failed in ``phase``."""
    code = next(code for kind, code in _ERRORS if isinstance(error, kind))
    code = _IN_PHASE.get((phase, code), code)
    text = describe(error) if isinstance(error, _WIRE) else str(error)
    if code is ErrorCode.CONNECT_FAILED and "refused" in text:
        code = ErrorCode.CONNECTION_REFUSED
    elif code is ErrorCode.CONNECT_FAILED and "reset" in text:  # so fast that the connection had hardly stood
        code = ErrorCode.CONNECTION_RESET
    elif code is ErrorCode.TLS_ERROR and _NO_TLS.search(text):
        return Fault(ErrorCode.NO_TLS, "a server answers there, but without TLS")
    elif code is ErrorCode.PROTOCOL_ERROR and _HUNG_UP.search(text):
        code = ErrorCode.CONNECTION_RESET
    return Fault(code, text or type(error).__name__)


def of_reply(reply: Reply) -> Fault | None:
    """The fault that an answer tells of, if it does."""
    if reply.ok:
        return None
    said = message_of(reply.body)
    code = _code_of(reply.status, said.lower())
    if reply.status in OK_STATUSES:
        return Fault(code, f"it answers with an error: {said or 'without a text'}")
    if code is ErrorCode.REDIRECT_REFUSED:
        # A target may carry a session in its query.
        target = reply.headers.get("location", "").partition("?")[0]
        said = f"a redirect to {target or 'nowhere'}"
    text = f"HTTP {reply.status}: {said}" if said else f"HTTP {reply.status}"
    return Fault(code, text, retry_after_s=_seconds(reply.headers.get("retry-after", "")))


def _code_of(status: int, said: str) -> ErrorCode:
    worded = (code for statuses, wording, code in _WORDINGS if status in statuses and wording.search(said))
    return next(worded, _STATUSES.get(status, ErrorCode.HTTP_ERROR))


def _seconds(value: str) -> float | None:
    """Seconds that a ``Retry-After`` header asks for; ``None`` when it says nothing sensible."""
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    # A date without a zone is in UTC, as all of HTTP's are.
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())
