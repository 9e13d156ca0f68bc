"""The lines that a finding is about, as a terminal shows them, with what is to be underlined."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.config.secrecy import hidden_from
from lmroute.validate.reporters.places import absolute, is_file
from lmroute.validate.reporters.words import COMMAND

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from lmroute.diagnostics import Diagnostic, Location

WIDTH = 100
"""Cells of a terminal that a shown line takes at most."""
_TAB = "    "
_CONTEXT = 1
_MASK = "***"
_TOKEN = re.compile(r"[^\s:,{}\[\]]+|.")


@dataclass(frozen=True, slots=True)
class Line:
    """A line to show.

    Attributes:
        label: its number; empty on a command line.
        underlined: where the underline begins, and how long it is, in cells; ``None`` for a line of context.
    """

    label: str
    text: str
    underlined: tuple[int, int] | None = None


def excerpt(finding: Diagnostic, literals: Collection[Location] = ()) -> list[Line]:
    """The line a finding is about, between its neighbours; none when there is no such line.

    Args:
        literals: the places where secrets were found, which are not shown.
    """
    location = finding.location
    if location.override:
        return [_command_line(location.override, finding.overrides or ())]
    if not (is_file(location) and location.line):
        return []
    try:
        written = absolute(location).read_text(encoding="utf-8-sig", errors="replace").split("\n")
    except OSError:
        return []
    lines = [line.rstrip("\r") for line in written]
    if location.line > len(lines):
        return []
    return _of_file(lines, location, [place for place in literals if place.file == location.file])


def _of_file(lines: Sequence[str], location: Location, literals: Sequence[Location]) -> list[Line]:
    at = location.line - 1
    numbers = [n for n in range(at - _CONTEXT, at + _CONTEXT + 1) if 0 <= n < len(lines) and (n == at or lines[n])]
    ends = _ends(lines, literals)
    first, last = _span(lines[at], location)
    masked = ends[at] < len(lines[at])
    main = _Cells(lines[at][: ends[at]], masked)
    left = main.left_edge(first)
    return [
        Line(str(n + 1), main.shown(left), main.underline(left, first, last))
        if n == at
        else Line(str(n + 1), _Cells(lines[n][: ends[n]], ends[n] < len(lines[n])).shown(left))
        for n in numbers
    ]


def _ends(lines: Sequence[str], literals: Sequence[Location]) -> list[int]:
    """How much of each line may be shown."""
    ends = hidden_from(lines)
    for place in literals:
        for n in range(place.line - 1, min(max(place.line, place.end_line), len(lines))):
            ends[n] = min(ends[n], place.column - 1 if n == place.line - 1 else 0)
    for n, line in enumerate(lines):
        clean = redact.text(line)
        if clean != line:
            same = next((i for i, (a, b) in enumerate(zip(clean, line, strict=False)) if a != b), 0)
            ends[n] = min(ends[n], same)
    return [max(end, 0) for end in ends]


def _span(line: str, location: Location) -> tuple[int, int]:
    """What to underline, as indexes into the line: to its end when the finding ends on a later one."""
    first = min(max(location.column - 1, 0), len(line))
    if location.end_line > location.line:
        return first, len(line.rstrip())
    if location.end_column > location.column:
        return first, min(location.end_column - 1, len(line))
    token = _TOKEN.match(line, first)
    return first, token.end() if token else first


def _command_line(override: str, overrides: Sequence[str]) -> Line:
    """The command with the override underlined; the override alone where the command is not known."""
    words = [*COMMAND, *overrides] if override in overrides else [override]
    before = words.index(override)
    first = sum(len(word) + 1 for word in words[:before])
    cells = _Cells(" ".join(words))
    left = cells.left_edge(first)
    return Line("", cells.shown(left), cells.underline(left, first, first + len(override)))


class _Cells:
    """A line by what each of its characters takes on a screen: two cells for wide ones, none for combining ones."""

    def __init__(self, line: str, masked: bool = False) -> None:
        self._shown = [*map(_shown, line), *([_MASK] if masked else ())]
        self._widths = [*map(_width, line), *([len(_MASK)] if masked else ())]

    def left_edge(self, first: int) -> int:
        """The index of the first character to show, so that what is underlined is in sight."""
        if sum(self._widths) <= WIDTH:
            return 0
        left = min(first, len(self._widths))
        room = WIDTH // 3
        while left and room >= self._widths[left - 1]:
            left -= 1
            room -= self._widths[left]
        return left

    def shown(self, left: int) -> str:
        """The text from an index on, as far as there is room."""
        right = self._right_edge(left)
        tail = "…" if right < len(self._shown) else ""
        return f"{'…' if left else ''}{''.join(self._shown[left:right])}{tail}".rstrip()

    def underline(self, left: int, first: int, last: int) -> tuple[int, int]:
        """Where in ``shown(left)`` the characters from ``first`` to ``last`` stand, in cells."""
        right = self._right_edge(left)
        first, last = min(first, len(self._widths)), max(last, first + 1)
        # What is masked is underlined by its mask.
        start = sum(self._widths[left : min(first, self._masked_at())])
        length = sum(self._widths[min(first, self._masked_at()) : min(last, right)])
        return start + bool(left), max(length, 1)

    def _masked_at(self) -> int:
        return len(self._shown) - 1 if self._shown[-1:] == [_MASK] else len(self._shown)

    def _right_edge(self, left: int) -> int:
        room = WIDTH
        for index in range(left, len(self._widths)):
            room -= self._widths[index]
            if room < 0:
                return index
        return len(self._widths)


def _shown(char: str) -> str:
    if char == "\t":
        return _TAB
    return char if char.isprintable() else "\N{REPLACEMENT CHARACTER}"


def _width(char: str) -> int:
    if char == "\t":
        return len(_TAB)
    if unicodedata.category(char) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
