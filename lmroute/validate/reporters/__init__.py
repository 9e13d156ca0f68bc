"""What a report looks like: one module a format, each ``render(report, *, color) -> str``.

``render`` here is the front door: it makes the report fit to be shown before a format gets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lmroute.validate.reporters import full, github, json_, junit, sarif, text
from lmroute.validate.reporters.presentable import presentable

if TYPE_CHECKING:
    from lmroute.diagnostics import Report

__all__ = ["REPORTERS", "Reporter", "render"]


class Reporter(Protocol):
    """Makes a report's text, which ends with a newline. Formats for machines ignore ``color``."""

    def __call__(self, report: Report, *, color: bool) -> str:
        """The text."""
        ...


REPORTERS: dict[str, Reporter] = {
    "text": text.render,
    "full": full.render,
    "json": json_.render,
    "github": github.render,
    "sarif": sarif.render,
    "junit": junit.render,
}


def render(name: str, report: Report, *, color: bool = False) -> str:
    """A report in one of the formats, without secrets and without characters that would do something to a terminal."""
    return REPORTERS[name](presentable(report), color=color)
