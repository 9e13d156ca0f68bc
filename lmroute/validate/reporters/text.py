"""One finding a line, its notes and its help below it, and a summary at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.validate.reporters.color import BOLD, CYAN, STYLE_OF, painter
from lmroute.validate.reporters.words import asides, subject, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmroute.diagnostics import Diagnostic, Report


def render(report: Report, *, color: bool) -> str:
    """The report as text. Without colour a finding is its ``str()``."""
    paint = painter(color)
    lines = [line for finding in report.diagnostics for line in _lines(finding, paint)]
    return "\n".join([*lines, summary(report), ""])


def _lines(finding: Diagnostic, paint: Callable[[str, str], str]) -> Iterator[str]:
    place, code = paint(f"{finding.location}:", BOLD), paint(finding.code, STYLE_OF[finding.severity])
    yield f"{place} {code} {subject(finding)}"
    for aside in asides(finding):
        word, _, rest = aside.partition(":")
        yield f"  {paint(f'{word}:', CYAN)}{rest}"
