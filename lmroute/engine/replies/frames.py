"""An event stream that passes by, line by line, whatever the chunks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dspy import lm15

from lmroute.engine.replies.deltas import Deltas
from lmroute.engine.replies.errors import as_error, parsed

if TYPE_CHECKING:
    from lmroute.engine.exchange import Exchange

MAX_LINE = 64 * 1024
"""Bytes of one line of an event stream; lm15 takes no more either."""
_DONE = b"[DONE]"


class Frames:
    """Watches an event stream: which model answers, errors in odd shapes, and what LM Studio's deltas need mended."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._deltas = Deltas(exchange.mending) if exchange.mending is not None else None
        self._partial = b""
        self._tells_error = False

    def feed(self, chunk: bytes) -> bytes:
        """The complete lines so far, as they are to be read."""
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        if len(self._partial) > MAX_LINE:
            raise lm15.ProviderError(f"a line of the stream is longer than {MAX_LINE} bytes")
        return b"".join(self._line(line) + b"\n" for line in lines)

    def rest(self) -> bytes:
        """What came after the last line end."""
        return self._line(self._partial) if self._partial else b""

    def _line(self, line: bytes) -> bytes:
        if not line.startswith(b"data:"):
            if line.startswith(b"event:") or not line.strip():
                self._tells_error = line[6:].strip() == b"error"
            return line
        data = line[5:].strip()
        if self._tells_error or b'"error"' in data:
            told = self._told(data)
            if told is not None:
                return _event({"error": told})
        if not self._exchange.answered and data != _DONE:
            frame = parsed(data)
            self._exchange.answered = str(frame.get("model") or "") if isinstance(frame, dict) else ""
        return line if self._deltas is None else self._deltas.line(line)

    def _told(self, data: bytes) -> dict[str, Any] | None:
        """The error that a frame tells, if it does."""
        frame = parsed(data)
        if isinstance(frame, dict) and frame.get("error"):
            return as_error(frame["error"])
        if self._tells_error:
            return as_error(data.decode(errors="replace") if frame is None else frame)
        return None


def _event(frame: Any) -> bytes:
    return b"data: " + json.dumps(frame).encode()
