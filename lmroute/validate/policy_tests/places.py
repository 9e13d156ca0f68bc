"""Where in the files what tests should show is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.routing.coverage import Kind
from lmroute.routing.policy import CALLER_CHOICE, DEFAULT
from lmroute.validate.written import Written

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lmroute.config.keypaths import KeyPath
    from lmroute.diagnostics import Location
    from lmroute.model import Policy
    from lmroute.routing.coverage import Goal
    from lmroute.validate import Checked

_POLICY = ("routing",)


def places(goals: Iterable[Goal], composed: Checked) -> dict[Goal, Location]:
    """The place of each goal of the policy that was composed."""
    document, policy = composed.stack.document["routing"], composed.stack.policy
    written = Written(document, _POLICY, composed.locate, frozenset())
    return {goal: composed.locate(_path(goal, policy, written)) for goal in goals}


def _path(goal: Goal, policy: Policy, written: Written) -> KeyPath:
    owner = path_of(goal.owner, policy, of_guarantee=goal.of_guarantee)
    match goal.kind:
        case Kind.PREDICATE:
            return [asked.path for asked in written.asked if asked.path[: len(owner)] == owner][goal.test]
        case Kind.FALLBACK:
            return owner if owner[-1] == DEFAULT else (*owner, "use")
        case _:
            return (*owner, "name") if owner[-1].isdecimal() else owner


def path_of(name: str, policy: Policy, *, of_guarantee: bool = False) -> KeyPath:
    """The key of a rule or guarantee in the composed document; of the policy when there is none of this name."""
    if name in {DEFAULT, CALLER_CHOICE} and not of_guarantee:
        return (*_POLICY, name)
    key = "guarantees" if of_guarantee else "rules"
    names = [entry.name for entry in (policy.guarantees if of_guarantee else policy.rules)]
    return (*_POLICY, key, str(names.index(name))) if name in names else _POLICY
