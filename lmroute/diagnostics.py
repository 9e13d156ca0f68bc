"""A finding as data: what is wrong, where, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place in a file, or the command-line override that set a value.

    Attributes:
        file: path as it should be shown, or ``"<command line>"``.
        line, column: 1-based; 0 where the place has none.
        override: the command-line override itself, for ``<command line>``.
        end_line, end_column: 1-based, just behind the last character; 0 where unknown. Two places are the same when
            they begin at the same point.
    """

    file: str
    line: int = 0
    column: int = 0
    override: str = ""
    end_line: int = field(default=0, compare=False)
    end_column: int = field(default=0, compare=False)

    def __str__(self) -> str:
        if self.override:
            return f"{self.file} {self.override}"
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Related:
    """Another place that a finding is about, and what it has to do with it (``also used by providers.b.endpoint``)."""

    message: str
    location: Location

    def __str__(self) -> str:
        return f"{self.message} ({self.location})"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding.

    Attributes:
        code: stable id, ``LMRnnn``.
        key: the composed key it is about, e.g. ``providers.lmstudio.endpoint``; empty for a whole file.
        message: what is wrong, without the place.
        help: what to do; empty when the message already says it.
        overrides: the command line whose composition shows it, ``None`` for a finding about a file by itself. The
            same finding in two compositions is one finding.
    """

    code: str
    message: str
    location: Location
    key: str = ""
    help: str = ""
    severity: Severity = Severity.ERROR
    related: tuple[Related, ...] = ()
    overrides: tuple[str, ...] | None = field(default=None, compare=False)

    def __str__(self) -> str:
        subject = f"{self.key}: " if self.key else ""
        notes = "".join(f"\n  note: {related}" for related in self.related)
        advice = f"\n  help: {self.help}" if self.help else ""
        return f"{self.location}: {self.code} {subject}{self.message}{notes}{advice}"


@dataclass(frozen=True, slots=True)
class Report:
    """All findings of one check.

    Attributes:
        checked: how much was looked at, by kind (``files``, ``compositions``).
        folders: the project's and the user's folder, as messages show them, where they take part.
        hidden: what was found and is not wanted.
    """

    diagnostics: tuple[Diagnostic, ...] = ()
    checked: dict[str, int] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    hidden: tuple[Diagnostic, ...] = ()

    def of(self, severity: Severity) -> tuple[Diagnostic, ...]:
        """The findings of one severity."""
        return tuple(finding for finding in self.diagnostics if finding.severity is severity)


def ordered(findings: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Findings by place, each once."""
    return sorted(dict.fromkeys(findings), key=lambda finding: (finding.location, finding.key, finding.code))
