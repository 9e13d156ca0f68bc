"""A call under given circumstances: who is down, who fails and how, what is used up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from lmroute.model import Facts, Failure
from lmroute.routing.selectors import choosable
from lmroute.routing.simulate import Simulation, simulate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lmroute.model import Attributes, Candidate
    from lmroute.routing.policy import CompiledPolicy

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is so when a request comes.

    Candidates are named by ``provider``, which means all of its models, or by ``provider/model``, which counts more.

    Attributes:
        down: known to be down. One that is asked all the same, because nobody else is left, cannot be reached.
        throttled: asked for a pause.
        fails: how it fails when asked.
        budgets_used: names of the budgets that are used up.
        load: calls under way.
        latency_ms: how quickly calls went of late.
    """

    down: frozenset[str] = frozenset()
    throttled: frozenset[str] = frozenset()
    fails: Mapping[str, Failure] = field(default_factory=dict)
    budgets_used: frozenset[str] = frozenset()
    load: Mapping[str, int] = field(default_factory=dict)
    latency_ms: Mapping[str, float] = field(default_factory=dict)


def play(policy: CompiledPolicy, attributes: Attributes, scenario: Scenario) -> Simulation:
    """The call of one request under these circumstances."""
    facts = facts_of(policy, attributes, scenario)
    failures: dict[Candidate | str, Failure] = dict.fromkeys(facts.out, Failure.TRANSPORT)
    failures.update(_each(scenario.fails, candidates_of(policy, attributes)).items())
    return simulate(policy, attributes, failures, facts)


def facts_of(policy: CompiledPolicy, attributes: Attributes, scenario: Scenario) -> Facts:
    """What is known when the request comes."""
    known = candidates_of(policy, attributes)
    return Facts(
        out=_each(dict.fromkeys(scenario.down, "down"), known),
        throttled=_each(dict.fromkeys(scenario.throttled, "throttled"), known),
        spent=scenario.budgets_used,
        load=_each(scenario.load, known),
        latency_ms=_each(scenario.latency_ms, known),
    )


def candidates_of(policy: CompiledPolicy, attributes: Attributes) -> tuple[Candidate, ...]:
    """Everybody whom some rule, or the caller of this request, could mean."""
    rules = (*policy.rules, *filter(None, [policy.caller_choice]))
    named = [option.candidate for rule in rules for option in rule.options]
    return tuple(dict.fromkeys([*named, *choosable(attributes.use, policy.providers)]))


def is_meant(candidate: Candidate, word: str) -> bool:
    """Whether ``provider`` or ``provider/model`` names this candidate."""
    return word in {candidate.provider, str(candidate)}


def _each(said: Mapping[str, T], known: Iterable[Candidate]) -> dict[Candidate, T]:
    """What was said of providers and candidates, by candidate."""
    found = ((candidate, said.get(str(candidate), said.get(candidate.provider))) for candidate in known)
    return {candidate: what for candidate, what in found if what is not None}
