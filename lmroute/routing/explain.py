"""Why a request goes where it goes: everything that the decision looked at, and what came of it.

The decision itself is ``decide``'s. What is told about it beyond that, rules and tests and orders, is worked out again
from the same compiled policy, so it cannot say anything that the router would not do.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from lmroute.model import NOTHING_KNOWN, Attributes, Candidate, Decision, Facts, Order, Rule, shown
from lmroute.routing.decide import decide
from lmroute.routing.ordering import draws
from lmroute.routing.outcomes import Outcome, outcome, plain
from lmroute.routing.policy import CALLER_CHOICE, DEFAULT, CompiledPolicy, CompiledRule, in_order
from lmroute.routing.selectors import price

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.model import Profile, Use
    from lmroute.routing.selectors import Group


@dataclass(frozen=True, slots=True)
class Asked:
    """A rule, a guarantee, or what callers may choose, and whether it is about the request.

    Attributes:
        position: where it stands in the policy's list; ``None`` for what is in none.
        when: its tests; ``None`` where nobody had to look at them.
        says: what came of it: ``decides``, ``does not hold``, ``holds too, but comes later``, …
    """

    name: str
    position: int | None
    holds: bool
    says: str
    when: Outcome | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A candidate in an order, and the number that it was sorted by.

    Attributes:
        by: in words: ``$0.55 per million tokens``, ``no latency known``.
        share: of weighted ones, the part of all requests for which it comes first.
    """

    candidate: Candidate
    by: str = ""
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Ordered:
    """The candidates of one entry of ``use``, in the order of this decision.

    Attributes:
        rule: whose ``use`` it is an entry of: the deciding rule, or one that it falls back on.
    """

    rule: str
    order: Order
    candidates: tuple[Placed, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """A candidate and what became of it.

    Attributes:
        place: when it is asked, 1 for the first; 0 when it is dropped.
        rule: whose ``use`` names it.
        dropped, despite: see ``Considered``.
    """

    candidate: Candidate
    place: int
    rule: str
    dropped: str = ""
    despite: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything about one decision.

    Attributes:
        verdict: the outcome in a sentence.
        rules: in the order in which they are asked; none when the caller chose.
        guarantees: all of them, those too that are not about this request.
        choice: what callers may choose, when this one chose.
        lot: the lot that a weighted order drew by; ``None`` where none did.
    """

    policy: str
    attributes: Attributes
    decision: Decision
    verdict: str
    rules: tuple[Asked, ...]
    guarantees: tuple[Asked, ...]
    choice: Asked | None
    orders: tuple[Ordered, ...]
    candidates: tuple[Told, ...]
    lot: int | None = None

    def as_data(self) -> dict[str, Any]:
        """The same for programs: plain data that JSON can hold."""
        return {
            "policy": self.policy,
            "verdict": self.verdict,
            "is_answered": self.decision.is_answered,
            "rule": self.decision.rule or None,
            "fallback_on": plain(self.decision.fallback_on),
            "refused": self.decision.refused or None,
            "request": {shown(f.name): plain(getattr(self.attributes, f.name)) for f in fields(Attributes)},
            "rules": [plain(asdict(asked)) for asked in self.rules],
            "guarantees": [plain(asdict(asked)) for asked in self.guarantees],
            "caller_choice": plain(asdict(self.choice)) if self.choice else None,
            "orders": [_order(ordered) for ordered in self.orders],
            "lot": self.lot,
            "candidates": [
                {**plain(asdict(told)), "candidate": str(told.candidate), "kept": not told.dropped}
                for told in self.candidates
            ],
        }


def explain(policy: CompiledPolicy, attributes: Attributes, facts: Facts = NOTHING_KNOWN) -> Explanation:
    """Decide, and tell why."""
    decision = decide(policy, attributes, facts)
    compiled = None if attributes.use else policy.rule_for(attributes)
    draws_lots = compiled is not None and any(group.weights for group in compiled.groups)
    return Explanation(
        policy=policy.name,
        attributes=attributes,
        decision=decision,
        verdict=_verdict(decision, policy.source.default),
        rules=() if attributes.use else tuple(_rules(policy, attributes)),
        guarantees=tuple(_guarantees(policy, attributes)),
        choice=_choice(policy, attributes) if attributes.use else None,
        orders=tuple(_orders(policy, compiled, decision, attributes, facts)) if compiled else (),
        candidates=tuple(_candidates(compiled, decision)),
        lot=attributes.lot if draws_lots else None,
    )


def _verdict(decision: Decision, default: tuple[Use, ...] | None) -> str:
    if decision.refused:
        return f"refused: {decision.refused}"
    if not decision.rule:
        return "nobody: no rule is for this request, and the policy has no default"
    if not decision.considered:
        on_purpose = decision.rule == DEFAULT and default == ()
        why = "names nobody on purpose" if on_purpose else "has no candidates among the selected providers"
        return f"nobody: '{decision.rule}' {why}"
    if not decision.candidates:
        return "nobody: every candidate is dropped"
    names = ", then ".join(map(str, decision.candidates))
    return names if decision.is_answered else f"{names}: asked all the same, because nobody else is left"


def _rules(policy: CompiledPolicy, attributes: Attributes) -> Iterator[Asked]:
    winner = ""
    for rule in in_order(policy.source):
        found = outcome(rule.when, attributes, policy.source.domains)
        place = _position(rule, policy.source.rules)
        if winner:
            says = f"holds too, but '{winner}' comes first" if found.holds else "not asked, and would not hold"
            yield Asked(rule.name, place, found.holds, says, priority=_priority(rule, place))
            continue
        winner = rule.name if found.holds else ""
        says = "decides" if found.holds else "does not hold"
        yield Asked(rule.name, place, found.holds, says, found, _priority(rule, place))


def _position(rule: Rule, rules: tuple[Rule, ...]) -> int | None:
    return next((index for index, other in enumerate(rules) if other is rule), None)


def _priority(rule: Rule, place: int | None) -> int | None:
    """``default`` is asked last and has none."""
    return None if place is None else rule.priority


def _guarantees(policy: CompiledPolicy, attributes: Attributes) -> Iterator[Asked]:
    for index, guarantee in enumerate(policy.source.guarantees):
        found = outcome(guarantee.when, attributes, policy.source.domains)
        forbidden = [name for name, profile in policy.providers.items() if guarantee.forbids(profile)]
        about = f"forbids {', '.join(forbidden)}" if forbidden else "forbids none of the selected providers"
        yield Asked(guarantee.name, index, found.holds, about if found.holds else "is not about this request", found)


def _choice(policy: CompiledPolicy, attributes: Attributes) -> Asked:
    choice = policy.source.caller_choice
    if choice is None or policy.caller_choice is None:
        return Asked(CALLER_CHOICE, None, holds=False, says="the policy lets no caller choose")
    found = outcome(choice.when, attributes, policy.source.domains)
    allowed = ", ".join(str(option.candidate) for option in policy.caller_choice.options) or "nobody"
    says = f"lets callers choose {allowed}" if found.holds else "lets no caller choose for such a request"
    return Asked(CALLER_CHOICE, None, found.holds, says, found)


def _orders(
    policy: CompiledPolicy, rule: CompiledRule, decision: Decision, attributes: Attributes, facts: Facts
) -> Iterator[Ordered]:
    asked = {considered.candidate: place for place, considered in enumerate(decision.considered)}
    named = {option.candidate: option.rule for option in rule.options}
    for group in rule.groups:
        told = _numbers(group, rule.name, policy, attributes, facts)
        placed = tuple(told[candidate] for candidate in sorted(group.candidates, key=asked.__getitem__))
        yield Ordered(named[group.candidates[0]], group.order, placed)


def _numbers(
    group: Group, rule: str, policy: CompiledPolicy, attributes: Attributes, facts: Facts
) -> dict[Candidate, Placed]:
    """Each candidate with the number that its group is sorted by."""
    match group.order:
        case Order.COST:
            return {c: Placed(c, _price(policy.providers[c.provider])) for c in group.candidates}
        case Order.LATENCY:
            return {c: Placed(c, _latency(facts.latency_ms.get(c))) for c in group.candidates}
        case Order.LOAD:
            return {c: Placed(c, f"{facts.load.get(c, 0)} under way") for c in group.candidates}
        case Order.WEIGHTED:
            drawn, total = draws(group, rule, attributes.lot, policy.seed), sum(group.weights)
            return {
                c: Placed(c, f"weight {weight:g} of {total:g}, drew {drawn[c]:.4f}", weight / total)
                for c, weight in zip(group.candidates, group.weights, strict=True)
            }
        case _:
            return {c: Placed(c) for c in group.candidates}


def _price(profile: Profile) -> str:
    return "no price known" if profile.cost is None else f"${price(profile):g} per million tokens, in + out"


def _latency(latency_ms: float | None) -> str:
    return "no latency known yet, so it comes first" if latency_ms is None else f"{latency_ms:g} ms"


def _candidates(rule: CompiledRule | None, decision: Decision) -> Iterator[Told]:
    named = {option.candidate: option.rule for option in rule.options} if rule else {}
    place = 0
    for considered in decision.considered:
        place += not considered.dropped
        source = named.get(considered.candidate, decision.rule)
        asked = 0 if considered.dropped else place
        yield Told(considered.candidate, asked, source, considered.dropped, considered.despite)


def _order(ordered: Ordered) -> dict[str, Any]:
    placed = [{"candidate": str(p.candidate), "by": p.by, "share": p.share} for p in ordered.candidates]
    return {"rule": ordered.rule, "order": ordered.order.value, "candidates": placed}
