"""JUnit XML, for Jenkins and GitLab: a suite for files and one for compositions, a failed case a finding.

A suite without findings has one case that passed, because a report without any case counts as broken there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from lmroute.validate.reporters.words import asides, reproduce, subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lmroute.diagnostics import Diagnostic, Report


def render(report: Report, *, color: bool) -> str:  # noqa: ARG001  a Reporter
    """The report as one XML document."""
    findings = report.diagnostics
    suites = {
        "files": [finding for finding in findings if finding.overrides is None],
        "compositions": [finding for finding in findings if finding.overrides is not None],
    }
    wanted = {kind: found for kind, found in suites.items() if found or report.checked.get(kind)}
    tests = sum(len(found) or 1 for found in wanted.values())
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="lmroute validate" tests="{tests}" failures="{len(findings)}" errors="0">',
        *(line for kind, found in wanted.items() for line in _suite(kind, found, report.checked.get(kind, 0))),
        "</testsuites>",
        "",
    ]
    # All ASCII, so that it is what it declares to be whatever the encoding of stdout.
    return "\n".join(lines).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _suite(kind: str, found: Sequence[Diagnostic], checked: int) -> Iterator[str]:
    failures = len(found)
    counts = f'tests="{failures or 1}" failures="{failures}" errors="0" skipped="0" time="0"'
    yield f'  <testsuite name="lmroute validate: {kind}" {counts}>'
    yield f'    <properties><property name="checked" value="{checked}"/></properties>'
    for finding in found:
        yield from _case(finding)
    if not found:
        yield f'    <testcase classname="lmroute.{kind}" name="no findings" time="0"/>'
    yield "  </testsuite>"


def _case(finding: Diagnostic) -> Iterator[str]:
    """Named without the line, so that a test keeps its history when lines above it come and go."""
    place = finding.location.override or finding.location.file
    name = f"{finding.code} {finding.key}".strip()
    body = "\n".join([f"{finding.location}: {subject(finding)}", *asides(finding), f"again: {reproduce(finding)}"])
    yield f'    <testcase classname={quoteattr(place)} name={quoteattr(name)} time="0">'
    yield f'      <failure type="{finding.severity}" message={quoteattr(finding.message)}>{escape(body)}</failure>'
    yield "    </testcase>"
