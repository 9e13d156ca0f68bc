"""One composition to its findings: interpolations, schemas, rules. Nothing here raises for what a user wrote."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from lmroute.config import complaints, schema
from lmroute.config.interpolation import origin, variables
from lmroute.config.keypaths import at, dotted, undotted
from lmroute.config.secrecy import without_values
from lmroute.diagnostics import Diagnostic, Related, ordered
from lmroute.validate.context import Context
from lmroute.validate.table import CONFIG_CHECKS, RULES

if TYPE_CHECKING:
    from lmroute.config.compose import Composition
    from lmroute.config.keypaths import KeyPath

_ABOUT_KEYS = "LMR102"


def judge(composition: Composition) -> list[Diagnostic]:
    """Everything that is wrong with a composed configuration, in the order of the places."""
    locate = composition.locate
    broken = [complaints.unresolved(path, why, locate) for path, why in composition.faults.items()]
    broken += _of_whole_profiles(schema.check(composition.document, locate), composition)
    context = Context.of(composition, broken)
    loose = chain.from_iterable(check(context) for check in CONFIG_CHECKS)
    told = [_decoded(finding, at(composition.written, undotted(finding.key))) for finding in (*broken, *loose)]
    found = _at_their_origins(told, composition)
    read = variables(composition.written)
    return ordered(replace(stamped(_veiled(finding, read)), overrides=composition.overrides) for finding in found)


def _of_whole_profiles(findings: list[Diagnostic], composition: Composition) -> list[Diagnostic]:
    """Schema findings, those about a profile without a file told as what it is: keys for one that was not chosen."""
    missing = {finding.key for finding in findings if finding.code == "LMR101"}
    named = {undotted(key)[1] for key in missing if re.fullmatch(r"providers\.[^.]+\.type", key)}
    sources = composition.trace.sources if named else ()
    written = {source.package for source in sources if source.group == "provider"}
    halves = {name for name in named if sources and ("providers", name) not in written}
    if not halves:
        return findings
    chosen = [str(name) for name in composition.document["providers"] if name not in halves]
    kept = [finding for finding in findings if undotted(finding.key)[1:2] not in [(name,) for name in halves]]
    return kept + [_half(name, chosen, composition) for name in sorted(halves)]


def _half(name: str, chosen: list[str], composition: Composition) -> Diagnostic:
    message, advice = complaints.unselected(name, chosen)
    path = ("providers", name)
    return Diagnostic("LMR101", f"{message}, and these keys alone are none", composition.locate(path, key=True),
                      dotted(path), advice)  # fmt: skip


def _veiled(finding: Diagnostic, read: set[str]) -> Diagnostic:
    """A finding that shows nothing of what stands in the environment variables that were read."""
    if not read:
        return finding
    return replace(finding, message=without_values(finding.message, read), help=without_values(finding.help, read))


def _decoded(finding: Diagnostic, written: object) -> Diagnostic:
    """A bad value from the environment, which holds nothing but texts, with the way to make it something else."""
    if finding.code != "LMR103" or finding.help or not str(written).startswith("${oc.env:"):
        return finding
    return replace(finding, help=f"the environment holds texts only: ${{oc.decode:{written}}}")


def stamped(finding: Diagnostic) -> Diagnostic:
    """A finding with the severity of its rule."""
    return replace(finding, severity=RULES[finding.code].severity)


def _at_their_origins(findings: list[Diagnostic], composition: Composition) -> list[Diagnostic]:
    """What several keys have from one place by interpolation, said once, at that place."""
    traced = [(_origin(finding, composition), finding) for finding in findings]
    told: dict[tuple[str, str, str], Diagnostic] = {}
    for source, finding in sorted(traced, key=lambda pair: dotted(pair[0]) != pair[1].key):  # origins speak first
        same = (finding.code, finding.message, dotted(source))
        if first := told.get(same):
            used = Related(f"also used by {finding.key}", finding.location)
            told[same] = replace(first, related=(*first.related, used))
        else:
            told[same] = finding if dotted(source) == finding.key else _moved(finding, source, composition)
    return list(told.values())


def _origin(finding: Diagnostic, composition: Composition) -> KeyPath:
    """Where what a finding is about is written: its value, or for an unknown key, the mapping that has it."""
    path = undotted(finding.key)
    if finding.code == _ABOUT_KEYS and path:
        return (*origin(composition.written, path[:-1]), path[-1])
    return origin(composition.written, path)


def _moved(finding: Diagnostic, source: KeyPath, composition: Composition) -> Diagnostic:
    """A finding about a key at the place of another one, from which it has its value."""
    taken = Related(f"{finding.key} is taken from {dotted(source)}", finding.location)
    place = composition.locate(source, key=finding.code == _ABOUT_KEYS)
    return replace(finding, location=place, related=(*finding.related, taken))
