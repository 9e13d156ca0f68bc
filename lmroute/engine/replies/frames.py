"""An event stream that passes by, line by line, whatever the chunks."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from dspy import lm15

from lmroute.engine.replies.deltas import Deltas
from lmroute.engine.replies.errors import as_error, parsed
from lmroute.engine.replies.pieces import LONGEST, parts
from lmroute.engine.verdicts import own

if TYPE_CHECKING:
    from lmroute.engine.exchange import Exchange

MAX_LINE = 8 * 1024 * 1024
"""Bytes of one line of an event stream. lm15 takes less, so a longer frame goes on in several."""
_DONE = b"[DONE]"
# In a JSON string the quotes would be escaped, so these are keys; a frame is parsed only if it has to be.
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')
_MODEL = re.compile(rb'"model"\s*:\s*"([^"]*)"')


class Frames:
    """Watches an event stream: which model answers, errors in odd shapes, and what LM Studio's deltas need mended."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._deltas = Deltas(exchange.mending) if exchange.mending is not None else None
        self._partial = b""
        self._tells_error = self._is_finished = self._is_done = False

    def feed(self, chunk: bytes) -> bytes:
        """The complete lines so far, as they are to be read."""
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        if len(self._partial) > MAX_LINE:
            raise own(lm15.ProviderError(f"a line of the stream is longer than {MAX_LINE} bytes"))
        return b"".join(self._line(line) + b"\n" for line in lines)

    def rest(self) -> bytes:
        """What came after the last line end."""
        return self._line(self._partial) if self._partial else b""

    def _line(self, line: bytes) -> bytes:
        if not line.startswith(b"data:"):
            if line.startswith(b"event:") or not line.strip():
                self._tells_error = line[6:].strip() == b"error"
            return line
        if self._is_done:
            return b""
        data = line[5:].strip()
        self._is_done = data == _DONE
        if self._tells_error or b'"error"' in data:
            told = self._told(data)
            if told is not None:
                return _event({"error": told})
        if not self._exchange.answered and data != _DONE:
            frame = parsed(data)
            self._exchange.answered = str(frame.get("model") or "") if isinstance(frame, dict) else ""
        if self._deltas is not None:
            self._check(line, data)
        return self._passed_on(line, data)

    def _passed_on(self, line: bytes, data: bytes) -> bytes:
        split = parts(parsed(data)) if len(line) >= LONGEST and self._exchange.needs_choices else []
        if len(line) > LONGEST and not split:
            raise own(lm15.ProviderError(f"a line of the stream is longer than {LONGEST} bytes, and no chat's"))
        lines = [_event(frame) for frame in split] or [line]
        return b"\n\n".join(lines if self._deltas is None else map(self._deltas.line, lines))

    def _check(self, line: bytes, data: bytes) -> None:
        """Raises lm15.ProviderError where LM Studio's stream breaks off, or goes on with another model."""
        self._is_finished = self._is_finished or _FINISHED.search(line) is not None
        if data == _DONE and not self._is_finished:
            raise own(lm15.ProviderError("the stream ended without a finish_reason; the answer may be cut short"))
        model = _MODEL.search(line)
        if model is not None and model[1] != self._exchange.answered.encode():
            frame = parsed(data)
            now = str(frame.get("model") or "") if isinstance(frame, dict) else ""
            if now and now != self._exchange.answered:
                began = self._exchange.answered
                said = f"{began!r} began the answer, and {now!r} went on with it in mid-stream"
                raise own(lm15.ProviderError(said), "another model went on with the answer in mid-stream")

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
