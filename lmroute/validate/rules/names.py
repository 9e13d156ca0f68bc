"""The rule about names in a policy: each means one thing in records and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.diagnostics import Related
from lmroute.routing.policy import CALLER_CHOICE, DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.keypaths import KeyPath
    from lmroute.diagnostics import Diagnostic
    from lmroute.validate.written import Holder, Written

_NAMED = {"rules": "rule", "guarantees": "guarantee", "budgets": "budget"}


def unique(holder: Holder) -> Iterator[Diagnostic]:
    """LMR306: two rules, guarantees or budgets of one name, or a rule that is called like what is none."""
    if (policy := holder.written) is not None:
        for key, kind in _NAMED.items():
            yield from _twice(policy, key, kind)
        yield from _taken(policy)


def _twice(policy: Written, key: str, kind: str) -> Iterator[Diagnostic]:
    seen: dict[str, KeyPath] = {}
    for path, name in policy.names(key).items():
        first = seen.setdefault(name, path)
        if first != path:
            related = (Related("the first one", policy.place((*first, "name"))),)
            message, advice = f"another {kind} is called '{name}' too", f"give each {kind} a name of its own"
            yield policy.finding("LMR306", (*path, "name"), message, advice, related=related)


def _taken(policy: Written) -> Iterator[Diagnostic]:
    """Rules that records could not tell from the policy's own default, or from a caller's choice."""
    reserved = {CALLER_CHOICE: "what callers choose themselves"}
    if "default" in policy.raw:
        reserved[DEFAULT] = "the policy's own default"
    for path, name in policy.names("rules").items():
        if name in reserved:
            message = f"'{name}' is what records call {reserved[name]}"
            yield policy.finding("LMR306", (*path, "name"), message, "give the rule another name")
