"""Recorded calls decided again under another policy: which would go elsewhere, and what that would cost and take.

What is known of a call is what its records say. An attempt that failed then is taken to fail again, as in
``simulate``; one at somebody who was not asked then is taken to be answered.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, TypeAlias

from lmroute.model import NOTHING_KNOWN, Candidate
from lmroute.routing.budget import charge
from lmroute.routing.simulate import simulate
from lmroute.routing.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lmroute.model import Attributes, Facts, Failure
    from lmroute.routing.attempts import Failed
    from lmroute.routing.policy import CompiledPolicy
    from lmroute.routing.simulate import Simulation

    Amount: TypeAlias = Callable[["Recorded", Candidate], "float | str"]
    """What a call costs or takes at a candidate; a text says why nobody knows."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A call as it went.

    Attributes:
        rule: that decided; empty when none matched.
        failed: its attempts that failed, in order.
        answered: who answered, or would have, had the caller not given it up; ``None`` when nobody did.
        duration_ms: of the attempt that was answered to its end.
    """

    id: str
    attributes: Attributes
    facts: Facts
    rule: str = ""
    failed: tuple[Failed, ...] = ()
    answered: Candidate | None = None
    duration_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """A recorded call under the other policy.

    Attributes:
        why: why nobody would answer; empty when somebody would.
    """

    call: Recorded
    rule: str
    answered: Candidate | None
    why: str = ""

    @property
    def moved(self) -> bool:
        """Whether somebody else would answer, or nobody any more."""
        return self.answered != self.call.answered

    def as_data(self) -> dict[str, Any]:
        """The same for programs."""
        before, after = _name(self.call.answered), _name(self.answered)
        rules = {"rule_before": self.call.rule or None, "rule_after": self.rule or None}
        return {"call": self.call.id, "before": before, "after": after, **rules, "why": self.why}


@dataclass(frozen=True, slots=True)
class Estimate:
    """An amount before and after, over the calls for which both are known.

    Attributes:
        before, after: sums.
        unknown: how many calls are left out, by the reason.
    """

    before: float
    after: float
    calls: int
    unknown: Mapping[str, int]

    def as_data(self) -> dict[str, Any]:
        """The same for programs; null where nothing is known."""
        known = bool(self.calls)
        ends = {"before": self.before if known else None, "after": self.after if known else None}
        return {**ends, "calls": self.calls, "unknown": dict(self.unknown)}


Flow: TypeAlias = tuple[str | None, str | None, int]
"""From where, to where, how many calls; ``None`` is nowhere."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What another policy would have done with some calls.

    Attributes:
        usd: cost by the prices of the profiles, for the tokens that were recorded.
        latency_ms: by the median duration of the recorded attempts that each candidate answered.
    """

    policy: str
    calls: tuple[Again, ...]
    usd: Estimate
    latency_ms: Estimate

    @property
    def moved(self) -> tuple[Again, ...]:
        """The calls that somebody else would answer, or nobody."""
        return tuple(again for again in self.calls if again.moved)

    @property
    def unanswered(self) -> tuple[Again, ...]:
        """The calls that nobody would answer."""
        return tuple(again for again in self.calls if again.answered is None)

    @property
    def by_candidate(self) -> list[Flow]:
        """Who answered and who would, the most frequent first."""
        return _flows((_name(again.call.answered), _name(again.answered)) for again in self.calls)

    @property
    def by_rule(self) -> list[Flow]:
        """Which rule decided and which would, the most frequent first."""
        return _flows((again.call.rule or None, again.rule or None) for again in self.calls)

    def as_data(self) -> dict[str, Any]:
        """The same for programs: plain data that JSON can hold."""
        names = ("before", "after", "calls")
        return {
            "policy": self.policy,
            "calls": len(self.calls),
            "moved": [again.as_data() for again in self.moved],
            "unanswered": [again.as_data() for again in self.unanswered],
            "by_candidate": [dict(zip(names, flow, strict=True)) for flow in self.by_candidate],
            "by_rule": [dict(zip(names, flow, strict=True)) for flow in self.by_rule],
            "usd": self.usd.as_data(),
            "latency_ms": self.latency_ms.as_data(),
        }


def replay(calls: Iterable[Recorded], policy: CompiledPolicy, *, with_facts: bool = True) -> Replay:
    """Decide some calls again.

    Args:
        with_facts: what was known of the servers and budgets then is taken to be so; else every server is up.
    """
    known = tuple(calls)
    vocabulary = Vocabulary.of(policy.source)
    again = tuple(_again(call, policy, vocabulary, call.facts if with_facts else NOTHING_KNOWN) for call in known)
    return Replay(policy.name, again, _estimate(again, _price(policy)), _estimate(again, _duration(known)))


def _again(call: Recorded, policy: CompiledPolicy, vocabulary: Vocabulary, facts: Facts) -> Again:
    if problem := vocabulary.problem(call.attributes):
        return Again(call, "", None, f"refused: {problem}")
    failures: dict[Candidate | str, Failure] = dict(call.failed)
    simulation = simulate(policy, call.attributes, failures, facts)
    answered = simulation.answered
    doubt = next((c.despite for c in simulation.decision.considered if c.candidate == answered), "")
    if doubt and answered != call.answered:  # nobody else was left, and nobody knows that it would have answered
        return Again(call, simulation.decision.rule, None, f"nobody is left but {answered}, and that is out: {doubt}")
    return Again(call, simulation.decision.rule, answered, "" if answered else _why(simulation))


def _why(simulation: Simulation) -> str:
    decision = simulation.decision
    if simulation.failed:
        candidate, failure = simulation.failed[-1]
        return f"{candidate} failed then with {failure.value}, and nobody is to be asked after it"
    if decision.refused or not decision.rule:
        return f"refused: {decision.refused}" if decision.refused else "no rule is for it"
    reasons = Counter(considered.dropped for considered in decision.considered)
    return "; ".join(sorted(reasons)) or f"rule '{decision.rule}' has no candidates"


def _estimate(calls: Sequence[Again], amount: Amount) -> Estimate:
    """Sum up an amount before and after."""
    before = after = 0.0
    known, unknown = 0, Counter[str]()
    for again in calls:
        ends = [_amount(again.call, candidate, amount) for candidate in (again.call.answered, again.answered)]
        reasons = [end for end in ends if isinstance(end, str)]
        if reasons:
            unknown[reasons[0]] += 1
            continue
        known += 1
        before, after = before + float(ends[0]), after + float(ends[1])
    return Estimate(before, after, known, dict(unknown.most_common()))


def _amount(call: Recorded, candidate: Candidate | None, amount: Amount) -> float | str:
    return "nobody answers, before or after" if candidate is None else amount(call, candidate)


def _price(policy: CompiledPolicy) -> Amount:
    def usd(call: Recorded, candidate: Candidate) -> float | str:
        profile = policy.providers.get(candidate.provider)
        if profile is None:
            return f"no price: provider '{candidate.provider}' is not selected"
        if profile.cost is None:
            return f"no price: the profile of '{candidate.provider}' states no cost"
        if call.input_tokens is None or call.output_tokens is None:
            return "no token counts recorded"
        return charge(call.input_tokens, call.output_tokens, profile.cost).spent.usd

    return usd


def _duration(calls: Sequence[Recorded]) -> Amount:
    durations: dict[Candidate, list[float]] = {}
    for call in calls:
        if call.answered and call.duration_ms is not None:
            durations.setdefault(call.answered, []).append(call.duration_ms)
    medians = {candidate: median(measured) for candidate, measured in durations.items()}
    return lambda _, candidate: medians.get(candidate, f"no recorded call was answered by {candidate}")


def _flows(pairs: Iterable[tuple[str | None, str | None]]) -> list[Flow]:
    return [(before, after, calls) for (before, after), calls in Counter(pairs).most_common()]


def _name(candidate: Candidate | None) -> str | None:
    return str(candidate) if candidate else None
