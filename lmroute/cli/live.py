"""``lmroute validate --live``: what the servers of a composition say, added to what its files say."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from lmroute.config.compose import compose
from lmroute.config.decode import decode
from lmroute.diagnostics import Report, Severity, ordered
from lmroute.errors import ConfigError
from lmroute.health.live import check, to_probe, verdicts
from lmroute.providers.probe import probe_all
from lmroute.validate.pipeline import judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.config.compose import Composition
    from lmroute.diagnostics import Diagnostic

_NO_SECRET, _NO_TOKEN = "LMR401", "LMR502"
_OF_LOCK = "LMR33"
"""What the codes begin with that tell what servers were once; they can be asked what they are now."""


def ask(report: Report, overrides: Sequence[str], *, quiet: bool = False) -> tuple[Report, list[str]]:
    """Ask the servers of a composition, the defaults' when there are no overrides.

    Returns the report with what they say, and a line about each rule of the policy. Of a composition with errors
    nobody is asked.
    """
    try:
        composition = compose(overrides)
    except ConfigError:
        return report, _unasked(quiet)
    found = judge(composition)
    if any(f.severity is Severity.ERROR and not f.code.startswith(_OF_LOCK) for f in found):
        return report, _unasked(quiet)
    told, lines, asked = _told(composition, quiet)
    # Whoever asks the servers has the keys for them.
    missing = [replace(finding, severity=Severity.ERROR) for finding in found if finding.code == _NO_SECRET]
    places = {finding.location for finding in missing}
    kept = [f for f in report.diagnostics if f.code != _NO_SECRET or f.location not in places]
    fresh = [f for f in told if f.code != _NO_TOKEN or f.location not in places]  # would say it twice
    merged = ordered([*kept, *missing, *fresh])
    return replace(report, diagnostics=tuple(merged), checked={**report.checked, "servers": asked}), lines


def _told(composition: Composition, quiet: bool) -> tuple[list[Diagnostic], list[str], int]:
    stack = decode(composition.document)
    profiles = to_probe(stack)
    if not quiet:
        print(f"asking {', '.join(profile.id for profile in profiles)} …", file=sys.stderr, flush=True)
    results = probe_all(profiles)
    findings = check(stack, composition.locate, results)
    told = [replace(finding, overrides=composition.overrides) for finding in findings]
    return told, [str(verdict) for verdict in verdicts(stack, results)], len(profiles)


def _unasked(quiet: bool) -> list[str]:
    if not quiet:
        print("no server was asked: the composition has errors", file=sys.stderr)
    return []
