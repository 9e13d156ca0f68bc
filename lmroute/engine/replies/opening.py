"""The beginning of an answer's text: blank lines go, and thinking that it begins with is told apart from the answer."""

from __future__ import annotations

import re
from enum import Enum

_OPEN, _CLOSE = "<think>", "</think>"
_BLANK_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")
_MARKER = re.compile(r"__LM_STUDIO_INTERNAL_LSEP_SYNTHETIC_REASONING_END_[0-9A-Za-z]*__")
LEAKED = b"LM_STUDIO_INTERNAL_LSEP"
"""What betrays the mark that LM Studio's own SDK puts after reasoning, and that some builds let through."""


class _At(Enum):
    BLANKS, THINKING, ANSWER = range(3)


class Opening:
    """Takes a text piece by piece; however it is cut, the same comes out.

    Args:
        thinks: whether ``<think>`` at the beginning is thinking, and not the answer.
    """

    def __init__(self, *, thinks: bool = True) -> None:
        self._thinks = thinks
        self._at = _At.BLANKS
        self._held = ""
        self._thought = False

    @property
    def is_over(self) -> bool:
        """Whether the answer has begun, so that all that comes is answer."""
        return self._at is _At.ANSWER

    def feed(self, text: str) -> tuple[str, str]:
        """What is thinking and what is answer of all that is certain by now."""
        if self._at is _At.ANSWER:
            return "", text
        self._held += text
        thinking = ""
        if self._at is _At.BLANKS and self._thinks and self._held.lstrip().startswith(_OPEN):
            self._at, self._held = _At.THINKING, self._held.lstrip().removeprefix(_OPEN)
        if self._at is _At.THINKING:
            thinking = self._more_thinking()
        return thinking, self._answer() if self._at is _At.BLANKS else ""

    def rest(self) -> tuple[str, str]:
        """What was held back, once nothing more comes."""
        held, self._held = self._held, ""
        if self._at is _At.THINKING:
            return self._shown(held), ""
        return "", held if held.strip() else ""

    def _more_thinking(self) -> str:
        inner, closed, rest = self._held.partition(_CLOSE)
        if closed:
            self._at, self._held, self._thinks = _At.BLANKS, rest, False
            return self._shown(inner)
        kept = next((n for n in range(len(_CLOSE) - 1, 0, -1) if inner.endswith(_CLOSE[:n])), 0)
        inner, self._held = inner[: len(inner) - kept], inner[len(inner) - kept :]
        return self._shown(inner)

    def _shown(self, thinking: str) -> str:
        if not self._thought:
            thinking = thinking.lstrip()
            self._thought = bool(thinking)
        return thinking

    def _answer(self) -> str:
        seen = self._held.lstrip()
        if not seen or (self._thinks and _OPEN.startswith(seen)):
            return ""
        self._at = _At.ANSWER
        answer, self._held = _BLANK_LINES.sub("", self._held), ""
        return answer


def split(text: str, *, thinks: bool = True) -> tuple[str, str]:
    """The thinking and the answer of a whole text."""
    before, leaked, after = _at_last_marker(text)
    if leaked and after.strip():
        return before, _BLANK_LINES.sub("", after)
    opening = Opening(thinks=thinks)
    thinking, answer = opening.feed(before)
    more_thinking, more_answer = opening.rest()
    return thinking + more_thinking, answer + more_answer


def without_markers(text: str) -> str:
    """A piece of text without marks that leaked."""
    return _MARKER.sub("", text)


def _at_last_marker(text: str) -> tuple[str, bool, str]:
    *before, after = _MARKER.split(text)
    return ("".join(before), True, after) if before else (text, False, "")
