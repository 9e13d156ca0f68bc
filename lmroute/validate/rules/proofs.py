"""LMR320 to LMR327: what is proved of a policy, or shown by a request, said at the places that are to blame."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from lmroute.config import decode
from lmroute.config.keypaths import dotted
from lmroute.diagnostics import Diagnostic, Related
from lmroute.routing.proofs.findings import Flaw
from lmroute.routing.proofs.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.keypaths import KeyPath
    from lmroute.config.provenance import Locate
    from lmroute.routing.proofs.findings import Finding
    from lmroute.routing.proofs.verify import Verdict
    from lmroute.validate.context import Context

CODES = {
    Flaw.CONTRADICTION: "LMR320",
    Flaw.SHADOWED: "LMR321",
    Flaw.UNREACHABLE: "LMR322",
    Flaw.GAP: "LMR323",
    Flaw.LEAK: "LMR324",
    Flaw.UNPROVED: "LMR329",
    Flaw.UNGUARDED: "LMR325",
    Flaw.STRANDED: "LMR326",
    Flaw.NEVER_TRIED: "LMR327",
    Flaw.TOO_COMPLEX: "LMR328",
}

_ADVICE = {
    Flaw.CONTRADICTION: "loosen it, or remove what it stands in",
    Flaw.SHADOWED: "give it a lower priority number than that rule, narrow that rule's `when`, or remove it",
    Flaw.UNREACHABLE: "give it a lower priority number than they have, narrow their `when`, or remove it",
    Flaw.GAP: "say who serves it, `default: [...]`, or that it is refused on purpose, `default: []`",
    Flaw.LEAK: "leave such requests out with `when`, or put a rule for them before it that asks allowed providers only",
    Flaw.UNPROVED: "say it without the pattern: a tag, or an attribute of your own. Every call is checked all the same",
    Flaw.UNGUARDED: "say what private means: guarantees: "
    "[{name: private_stays_here, when: {privacy: {eq: private}}, only: {locality: [embedded, loopback]}}]",
    Flaw.STRANDED: "add it to the rule's `use`, or say with a guarantee that this is meant",
    Flaw.NEVER_TRIED: "leave it out, or correct its profile",
    Flaw.TOO_COMPLEX: "make several rules of it, or say it with fewer choices between several tests",
}


_BREACHES = {Flaw.LEAK, Flaw.UNPROVED}

_FALLBACK_ADVICE = "let the fallback end before it, or leave such requests out of the rule with `when`"


def shown(context: Context) -> Iterator[Diagnostic]:
    """What the policy can do and should not, each with a request that shows it."""
    verdict = verdict_of(context)
    told: set[tuple[Flaw, tuple[KeyPath, ...]]] = set()
    for finding in verdict.findings if verdict else ():
        way = finding.flaw, (finding.key, *(involved.key for involved in finding.involved[:1]))
        if finding.flaw in _BREACHES and way in told:
            continue  # the same rule breaks the same guarantee with one more provider: one fix mends both
        told.add(way)
        yield diagnosed(finding, context.locate)


def verdict_of(context: Context) -> Verdict | None:
    """What is proved of the policy; None when it cannot be read."""
    if context.policy is None or not context.providers:
        return None
    providers = {name: context.document["providers"][name] for name in context.providers}
    return _verified(json.dumps([context.document["routing"], providers], default=str))


@lru_cache(maxsize=64)
def _verified(document: str) -> Verdict:
    """Many compositions differ in their task or adapter only."""
    routing, providers = json.loads(document)
    return verify(decode.policy(routing), {name: decode.profile(raw) for name, raw in providers.items()})


def diagnosed(finding: Finding, locate: Locate) -> Diagnostic:
    """A finding at the place that a person would mend."""
    message, key = f"{_owner(finding)}: {finding.message}", finding.key
    notes = [(involved.part, involved.key) for involved in finding.involved]
    if finding.flaw in {Flaw.LEAK, Flaw.UNPROVED, Flaw.UNGUARDED}:
        (_, key), *notes = notes
    if finding.flaw in _BREACHES:  # it is mended where the request goes out, not where that is forbidden
        notes.append(("this guarantee forbids it", finding.key))
    if finding.witness and finding.witness.assumes:
        message += f" (taken to be possible: {finding.witness.assumes})"
    path = _path(key)
    related = tuple(Related(part, locate(_path(place))) for part, place in notes)
    advice = _FALLBACK_ADVICE if any(place[-1] == "fallback" for _, place in notes) else _ADVICE[finding.flaw]
    return Diagnostic(CODES[finding.flaw], message, locate(path), dotted(path), advice, related=related)


def _owner(finding: Finding) -> str:
    if finding.key[0] == "guarantees":
        return f"guarantee '{finding.name}'"
    if finding.key[0] != "rules":  # default, caller_choice
        return finding.name
    return f"policy '{finding.name}'" if finding.flaw is Flaw.GAP else f"rule '{finding.name}'"


def _path(key: KeyPath) -> KeyPath:
    return ("routing", *key)
