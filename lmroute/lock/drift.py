"""A lock against what its servers are now: every difference, and what becomes of the rules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from lmroute.lock.differences import Difference, Weight, differences
from lmroute.lock.document import address
from lmroute.lock.effects import Effect, effects
from lmroute.routing.proofs.space import TooComplex

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lmroute.lock.document import Lock, LockedProvider
    from lmroute.model import Profile, Stack

_HEADINGS = (
    (Weight.DRIFT, "not as locked:"),
    (Weight.MORE, "more than was locked, or not told any more:"),
    (Weight.NOW, "loaded otherwise, which is no drift:"),
)
_LOSING = "loaded otherwise, which counts because rules lose requests now:"


@dataclass(frozen=True, slots=True)
class Drift:
    """What came of a comparison.

    Attributes:
        effects: requests that a rule sends elsewhere now, or to nobody.
        unproved: why the effects are not known; empty when they are.
        same: the providers that have all that was locked.
        unlocked: those that were asked and have no entry.
        unasked: those that have an entry and were not asked.
        missing: those that have an entry and could not be compared.
    """

    differences: tuple[Difference, ...]
    effects: tuple[Effect, ...]
    same: tuple[str, ...]
    unlocked: tuple[str, ...]
    unasked: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unproved: str = ""

    def fails(self, *, strict: bool) -> bool:
        """Whether a server is not what was locked, or never was. What is loaded counts where a rule loses by it.

        Args:
            strict: what servers have besides counts, too.
        """
        return self._has(Weight.DRIFT) or bool(self.effects or self.unlocked) or (strict and self._has(Weight.MORE))

    def _has(self, weight: Weight) -> bool:
        return any(difference.weight is weight for difference in self.differences)

    def lines(self, *, strict: bool) -> Iterator[str]:
        """All of it for people."""
        if not self.fails(strict=strict):
            yield f"as locked: {', '.join(self.same) or 'nobody was locked'}"
        for weight, heading in _HEADINGS:
            if told := [f"  {difference}" for difference in self.differences if difference.weight is weight]:
                yield from (_LOSING if weight is Weight.NOW and self.effects else heading, *told)
        if self.effects or self.unproved:
            yield "what that means for the policy:"
            yield from (f"  {each}" for each in (*self.effects, *filter(None, [self.unproved])))
        for name in self.unlocked:
            yield f"{name}: was never locked: lmroute lock"
        if self.unasked:
            yield f"not looked at, since not selected or out of every rule's reach: {', '.join(self.unasked)}"
        if self.differences and self.fails(strict=strict) and not self.missing:
            yield "to take the servers as they are: lmroute lock"


def compare(
    stack: Stack,
    lock: Lock,
    found: Mapping[str, LockedProvider],
    silent: Mapping[str, str],
    unreadable: Mapping[str, str] = MappingProxyType({}),
) -> Drift:
    """What the servers that were asked are now, against the lock.

    Args:
        found: those that told what they have.
        silent: those that do not answer, with the reason.
        unreadable: those that answer calls, and whose list could not be read, with the reason.
    """
    asked = (*found, *silent, *unreadable)
    locked = {name: lock.providers[name] for name in asked if name in lock.providers}
    changes = {
        name: differences(name, locked[name], found[name], stack.providers[name].capabilities)
        for name in found
        if name in locked
    }
    missing = {name: f"does not answer: {why}" for name, why in silent.items() if name in locked}
    missing |= {name: f"cannot be compared: {why}" for name, why in unreadable.items() if name in locked}
    without = (each for name, why in missing.items() for each in _without(stack.providers[name], locked[name], why))
    told = (*without, *(each for some in changes.values() for each in some))
    drift = Drift(
        told,
        effects=(),
        same=tuple(name for name, some in changes.items() if all(each.weight is not Weight.DRIFT for each in some)),
        unlocked=tuple(name for name in asked if name not in locked),
        unasked=tuple(name for name in lock.providers if name not in asked),
        missing=tuple(missing),
    )
    try:
        meaning = tuple(effects(stack, locked, {**found, **dict.fromkeys(silent)})) if told else ()
    except TooComplex as error:
        return replace(drift, unproved=str(error))
    return replace(drift, effects=meaning)


def _without(profile: Profile, locked: LockedProvider, why: str) -> Iterator[Difference]:
    """What is known of a server that told nothing: first whether it is the one that was locked at all."""
    now = address(profile.endpoint)
    if now != locked.endpoint:
        yield Difference(profile.id, "", f"endpoint {locked.endpoint or 'not told'} -> {now or 'not told'}")
    yield Difference(profile.id, "", why)
