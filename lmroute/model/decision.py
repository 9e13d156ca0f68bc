"""What the router chose and why, and how each try ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lmroute.model.policy import Failure


class Candidate(NamedTuple):
    """One (provider, model) that a rule allows. ``model`` may be ``auto``.

    A tuple, because each decision looks up all its candidates in the facts, and tuples are hashed without Python code.
    """

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class Considered:
    """A candidate and what became of it.

    Attributes:
        dropped: why it may not be asked; empty when it may.
        despite: what speaks against it though it is kept, because nobody else is left.
    """

    candidate: Candidate
    dropped: str = ""
    despite: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the router chose and why.

    Attributes:
        rule: empty when no rule matched.
        fallback_on: failures after which the next candidate is tried; ``None`` means ``FALLBACK``.
        refused: why the request as a whole is refused: a caller's choice that the policy does not allow.
        candidates: whom to ask, in order.
    """

    rule: str
    considered: tuple[Considered, ...]
    fallback_on: frozenset[Failure] | None = None
    refused: str = ""
    candidates: tuple[Candidate, ...] = field(init=False)

    def __post_init__(self) -> None:
        kept = tuple([c.candidate for c in self.considered if not c.dropped])
        object.__setattr__(self, "candidates", kept)

    @property
    def is_answered(self) -> bool:
        """Whether somebody is left with nothing known against it."""
        return any(not c.dropped and not c.despite for c in self.considered)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one candidate, as it ended.

    Attributes:
        answered: the model that answered, as the server names it; empty when none did.
        failure: ``None`` when it succeeded.
        message: the error in one redacted line; empty when it succeeded.
        duration_ms: from the first byte sent to the last byte read, or to the failure.
        degraded: what was asked of this candidate differently than the caller asked, in words.
        is_cancelled: whether the caller gave it up before it ended.
        started_ms: after the call began.
        first_token_ms: of a stream, from the attempt's start to its first token; ``None`` if there was none.
    """

    candidate: Candidate
    duration_ms: float
    answered: str = ""
    failure: Failure | None = None
    message: str = ""
    degraded: tuple[str, ...] = ()
    is_cancelled: bool = False
    started_ms: float = 0.0
    first_token_ms: float | None = None
