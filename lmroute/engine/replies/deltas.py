"""LM Studio's stream of deltas, until the answer has begun; from there on it passes as it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lmroute.engine.replies.errors import parsed
from lmroute.engine.replies.opening import LEAKED, Opening, without_markers
from lmroute.engine.replies.pieces import cut

if TYPE_CHECKING:
    from lmroute.engine.replies.mending import Mending


class Deltas:
    """Mends the frames of one stream."""

    def __init__(self, mending: Mending) -> None:
        self._mending = mending
        self._opening = Opening(thinks=mending.thinks)
        self._reasoning: list[str] = []
        self._is_answered = self._is_over = False

    def line(self, line: bytes) -> bytes:
        """A ``data:`` line as it is to be read; more than one event if need be.

        Raises:
            lm15.ProviderError: the stream ends and nothing was answered.
        """
        if self._is_over or (self._is_answered and LEAKED not in line):
            return line
        data = line[5:].strip()
        frame = parsed(data)
        try:
            choice = frame["choices"][0]
            delta = choice.get("delta") or {}
            self._mend(delta)
        except (AttributeError, LookupError, TypeError):
            return line
        finish = choice.get("finish_reason")
        before = self._end(choice, frame, str(finish)) if finish else b""
        return before + _event({**frame, "choices": [{**choice, "delta": delta}]})

    def _mend(self, delta: dict[str, Any]) -> None:
        """Tell thinking from answer in a delta, in place."""
        text = without_markers(delta.get("content") or "")
        thinking, answer = self._opening.feed(text)
        if delta.get("tool_calls"):
            thinking, answer = thinking + (held := self._opening.rest())[0], answer + held[1]
        reasoning = (delta.get("reasoning_content") or delta.get("reasoning") or "") + thinking
        if reasoning:
            self._reasoning.append(reasoning)
            delta["reasoning_content"] = reasoning
        if answer or "content" in delta:
            delta["content"] = answer
        self._is_answered = self._is_answered or bool(answer) or bool(delta.get("tool_calls"))

    def _end(self, choice: dict[str, Any], frame: dict[str, Any], finish: str) -> bytes:
        """What has to come before the stream's end: what was held back, or the JSON out of the reasoning."""
        self._is_over = True
        if self._is_answered:
            return b""
        thinking, answer = self._opening.rest()
        reasoning = "".join((*self._reasoning, thinking))
        if not answer:
            answer = (self._mending.json_in(reasoning) if finish == "stop" else None) or ""
        if not answer and (error := self._mending.nothing(finish, reasoned=bool(reasoning.strip()))) is not None:
            raise error
        pieces = cut(answer)
        deltas = [{"reasoning_content": thinking}] if thinking else []
        deltas += [{"content": piece} for piece in pieces]
        made = ({**frame, "choices": [{**choice, "delta": delta, "finish_reason": None}]} for delta in deltas)
        return b"".join(_event(frame) + b"\n\n" for frame in made)


def _event(frame: Any) -> bytes:
    return b"data: " + json.dumps(frame).encode()
