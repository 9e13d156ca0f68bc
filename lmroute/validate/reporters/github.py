"""Workflow commands, which GitHub shows beside the lines of a pull request, and the summary of a job."""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute.validate.reporters.places import in_repository, repository
from lmroute.validate.reporters.presentable import presentable
from lmroute.validate.reporters.words import asides, reproduce, subject, summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.diagnostics import Diagnostic, Report

_ROWS = 200
"""GitHub takes a megabyte of summary a step, and refuses all of a longer one."""


def render(report: Report, *, color: bool) -> str:  # noqa: ARG001  a Reporter
    """A workflow command a finding, and the summary line."""
    root = repository()
    return "\n".join([*(_command(finding, root) for finding in report.diagnostics), summary(report), ""])


def append_summary(report: Report) -> None:
    """Add a table of the findings to the job's page, if this is a job."""
    if page := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(page).open("a", encoding="utf-8") as file:
            file.write(markdown(presentable(report)))


def markdown(report: Report) -> str:
    """The summary of a job: what was found, as a table."""
    lines = ["### lmroute validate", "", summary(report), ""]
    if report.diagnostics:
        lines += ["| | Where | What | Again |", "|---|---|---|---|", *_rows(report), ""]
    if (more := len(report.diagnostics) - _ROWS) > 0:
        lines += [f"and {more} more", ""]
    return "\n".join([*lines, ""])


def _rows(report: Report) -> Iterator[str]:
    for finding in report.diagnostics[:_ROWS]:
        what = "<br>".join(_cell(line) for line in (subject(finding), *asides(finding)))
        where, again = _cell(str(finding.location)), _cell(reproduce(finding))
        yield f"| {finding.severity} {finding.code} | {where} | {what} | <code>{again}</code> |"


def _cell(text: str) -> str:
    """A text as itself in a cell of a table: no markup, no end of the cell."""
    plain = html.escape(text, quote=False)
    return "".join(f"&#{ord(c)};" if c in r"\`*_{}[]()#+!|~@:" else c for c in plain)


def _command(finding: Diagnostic, root: Path) -> str:
    where = _where(finding, root)
    place = "" if "file" in where else f"{finding.location}: "
    properties = ",".join(f"{name}={_property(value)}" for name, value in {**where, "title": finding.code}.items())
    message = "\n".join([f"{place}{subject(finding)}", *asides(finding)])
    return f"::{finding.severity} {properties}::{_data(message)}"


def _where(finding: Diagnostic, root: Path) -> dict[str, str]:
    """The properties of the place. GitHub takes columns only when a finding begins and ends on one line."""
    location = finding.location
    file = in_repository(location, root)
    if file is None or (root / file).is_dir():
        return {}
    where = {"file": file, "line": location.line, "col": location.column, "endLine": location.end_line,
             "endColumn": location.end_column}  # fmt: skip
    if location.end_line > location.line:
        where |= {"col": 0, "endColumn": 0}
    return {name: str(value) for name, value in where.items() if value}


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
