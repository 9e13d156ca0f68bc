"""A report as it may be shown: no secret, no control character. Keys and messages quote what somebody wrote."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.config.secrecy import masked, scrubbed

if TYPE_CHECKING:
    from lmroute.diagnostics import Diagnostic, Location, Related, Report

_SHORTEST = 4
_WORDS = frozenset({"null", "true", "false"})
"""Values too short or too common to be looked for in messages; they are no secrets."""


def presentable(report: Report) -> Report:
    """The report with each of its texts made fit to be shown."""
    return replace(report, diagnostics=tuple(map(presented, report.diagnostics)))


def printable(text: str) -> str:
    """A text with what no screen shows as a backslash escape: control characters, surrogates, invisible marks."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def presented(finding: Diagnostic) -> Diagnostic:
    """A finding with each of its texts made fit to be shown."""
    overrides = [word for word in finding.overrides or () if _worth_hiding(word.partition("=")[2])]

    def shown(text: str) -> str:
        return printable(redact.text(scrubbed(text, overrides)))

    return replace(
        finding,
        message=shown(finding.message),
        key=shown(finding.key),
        help=shown(finding.help),
        location=_location(finding.location),
        related=tuple(_related(related, shown(related.message)) for related in finding.related),
        overrides=None if finding.overrides is None else tuple(map(_override, finding.overrides)),
    )


def _worth_hiding(value: str) -> bool:
    return len(value) >= _SHORTEST and value not in _WORDS


def _related(related: Related, message: str) -> Related:
    return replace(related, message=message, location=_location(related.location))


def _location(location: Location) -> Location:
    return replace(location, file=printable(redact.text(location.file)), override=_override(location.override))


def _override(word: str) -> str:
    return printable(redact.text(masked(word)))
