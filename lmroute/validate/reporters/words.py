"""The words that formats share: the subject of a finding, its notes, the summary line, how to see it again."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from lmroute.diagnostics import Severity
from lmroute.validate.reporters.presentable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.diagnostics import Diagnostic, Report

COMMAND = ("lmroute", "validate")
_OF_SERVERS = "LMR5"


def subject(finding: Diagnostic) -> str:
    """The message, with the key it is about."""
    return f"{finding.key}: {finding.message}" if finding.key else finding.message


def asides(finding: Diagnostic) -> list[str]:
    """The lines below the message: ``note: …`` and ``help: …``."""
    notes = [f"note: {related}" for related in finding.related]
    return [*notes, f"help: {finding.help}"] if finding.help else notes


def summary(report: Report) -> str:
    """One line about the whole: ``3 errors, 1 warning in 30 files and 26 compositions``.

    Good is only what has nothing hidden; then it also says whose folders were looked at.
    """
    checked = _listed([_counted(count, kind) for kind, count in report.checked.items() if count])
    found = _tallied(report.diagnostics)
    if hidden := _tallied(report.hidden):
        hidden += " hidden by --select/--ignore"
        found = f"{found} (and {hidden})" if found else hidden
    if found:
        return f"{found} in {checked}" if checked else found
    where = f" ({', '.join(map(printable, report.folders))})" if report.folders else ""
    return f"all good: checked {checked}{where}" if checked else "nothing to check"


def reproduce(finding: Diagnostic) -> str:
    """The shell command that shows the finding again; a secret in it is masked."""
    words = ("--files-only",) if finding.overrides is None else finding.overrides
    live = ("--live",) if finding.code.startswith(_OF_SERVERS) else ()
    return shlex.join([*COMMAND, *words, *live])


def _tallied(findings: Sequence[Diagnostic]) -> str:
    """``3 errors, 1 warning``."""
    tallies = ((sum(found.severity is severity for found in findings), f"{severity}s") for severity in Severity)
    return ", ".join(_counted(count, kind) for count, kind in tallies if count)


def _listed(parts: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def _counted(count: int, kind: str) -> str:
    return f"{count} {kind.removesuffix('s') if count == 1 else kind}"
