"""Whom to ask next when an attempt has failed. The engine walks by it, and so does a simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from lmroute.model import FALLBACK, Candidate, Decision, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Window: TypeAlias = Callable[[Candidate], int | None]

Failed: TypeAlias = tuple[Candidate, Failure]


def may_fall_back(decision: Decision, failure: Failure) -> bool:
    """Whether another candidate may be asked after such a failure. After a guarantee's refusal never."""
    allowed = FALLBACK if decision.fallback_on is None else decision.fallback_on
    return failure in allowed and failure is not Failure.GUARANTEE


def following(decision: Decision, failed: Sequence[Failed], window: Window) -> Candidate | None:
    """The next candidate after these attempts, in their order; ``None`` when nobody is left that may be asked.

    Args:
        window: tells a candidate's context window in tokens, where it is known.
    """
    return next(remaining(decision, failed, window), None)


def remaining(decision: Decision, failed: Sequence[Failed], window: Window) -> Iterator[Candidate]:
    """All who may still be asked after these attempts, in their order.

    After an overflow, a window that is known to be no larger than the one that overflowed is not worth a try.
    """
    if failed and not may_fall_back(decision, failed[-1][1]):
        return
    tried = {candidate for candidate, _ in failed}
    overflowed = [window(c) or 0 for c, failure in failed if failure is Failure.CONTEXT_LENGTH]
    for candidate in decision.candidates:
        if candidate not in tried and not (overflowed and _fits_no_more(window(candidate), max(overflowed))):
            yield candidate


def _fits_no_more(window: int | None, than: int) -> bool:
    return window is not None and window <= than
