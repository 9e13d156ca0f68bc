"""JSON for programs; ``schemas/v1/report.schema.json`` describes it. All ASCII, whatever the encoding of stdout."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lmroute.diagnostics import Severity
from lmroute.validate.reporters.places import is_file
from lmroute.validate.reporters.words import reproduce

if TYPE_CHECKING:
    from lmroute.diagnostics import Diagnostic, Location, Report

FORMAT_VERSION = "1.0"
"""The second number grows when a key is added, the first one when a key goes or means something else."""


def render(report: Report, *, color: bool) -> str:  # noqa: ARG001  a Reporter
    """The report as one JSON document."""
    return json.dumps(document(report), indent=2) + "\n"


def document(report: Report) -> dict[str, Any]:
    """The report as plain data."""
    errors = len(report.of(Severity.ERROR))
    return {
        "format_version": FORMAT_VERSION,
        "valid": not errors,
        "error_count": errors,
        "warning_count": len(report.of(Severity.WARNING)),
        "checked": dict(report.checked),
        "diagnostics": [finding_document(finding) for finding in report.diagnostics],
    }


def finding_document(finding: Diagnostic) -> dict[str, Any]:
    """A finding as plain data."""
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "message": finding.message,
        "key": finding.key or None,
        "location": located(finding.location),
        "help": finding.help or None,
        "related": [{"message": one.message, "location": located(one.location)} for one in finding.related],
        "reproduce": reproduce(finding),
    }


def located(location: Location) -> dict[str, str | int | None]:
    """A place; what it has not is null. On the command line that is everything but ``override``."""
    return {
        "file": location.file if is_file(location) else None,
        "line": location.line or None,
        "column": location.column or None,
        "end_line": location.end_line or None,
        "end_column": location.end_column or None,
        "override": location.override or None,
    }
