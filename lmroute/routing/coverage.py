"""What the tests of a policy have shown of it: rules, comparisons, fallbacks, guarantees. Pure.

A goal is something that should be seen once; ``goals`` lists those of a policy, ``seen`` those that one call shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING

from lmroute.model import shown
from lmroute.routing.conditions import compile_predicate, tests_of
from lmroute.routing.policy import CALLER_CHOICE, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.model import Attributes, Candidate, Predicate, Test
    from lmroute.routing.policy import CompiledPolicy, CompiledRule
    from lmroute.routing.selectors import Group
    from lmroute.routing.simulate import Simulation


class Kind(StrEnum):
    """What a goal is about."""

    RULE = "rule"
    """The rule decided."""
    PREDICATE = "predicate"
    """A single comparison was true, or was false, for a request that it was asked about."""
    FALLBACK = "fallback"
    """A candidate was asked because the one before it failed or was out."""
    GUARANTEE = "guarantee"
    """A request that it is about came while somebody it forbids was selected."""


@dataclass(frozen=True, slots=True)
class Goal:
    """Something that should be seen once.

    Attributes:
        owner: the rule or guarantee.
        of_guarantee: ``owner`` is a guarantee; one may be called as a rule is.
        test: of a comparison, its number in the predicate, in the order of ``tests_of``.
        what: of a comparison or a fallback, which one, in words.
    """

    kind: Kind
    owner: str
    of_guarantee: bool = False
    test: int = 0
    what: str = ""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The goals of a policy, in its order, and those that were seen."""

    goals: tuple[Goal, ...] = ()
    seen: frozenset[Goal] = frozenset()

    def __or__(self, other: Coverage) -> Coverage:
        return Coverage(tuple(dict.fromkeys((*self.goals, *other.goals))), self.seen | other.seen)

    @property
    def missing(self) -> tuple[Goal, ...]:
        """The goals that were not seen."""
        return tuple(goal for goal in self.goals if goal not in self.seen)

    @property
    def percent(self) -> float:
        """Of all goals, how many were seen; 100 when there are none."""
        return 100 * (1 - len(self.missing) / len(self.goals)) if self.goals else 100.0

    def of(self, kind: Kind) -> tuple[int, int]:
        """How many goals of a kind were seen, and how many there are."""
        wanted = [goal for goal in self.goals if goal.kind is kind]
        return sum(goal in self.seen for goal in wanted), len(wanted)


def goals(policy: CompiledPolicy) -> tuple[Goal, ...]:
    """Everything that tests of a policy can show, rule by rule as they are asked, then the guarantees."""
    return tuple(_goals(policy))


def seen(policy: CompiledPolicy, attributes: Attributes, call: Simulation) -> frozenset[Goal]:
    """The goals that one call reaches."""
    return frozenset(_seen(policy, attributes, call))


@dataclass(frozen=True, slots=True)
class _Condition:
    """A predicate and whose it is."""

    when: Predicate
    owner: str
    of_guarantee: bool = False

    @property
    def outcomes(self) -> Iterator[Goal]:
        """Each of its comparisons, true and false."""
        for number, test in enumerate(tests_of(self.when)):
            yield from (self._goal(number, test, outcome) for outcome in (True, False))

    def shown_by(self, policy: CompiledPolicy, attributes: Attributes) -> Iterator[Goal]:
        """How each of its comparisons ends for a request."""
        for number, test in enumerate(tests_of(self.when)):
            yield self._goal(number, test, compile_predicate(test, policy.source.domains)(attributes))

    def _goal(self, number: int, test: Test, outcome: bool) -> Goal:
        what = f"{_written(test)} is {_word(outcome)}"
        return Goal(Kind.PREDICATE, self.owner, self.of_guarantee, number, what)


def _goals(policy: CompiledPolicy) -> Iterator[Goal]:
    conditions = _conditions(policy)
    for rule in (*policy.rules, *filter(None, [policy.caller_choice])):
        yield Goal(Kind.RULE, rule.name)
        yield from conditions[rule.name].outcomes
        if rule.name != CALLER_CHOICE:  # whose candidates the caller names
            yield from (_step(rule.name, *step) for step in _steps(rule.groups))
    for guarantee, _ in policy.guarantees:
        yield Goal(Kind.GUARANTEE, guarantee.name, of_guarantee=True)
        yield from _Condition(guarantee.when, guarantee.name, of_guarantee=True).outcomes


def _seen(policy: CompiledPolicy, attributes: Attributes, call: Simulation) -> Iterator[Goal]:
    decided, conditions = call.decision.rule, _conditions(policy)
    if decided and not call.decision.refused:
        yield Goal(Kind.RULE, decided)
    for rule in _asked(policy, attributes):
        yield from conditions[rule.name].shown_by(policy, attributes)
    yield from (_step(decided, *step) for step in _taken(policy, call))
    for guarantee, holds in policy.guarantees:
        yield from _Condition(guarantee.when, guarantee.name, of_guarantee=True).shown_by(policy, attributes)
        if holds(attributes) and any(map(guarantee.forbids, policy.providers.values())):
            yield Goal(Kind.GUARANTEE, guarantee.name, of_guarantee=True)


def _conditions(policy: CompiledPolicy) -> dict[str, _Condition]:
    """The conditions of the rules, by their names."""
    choice = policy.source.caller_choice
    own = {rule.name: _Condition(rule.when, rule.name) for rule in in_order(policy.source)}
    return own | ({CALLER_CHOICE: _Condition(choice.when, CALLER_CHOICE)} if choice else {})


def _asked(policy: CompiledPolicy, attributes: Attributes) -> Iterator[CompiledRule]:
    """The rules whose conditions were looked at: all up to the first one that holds, or the caller's choice."""
    if attributes.use:
        yield from filter(None, [policy.caller_choice])
        return
    for rule in policy.rules:
        yield rule
        if rule.holds(attributes):
            return


def _written(test: Test) -> str:
    operand = f"[{', '.join(map(_word, test.operand))}]" if isinstance(test.operand, tuple) else _word(test.operand)
    return f"{shown(test.attribute)} {test.operator} {operand}"


def _word(operand: object) -> str:
    return str(operand).lower() if isinstance(operand, bool) else str(operand)


@dataclass(frozen=True, slots=True)
class _Stop:
    """A candidate; or the whole of a group whose order is another one each time."""

    candidates: tuple[Candidate, ...]
    order: str = ""

    def __str__(self) -> str:
        listed = ", ".join(map(str, self.candidates))
        return f"({listed} by {self.order})" if self.order else listed


def _stops(groups: tuple[Group, ...]) -> Iterator[_Stop]:
    """The way along the candidates of a rule."""
    for group in groups:
        if group.is_settled:
            yield from (_Stop((candidate,)) for candidate in group.candidates)
        else:
            yield _Stop(group.candidates, group.order)


def _steps(groups: tuple[Group, ...]) -> Iterator[tuple[_Stop, _Stop]]:
    """From each stop to the next, and inside of a group from one candidate to another."""
    stops = tuple(_stops(groups))
    yield from ((stop, stop) for stop in stops if stop.order)
    yield from pairwise(stops)


def _taken(policy: CompiledPolicy, call: Simulation) -> Iterator[tuple[_Stop, _Stop]]:
    """The steps that led to somebody who was asked."""
    rule = next((rule for rule in policy.rules if rule.name == call.decision.rule), None)
    if rule is None:
        return
    stop_of = {candidate: stop for stop in _stops(rule.groups) for candidate in stop.candidates}
    order = [considered.candidate for considered in call.decision.considered]
    for before, candidate in pairwise(order):
        if candidate in call.asked:
            yield stop_of[before], stop_of[candidate]


def _step(rule: str, before: _Stop, after: _Stop) -> Goal:
    return Goal(Kind.FALLBACK, rule, what=f"{before} -> {'another of them' if after is before else after}")
