"""A lock against what its servers are now: every difference, and what becomes of the rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmroute.lock.differences import Difference, Weight, differences
from lmroute.lock.effects import Effect, effects
from lmroute.routing.proofs.space import TooComplex

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lmroute.lock.document import Lock, LockedProvider
    from lmroute.model import Stack

_HEADINGS = (
    (Weight.DRIFT, "not as locked:"),
    (Weight.MORE, "more than was locked, or not told any more:"),
    (Weight.NOW, "loaded otherwise, which is no drift:"),
)


@dataclass(frozen=True, slots=True)
class Drift:
    """What came of a comparison.

    Attributes:
        effects: requests that a rule sends elsewhere now, or to nobody.
        unproved: why the effects are not known; empty when they are.
        same: the providers that have all that was locked.
        unlocked: those that were asked and have no entry.
    """

    differences: tuple[Difference, ...]
    effects: tuple[Effect, ...]
    same: tuple[str, ...]
    unlocked: tuple[str, ...]
    unproved: str = ""

    def fails(self, *, strict: bool) -> bool:
        """Whether a server is not what was locked. What is loaded counts where a rule loses requests by it.

        Args:
            strict: what servers have besides counts, too, and one that was never locked.
        """
        weights = {difference.weight for difference in self.differences}
        more = Weight.MORE in weights or bool(self.unlocked)
        return Weight.DRIFT in weights or bool(self.effects) or (strict and more)

    def lines(self, *, strict: bool) -> Iterator[str]:
        """All of it for people."""
        if not self.fails(strict=strict):
            yield f"as locked: {', '.join(self.same) or 'nobody was locked'}"
        for weight, heading in _HEADINGS:
            if told := [f"  {difference}" for difference in self.differences if difference.weight is weight]:
                yield from (heading, *told)
        if self.effects or self.unproved:
            yield "what that means for the policy:"
            yield from (f"  {each}" for each in (*self.effects, *filter(None, [self.unproved])))
        for name in self.unlocked:
            yield f"{name}: was never locked; to do so: lmroute lock"
        if self.differences and self.fails(strict=strict):
            yield "to take the servers as they are: lmroute lock"


def compare(stack: Stack, lock: Lock, found: Mapping[str, LockedProvider], silent: Mapping[str, str]) -> Drift:
    """What the servers that were asked are now, against the lock.

    Args:
        found: those that told what they have.
        silent: those that did not, with the reason.
    """
    locked = {name: lock.providers[name] for name in (*found, *silent) if name in lock.providers}
    changes = {name: differences(name, locked[name], found[name]) for name in found if name in locked}
    missing = [Difference(name, "", f"does not answer: {why}") for name, why in silent.items() if name in locked]
    told = (*missing, *(each for some in changes.values() for each in some))
    same = tuple(name for name, some in changes.items() if all(each.weight is not Weight.DRIFT for each in some))
    unlocked = tuple(name for name in (*found, *silent) if name not in locked)
    try:
        meaning = tuple(effects(stack, locked, {**found, **dict.fromkeys(silent)})) if told else ()
    except TooComplex as error:
        return Drift(told, (), same, unlocked, str(error))
    return Drift(told, meaning, same, unlocked)
