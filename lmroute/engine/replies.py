"""Answers that look fine and are not: successes that are errors, string errors in streams, bodies without end."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from dspy import lm15

if TYPE_CHECKING:
    from lmroute.engine.exchange import Exchange

MAX_REPLY = 64 * 1024 * 1024
"""Bytes of one answer that are read at most."""
MAX_LINE = 64 * 1024
"""Bytes of one line of an event stream; lm15 takes no more either."""

_OK = 200
# In a JSON string the quotes would be escaped, so these are keys; a good answer is not parsed twice.
_SUSPICIOUS = re.compile(rb'"error"|"choices"\s*:\s*(?:null|\[\s*\])')
_ERRORS = range(400, 600)


def settle(status: int, body: bytes, *, needs_choices: bool) -> int:
    """The status that this body should have come with: some gateways hide the real one in a success.

    Raises:
        lm15.ProviderError: a success that is an error without a status, or that lacks ``choices``.
    """
    if status != _OK or not (_SUSPICIOUS.search(body) or (needs_choices and b'"choices"' not in body)):
        return status
    document = _parsed(body)
    if document is None or document.get("choices"):
        return status
    if error := document.get("error"):
        told = error if isinstance(error, dict) else {"message": error}
        if told.get("code") in _ERRORS:
            return int(told["code"])
        raise lm15.ProviderError(str(told.get("message") or error), status=status)
    if needs_choices:
        raise lm15.ProviderError("the answer has no choices", status=status)
    return status


class Frames:
    """Watches an event stream pass by, line by line, whatever the chunks."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._partial = b""

    def feed(self, chunk: bytes) -> bytes:
        """The complete lines so far, with LM Studio's string errors in the shape that dialects read."""
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        if len(self._partial) > MAX_LINE:
            raise lm15.ProviderError(f"a line of the stream is longer than {MAX_LINE} bytes")
        return b"".join(self._line(line) + b"\n" for line in lines)

    def rest(self) -> bytes:
        """What came after the last line end."""
        return self._line(self._partial) if self._partial else b""

    def _line(self, line: bytes) -> bytes:
        wanted = not self._exchange.answered or b'"error"' in line
        if not (wanted and line.startswith(b"data:")):
            return line
        frame = _parsed(line[5:])
        if frame is None:
            return line
        self._exchange.answered = self._exchange.answered or str(frame.get("model") or "")
        if isinstance(frame.get("error"), str):
            return b"data: " + json.dumps({"error": {"message": frame["error"]}}).encode()
        return line


def _parsed(data: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None  # lm15 says what is wrong with a body that is no JSON
    return document if isinstance(document, dict) else None
