"""What the probes mean for each rule of the policy: which candidates serve, and does one at all?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmroute.providers.probe import SERVING, ErrorCode, ProbeResult, State, find
from lmroute.routing.policy import compile_policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lmroute.model import Candidate, Profile, Stack


ABOUT_MODELS = frozenset({ErrorCode.MODEL_NOT_FOUND, ErrorCode.NO_MODELS})
"""Errors of single models, not of the server."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A candidate of a rule and how it is: its provider's state, or ``misconfigured`` when the model is not there."""

    candidate: Candidate
    state: State

    @property
    def up(self) -> bool:
        """Whether a call would be answered."""
        return self.state in SERVING

    @property
    def may_serve(self) -> bool:
        """Whether nothing is known that speaks against it."""
        return self.up or self.state is State.UNKNOWN


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """A rule and its candidates, without those of disabled providers.

    ``str()`` is a line for people: ``local_first/local: 1 of 2 candidates up, degraded, still serves``.
    """

    policy: str
    rule: str
    standings: tuple[Standing, ...]

    @property
    def up(self) -> int:
        """How many candidates would answer."""
        return sum(standing.up for standing in self.standings)

    @property
    def serving(self) -> tuple[Candidate, ...]:
        """The candidates that may answer, in the order in which they are tried."""
        return tuple(standing.candidate for standing in self.standings if standing.may_serve)

    @property
    def state(self) -> State:
        """``healthy`` when all candidates are, ``down`` when none may serve, else ``unknown`` or ``degraded``."""
        states = {standing.state for standing in self.standings}
        if not self.serving:
            return State.DOWN
        if states == {State.HEALTHY}:
            return State.HEALTHY
        return State.DEGRADED if self.up else State.UNKNOWN

    def __str__(self) -> str:
        count = f"{self.up} of {len(self.standings)} candidates up" if self.standings else "no enabled candidate"
        return f"{self.policy}/{self.rule}: {count}{_SAID[self.state]}"


_SAID = {
    State.HEALTHY: "",
    State.DEGRADED: ", degraded, still serves",
    State.UNKNOWN: ", not checked",
    State.DOWN: ", down",
}


def verdicts(stack: Stack, results: Mapping[str, ProbeResult]) -> tuple[RuleVerdict, ...]:
    """What probes mean for each rule, in the order in which rules are asked.

    Args:
        results: probes by provider id; a provider without one is ``unknown``.
    """
    policy = compile_policy(stack.policy, stack.providers)
    return tuple(
        RuleVerdict(
            policy.name,
            rule.name,
            tuple(
                Standing(option.candidate, _state(option.candidate, option.profile, results.get(option.profile.id)))
                for option in rule.options
                if option.profile.enabled
            ),
        )
        for rule in policy.rules
    )


def to_probe(stack: Stack) -> list[Profile]:
    """The providers that matter: enabled, and some rule can reach them."""
    in_use = compile_policy(stack.policy, stack.providers).providers_in_use()
    return [stack.providers[name] for name in in_use if stack.providers[name].enabled]


def is_missing(candidate: Candidate, profile: Profile, result: ProbeResult) -> bool:
    """Whether the server told its models and this one is not among them."""
    return result.listed and find(result.models, candidate.model, profile) is None


def _state(candidate: Candidate, profile: Profile, result: ProbeResult | None) -> State:
    if result is None:
        return State.UNKNOWN
    if is_missing(candidate, profile, result):
        return State.MISCONFIGURED
    # Of a provider that lacks some of its models, those that it has are served.
    return State.HEALTHY if result.error_code in ABOUT_MODELS else result.state
