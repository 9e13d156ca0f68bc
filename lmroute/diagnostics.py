"""A finding as data: what is wrong, where, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


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
    """

    file: str
    line: int = 0
    column: int = 0
    override: str = ""

    def __str__(self) -> str:
        if self.override:
            return f"{self.file} {self.override}"
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding.

    Attributes:
        code: stable id, ``LMRnnn``.
        key: the composed key it is about, e.g. ``providers.lmstudio.endpoint``; empty for a whole file.
        message: what is wrong, without the place.
        help: what to do; empty when the message already says it.
    """

    code: str
    message: str
    location: Location
    key: str = ""
    help: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        subject = f"{self.key}: " if self.key else ""
        advice = f"\n  help: {self.help}" if self.help else ""
        return f"{self.location}: {self.code} {subject}{self.message}{advice}"


@dataclass(frozen=True, slots=True)
class Report:
    """All findings of one check. ``checked`` counts what was looked at, by kind (files, compositions)."""

    diagnostics: tuple[Diagnostic, ...] = ()
    checked: dict[str, int] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The findings that make a configuration unusable."""
        return tuple(d for d in self.diagnostics if d.severity is Severity.ERROR)
