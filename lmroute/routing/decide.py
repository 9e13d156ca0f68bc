"""The decision: which candidates may serve this request, in which order, and why the others may not.

``decide`` is pure: the same policy, attributes and facts give the same decision, so it can be replayed, explained,
compared and tested without a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from lmroute.model import AUTO, NOTHING_KNOWN, Candidate, Considered, Decision
from lmroute.routing.eligibility import GUARANTEE, OVERFLOW, busy, doubt, fits_but_for_the_answer, objection
from lmroute.routing.ordering import places
from lmroute.routing.policy import CALLER_CHOICE
from lmroute.routing.selectors import choosable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lmroute.model import Attributes, Facts, Profile
    from lmroute.routing.policy import CompiledPolicy, CompiledRule, Option


def decide(policy: CompiledPolicy, attributes: Attributes, facts: Facts = NOTHING_KNOWN) -> Decision:
    """Choose candidates for one request."""
    if attributes.use:
        return _chosen_by_caller(policy, attributes, facts)
    known = policy.memo.recall(attributes, facts, lambda a, f: _settled(policy, a, f))
    return known if isinstance(known, Decision) else _decision(policy, known, attributes, facts)


def cut_short(policy: CompiledPolicy, decision: Decision, attributes: Attributes, facts: Facts) -> Decision:
    """The last resort of a decision: those who can take the prompt, but not as long an answer as the request allows.

    They were dropped for that, because others may have the room. An answer is seldom as long as it may be, so they are
    asked before the request is refused.
    """
    pinned = facts.pins.get(decision.rule)
    late = [
        Considered(c.candidate, despite=c.dropped)
        for c in decision.considered
        if c.dropped.startswith(OVERFLOW)
        and pinned in {None, c.candidate}
        and fits_but_for_the_answer(policy.option(c.candidate), attributes, facts)
    ]
    return Decision(decision.rule, tuple(late), decision.fallback_on)


@dataclass(frozen=True, slots=True)
class _Judged:
    """A rule's candidates, in the order of its options, and what becomes of them.

    Those of a rule with slots await the calls under way: who is doubted is not out yet.
    """

    rule: CompiledRule
    found: tuple[Considered, ...]


def _settled(policy: CompiledPolicy, attributes: Attributes, facts: Facts) -> Decision | _Judged:
    """The decision, or what leads to it where its candidates' order or slots are another matter each time."""
    rule = policy.rule_for(attributes)
    if rule is None:
        return _UNMATCHED
    judged = _judged(rule, attributes, facts)
    return _decision(policy, judged, attributes, facts) if rule.is_settled else judged


def by_rule(policy: CompiledPolicy, rule: CompiledRule, attributes: Attributes, facts: Facts) -> Decision:
    """The decision of one rule, whether or not it is the one for such a request."""
    return _decision(policy, _judged(rule, attributes, facts), attributes, facts)


_UNMATCHED = Decision(rule="", considered=())


def _judged(rule: CompiledRule, attributes: Attributes, facts: Facts) -> _Judged:
    pinned = facts.pins.get(rule.name)
    found = tuple([_judge(option, attributes, facts, pinned) for option in rule.options])
    return _Judged(rule, found if rule.is_limited else _without_doubts(found))


def _judge(option: Option, attributes: Attributes, facts: Facts, pinned: Candidate | None = None) -> Considered:
    candidate = option.candidate
    if against := objection(option, attributes, facts):
        return Considered(candidate, against)
    if pinned is not None and candidate != pinned:
        return Considered(candidate, f"this run is pinned to {pinned}")
    return Considered(candidate, despite=doubt(option, facts))


def _decision(policy: CompiledPolicy, judged: _Judged, attributes: Attributes, facts: Facts) -> Decision:
    rule, found = judged.rule, judged.found
    if rule.is_limited:
        found = _without_doubts(_with_slots(rule.options, found, facts))
    if not rule.is_settled:
        found = _arranged(policy, rule, found, attributes, facts)
    return Decision(rule.name, found, rule.fallback_on)


def _with_slots(options: Sequence[Option], found: Sequence[Considered], facts: Facts) -> tuple[Considered, ...]:
    """A candidate whose slots are all taken is doubted too."""
    return tuple(
        c if c.dropped or c.despite else Considered(c.candidate, despite=busy(option, facts))
        for option, c in zip(options, found, strict=True)
    )


def _arranged(
    policy: CompiledPolicy, rule: CompiledRule, found: Sequence[Considered], attributes: Attributes, facts: Facts
) -> tuple[Considered, ...]:
    ordered: list[Considered] = []
    for group in rule.groups:
        own = found[len(ordered) : len(ordered) + len(group.candidates)]
        if not group.is_settled:
            own = tuple([own[place] for place in places(group, rule.name, attributes.lot, facts, policy.seed)])
        ordered += own
    return tuple(ordered)


def _without_doubts(found: tuple[Considered, ...]) -> tuple[Considered, ...]:
    """Who is doubted is out, unless nobody else is left."""
    if all(c.dropped or c.despite for c in found):
        return found
    return tuple(Considered(c.candidate, c.despite) if c.despite else c for c in found)


def _chosen_by_caller(policy: CompiledPolicy, attributes: Attributes, facts: Facts) -> Decision:
    """What the caller chose, if a guarantee does not forbid it and the policy lets callers choose it."""
    wanted = choosable(attributes.use, policy.providers)
    refused = _refused(policy, attributes, wanted)
    if refused or policy.caller_choice is None:
        return Decision(CALLER_CHOICE, (), refused=refused)
    options = [policy.option(candidate) for candidate in wanted]
    found = _with_slots(options, [_judge(option, attributes, facts) for option in options], facts)
    return Decision(CALLER_CHOICE, _without_doubts(found), policy.caller_choice.fallback_on)


def _refused(policy: CompiledPolicy, attributes: Attributes, wanted: tuple[Candidate, ...]) -> str:
    """Why a caller's choice is refused, in words; empty when it is not."""
    use = attributes.use
    if not wanted or use.endswith("/"):
        why = "no model stands after its '/'" if use.endswith("/") else "the selected providers have no such one"
        return f"the caller chose '{use}', and {why}{_instead(use, policy.providers)}"
    if guarantee := policy.forbids(wanted[0].provider, attributes):
        return f"the caller chose '{use}', and {GUARANTEE} '{guarantee}' forbids it"
    choice = policy.caller_choice
    if choice is None or not choice.holds(attributes):
        which = "callers choose" if choice is None else "callers choose for such a request"
        return f"the caller chose '{use}', and policy '{policy.name}' does not let {which} (caller_choice)"
    allowed = {option.candidate for option in choice.options}
    if not all(c in allowed or Candidate(c.provider, AUTO) in allowed for c in wanted):
        return f"the caller chose '{use}', and policy '{policy.name}' lets callers choose others only (caller_choice)"
    return ""


def _instead(use: str, providers: Mapping[str, Profile]) -> str:
    """What to choose instead: the nearest of the selected providers, or of its models, and all of them."""
    provider, _, model = use.partition("/")
    whole = provider in providers and model
    known = [str(Candidate(provider, name)) for name in providers[provider].models] if whole else list(providers)
    near = get_close_matches(use if whole else provider, known, 1)
    return (f"; did you mean '{near[0]}'?" if near else ".") + f" Selected: {', '.join(known) or 'none'}"
