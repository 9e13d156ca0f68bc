"""Warnings that a file asks not to be given: ``# lmroute: ignore[LMR003]``.

Behind a line or on a line of its own above it, a comment speaks for that line; ``ignore-file[…]`` speaks for the
whole file. Words behind the bracket say why. Errors cannot be ignored, because a run refuses them anyway.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmroute.config.complaints import did_you_mean
from lmroute.config.text import yaml11
from lmroute.config.text.comments import comments
from lmroute.diagnostics import Diagnostic, Location, Severity, ordered
from lmroute.validate.pipeline import stamped
from lmroute.validate.table import RULES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from lmroute.validate.files import File

OF_FILES = frozenset(rule.code for rule in RULES.values() if rule.of_file)
"""The rules that every look at a file evaluates."""

_MARKER = re.compile(r"#\s*lmroute:[ \t]*(.*)")
_WELL_FORMED = re.compile(r"ignore(?P<file>-file)?\[\s*(?P<codes>\w+(?:\s*,\s*\w+)*)\s*\]")
_MEANT = re.compile(r"\W*ign|.*\bLMR\d|.*\[", re.IGNORECASE)
_OWN = "LMR006"
_UNREADABLE = "LMR001"
_OF_THE_MACHINE = "LMR401"
"""Found on one machine and not on the next, so that nobody could say that ignoring it is needless."""


@dataclass(frozen=True, slots=True)
class _Suppression:
    """One code of one comment.

    Attributes:
        line: the line it speaks for; 0 for the whole file.
        place: where the comment stands.
    """

    code: str
    line: int
    place: Location

    def covers(self, finding: Diagnostic) -> bool:
        """Whether it speaks for a finding."""
        where = finding.location
        return finding.code == self.code and where.file == self.place.file and self.line in {0, where.line}


def apply(
    findings: Iterable[Diagnostic], files: Iterable[File], evaluated: Collection[str] = OF_FILES
) -> list[Diagnostic]:
    """The findings without those that a comment suppresses, and LMR006 for comments that are no use.

    Args:
        findings: of files and compositions.
        files: all files that were looked at.
        evaluated: the codes that this run would have found wherever they are; a suppression of another one may have
            its use in another run. A run of everything adds the codes of compositions.
    """
    found, read = list(findings), [_read(file) for file in files if "lmroute:" in file.text]
    uses = Counter(dict.fromkeys((suppression for good, _ in read for suppression in good), 0))
    kept = []
    for finding in found:
        covering = [suppression for suppression in uses if suppression.covers(finding)]
        uses.update(covering)
        if not covering:
            kept.append(finding)
    unreadable = {finding.location.file for finding in found if finding.code == _UNREADABLE}
    judged = set(evaluated) - {_OF_THE_MACHINE}
    idle = (s for s, count in uses.items() if not count and s.code in judged and s.place.file not in unreadable)
    told = [*(refusal for _, bad in read for refusal in bad), *map(_unused, idle)]
    return ordered([*kept, *map(stamped, told)])


def _read(file: File) -> tuple[list[_Suppression], list[Diagnostic]]:
    """The suppressions in a file, and what is wrong with its comments."""
    parsed = [_parsed(text, line, place) for line, place, text in _comments(file)]
    return [s for good, _ in parsed for s in good], [refusal for _, bad in parsed for refusal in bad]


def _parsed(text: str, line: int, place: Location) -> tuple[list[_Suppression], list[Diagnostic]]:
    """The suppressions of a comment, and what is wrong with it."""
    form = _WELL_FORMED.match(text)
    if form is None:
        advice = "write `# lmroute: ignore[CODE]`, or ignore-file[CODE] for the whole file"
        return [], [Diagnostic(_OWN, "this comment suppresses nothing", place, help=advice)]
    good, bad = [], []
    for code in dict.fromkeys(re.split(r"\s*,\s*", form["codes"])):
        if refusal := _refusal(code):
            bad.append(Diagnostic(_OWN, refusal[0], place, help=refusal[1]))
        else:
            good.append(_Suppression(code, 0 if form["file"] else line, place))
    return good, bad


def _refusal(code: str) -> tuple[str, str] | None:
    """Why a code cannot be suppressed, and what to do."""
    if code not in RULES:
        near = did_you_mean(code.upper(), RULES)
        return f"there is no rule {code if len(code) <= len(_OWN) else 'of this name'}", near or "leave it out"
    if code == _OWN:
        return f"{_OWN} cannot be ignored", "remove the comment that it is about"
    if RULES[code].severity is Severity.ERROR:
        return f"{code} is an error and cannot be ignored", "mend what it is about: a run refuses it"
    return None


def _unused(suppression: _Suppression) -> Diagnostic:
    where = "in this file" if suppression.line == 0 else f"on line {suppression.line}"
    message = f"there is no {suppression.code} {where} to ignore"
    return Diagnostic(_OWN, message, suppression.place, help="remove the comment")


def _comments(file: File) -> Iterator[tuple[int, Location, str]]:
    """Our comments in a file: the line each speaks for, its place, and what it says."""
    lines = yaml11.lines(file.text)
    for comment in comments(file.text):
        if (found := _MARKER.search(comment.text)) and _MEANT.match(found[1]):
            end = comment.column + len(comment.text)
            column = comment.column + found.start()
            place = Location(file.shown, comment.line, column, end_line=comment.line, end_column=end)
            yield _line_meant(lines, comment.line), place, found[1]


def _line_meant(lines: Sequence[str], number: int) -> int:
    """The line that a comment on this one speaks for: its own, or the next one that is more than a comment."""
    following = range(number, len(lines) + 1)
    return next((n for n in following if (content := lines[n - 1].strip()) and not content.startswith("#")), number)
