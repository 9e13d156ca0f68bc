"""A call without servers: decide, let the given candidates fail, fall back as the engine would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmroute.model import NOTHING_KNOWN, Failure
from lmroute.routing.attempts import following
from lmroute.routing.decide import cut_short, decide
from lmroute.routing.eligibility import window_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lmroute.model import Attributes, Candidate, Decision, Facts
    from lmroute.routing.attempts import Failed
    from lmroute.routing.policy import CompiledPolicy


@dataclass(frozen=True, slots=True)
class Simulation:
    """How a call would go.

    Attributes:
        failed: the attempts that fail, in their order.
        answered: who answers; ``None`` when nobody does.
    """

    decision: Decision
    failed: tuple[Failed, ...]
    answered: Candidate | None

    @property
    def asked(self) -> tuple[Candidate, ...]:
        """Everybody who is asked, in order."""
        last = (self.answered,) if self.answered else ()
        return (*(candidate for candidate, _ in self.failed), *last)


def simulate(
    policy: CompiledPolicy,
    attributes: Attributes,
    failures: Mapping[Candidate | str, Failure],
    facts: Facts = NOTHING_KNOWN,
) -> Simulation:
    """The call of one request.

    Args:
        failures: how the attempts at a candidate fail, or at any model of a provider.
    """
    decision = decide(policy, attributes, facts)
    failed: list[Failed] = []

    def window(candidate: Candidate) -> int | None:
        return window_of(candidate, policy.providers[candidate.provider], facts)

    late = cut_short(policy, decision, attributes, facts)
    while candidate := following(decision, failed, window) or following(late, failed, window):
        failure = failures.get(candidate) or failures.get(candidate.provider)
        if failure is None:
            return Simulation(decision, tuple(failed), candidate)
        failed.append((candidate, failure))
    return Simulation(decision, tuple(failed), None)
