"""Texts that match a pattern, and texts that match none, found by simple means: an analysis needs examples.

What is guessed here is always tried: a text counts for the patterns that it really matches.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# In this order, each on the outcome of the one before: what a construct may be replaced by to become a text of it.
_SIMPLER = (
    (r"\(\?[:a-zA-Z-]*:?|\(\?P<\w+>", "("),
    (r"\[\^[^\]]*\]", "_"),
    (r"\[(\\?[^\]])[^\]]*\]", r"\1"),
    (r"\\d", "0"),
    (r"\\w", "w"),
    (r"\\s", " "),
    (r"\\[bBAZz]|\^|\$", ""),
    (r"(?<!\\)\.", "x"),
    (r"\\(.)", r"\1"),
)
_REPEATED = re.compile(r"(\([^()]*\)|.)([*+?]|\{(\d+)[^}]*\})\??")
_CHOICE = re.compile(r"\(([^()|]*)(?:\|([^()]*))?\)")
_DEEPEST = 20


def examples(patterns: Sequence[str]) -> Iterator[str]:
    """Candidates for texts that match some of the patterns and not others; simple ones first."""
    yield from ("other", "Other", "another", "x", "0", "_", "other.other", "other_1")
    guesses = [guess for pattern in patterns for guess in _guesses(pattern)]
    yield from guesses
    yield from (guess + tail for guess in guesses for tail in ("_other", ".other", "Other", "1"))
    yield from (one + two for one in guesses for two in guesses)


def _guesses(pattern: str) -> Iterator[str]:
    """Texts that the pattern may match: with what it repeats left out where it may be, and with it once."""
    for optional in ("", r"\1"):
        for choice in (r"\1", r"\2"):
            yield _reduced(pattern, optional, choice)


def _reduced(pattern: str, optional: str, choice: str) -> str:
    text = pattern
    for construct, simpler in _SIMPLER[:-1]:
        text = re.sub(construct, simpler, text)
    for _ in range(_DEEPEST):
        simpler = _REPEATED.sub(lambda found: _repeated(found, optional), text)
        simpler = _CHOICE.sub(choice, simpler)
        if simpler == text:
            break
        text = simpler
    text = text.split("|")[-1 if choice == r"\2" else 0]
    return re.sub(*_SIMPLER[-1], text)


def _repeated(found: re.Match[str], optional: str) -> str:
    what, how, times = found.group(1), found.group(2), found.group(3)
    if times:
        return what * min(int(times), _DEEPEST)
    return what if how == "+" else found.expand(optional)
