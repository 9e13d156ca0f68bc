"""What the router chose and why, and how each try ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmroute.model.policy import Failure


@dataclass(frozen=True, slots=True)
class Candidate:
    """One (provider, model) that a rule allows. ``model`` may be ``auto``."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class Considered:
    """A candidate and what became of it: kept (``dropped`` empty) or dropped for a reason."""

    candidate: Candidate
    dropped: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the router chose and why. ``rule`` is empty when no rule matched."""

    rule: str
    considered: tuple[Considered, ...]
    fallback_on: frozenset[Failure] | None = None
    candidates: tuple[Candidate, ...] = field(init=False)

    def __post_init__(self) -> None:
        kept = tuple(c.candidate for c in self.considered if not c.dropped)
        object.__setattr__(self, "candidates", kept)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one candidate, as it ended.

    Attributes:
        answered: the model that answered, as the server names it; empty when none did.
        failure: ``None`` when it succeeded.
        message: the error in one redacted line; empty when it succeeded.
        duration_ms: from the first byte sent to the last byte read, or to the failure.
        degraded: what was asked of this candidate differently than the caller asked, in words.
    """

    candidate: Candidate
    duration_ms: float
    answered: str = ""
    failure: Failure | None = None
    message: str = ""
    degraded: tuple[str, ...] = ()
