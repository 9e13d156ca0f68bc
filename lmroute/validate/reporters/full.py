"""Each finding with the lines it is about, the spot underlined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.validate.reporters.color import BLUE, BOLD, CYAN, STYLE_OF, painter
from lmroute.validate.reporters.excerpt import excerpt
from lmroute.validate.reporters.words import asides, reproduce, subject, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmroute.diagnostics import Diagnostic, Report
    from lmroute.validate.reporters.excerpt import Line

_SECRET = "LMR005"  # noqa: S105  a code


def render(report: Report, *, color: bool) -> str:
    """The report, a paragraph a finding."""
    literals = [finding.location for finding in report.diagnostics if finding.code == _SECRET]
    paragraphs = [
        "\n".join([*_paragraph(finding, excerpt(finding, literals), painter(color)), ""])
        for finding in report.diagnostics
    ]
    return "\n".join([*paragraphs, summary(report), ""])


def _paragraph(finding: Diagnostic, lines: list[Line], paint: Callable[[str, str], str]) -> Iterator[str]:
    margin = " " * max((len(line.label) for line in lines), default=0)
    bar = paint("|", BLUE)
    style = STYLE_OF[finding.severity]
    yield f"{paint(f'{finding.severity}[{finding.code}]', style)}: {paint(subject(finding), BOLD)}"
    where = finding.location.file if finding.location.override and lines else finding.location
    yield f"{margin}{paint('-->', BLUE)} {where}"
    if lines:
        yield f"{margin} {bar}"
    for line in lines:
        yield f"{paint(line.label.rjust(len(margin)), BLUE)} {bar} {line.text}".rstrip()
        if line.underlined:
            start, length = line.underlined
            yield f"{margin} {bar} {' ' * start}{paint('^' * length, style)}"
    if lines:
        yield f"{margin} {bar}"
    again = [f"seen by: {reproduce(finding)}"] if finding.overrides and not finding.location.override else []
    for aside in (*asides(finding), *again):
        word, _, rest = aside.partition(":")
        yield f"{margin} {paint('=', BLUE)} {paint(f'{word}:', CYAN)}{rest}"
