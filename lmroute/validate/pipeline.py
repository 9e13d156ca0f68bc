"""One composition to its findings: interpolations, schemas, rules. Nothing here raises for what a user wrote."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from lmroute.config import complaints, schema
from lmroute.config.interpolation import origin
from lmroute.config.provenance import dotted, undotted
from lmroute.diagnostics import Diagnostic, Related, Severity
from lmroute.validate.context import Context
from lmroute.validate.table import CONFIG_CHECKS, RULES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lmroute.config.compose import Composition


def judge(composition: Composition) -> list[Diagnostic]:
    """Everything that is wrong with a composed configuration, in the order of the places."""
    locate = composition.locate
    broken = [complaints.unresolved(path, why, locate) for path, why in composition.faults.items()]
    broken += schema.check(composition.document, locate)
    context = Context.of(composition, broken)
    loose = chain.from_iterable(check(context) for check in CONFIG_CHECKS)
    found = _at_their_origins([*broken, *loose], composition)
    return ordered(replace(stamped(finding), overrides=composition.overrides) for finding in found)


def stamped(finding: Diagnostic) -> Diagnostic:
    """A finding with the severity of its rule."""
    return replace(finding, severity=RULES[finding.code].severity)


def ordered(findings: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Findings by place, each once."""
    return sorted(dict.fromkeys(findings), key=lambda finding: (finding.location, finding.key, finding.code))


def _at_their_origins(findings: list[Diagnostic], composition: Composition) -> list[Diagnostic]:
    """What several keys have from one place by interpolation, said once, at that place."""
    traced = [(origin(composition.written, undotted(finding.key)), finding) for finding in findings]
    told: dict[tuple[str, str, str], Diagnostic] = {}
    for source, finding in sorted(traced, key=lambda pair: dotted(pair[0]) != pair[1].key):  # origins speak first
        same = (finding.code, finding.message, dotted(source))
        if first := told.get(same):
            used = Related(f"also used by {finding.key}", finding.location)
            told[same] = replace(first, related=(*first.related, used))
        else:
            moved = dotted(source) != finding.key
            told[same] = replace(finding, location=composition.locate(source)) if moved else finding
    return list(told.values())


def worst(findings: Iterable[Diagnostic]) -> Severity | None:
    """The worst severity among findings."""
    severities = {finding.severity for finding in findings}
    return next((severity for severity in Severity if severity in severities), None)
