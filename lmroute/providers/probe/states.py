"""The words of health: in which state a provider is, and how far a probe got."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a provider is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """It serves, but something about it is not as it should be."""
    THROTTLED = "throttled"
    """It turns requests away because there were too many."""
    AUTH = "auth"
    """It wants a token, or another one."""
    MISCONFIGURED = "misconfigured"
    """Something answers, but not what the profile says; waiting does not help."""
    BLOCKED = "blocked"
    """It lies further away than the profile's locality allows, so it was not dialled."""
    DOWN = "down"
    UNKNOWN = "unknown"
    """It was not asked, or cannot be."""


SERVING = frozenset({State.HEALTHY, State.DEGRADED})
"""States in which a call is answered."""


class Outcome(StrEnum):
    """How a phase of a probe went."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Phase:
    """A step of a probe: one of ``PHASES``, and ``chat`` where one was wanted.

    Attributes:
        ms: 0 when skipped.
        note: what there is to say about it: why no chat was asked, or with which model.
    """

    name: str
    ms: float = 0.0
    outcome: Outcome = Outcome.SKIPPED
    note: str = ""


PHASES = ("dns", "connect", "tls", "auth", "list", "model")
SKIPPED = tuple(map(Phase, PHASES))
