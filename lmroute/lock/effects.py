"""What a change of the servers means for a policy: the requests that each rule no longer serves, or others do.

It goes by the facts that a call goes by: the windows that servers tell, and the capabilities that profiles state.
Exact like ``lmroute policy verify``, for every request; the smallest one is shown, and decided as a call would be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from lmroute.model import Facts
from lmroute.routing.decide import by_rule
from lmroute.routing.eligibility import OVERFLOW
from lmroute.routing.policy import compile_policy
from lmroute.routing.proofs.boxes import product
from lmroute.routing.proofs.findings import Witness
from lmroute.routing.proofs.space import Space
from lmroute.routing.proofs.territory import Territory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lmroute.lock.document import LockedProvider
    from lmroute.model import Candidate, Considered, Decision, Profile, Stack
    from lmroute.routing.policy import Option
    from lmroute.routing.proofs.space import Boxes
    from lmroute.routing.proofs.territory import Holding, Key

_GONE = "its server does not have it any more"
_SILENT = "its server does not answer"
_ITS_OWN = ", with the window that the server has now"


@dataclass(frozen=True, slots=True)
class Effect:
    """Requests that a rule sent to a candidate when its server was locked, and does not now.

    ``str()`` is a line for people.

    Attributes:
        key: of the rule in the policy's document.
        lost: whoever does not serve them any more.
        considered: all candidates of the rule for the witness now, with what speaks against each.
        instead: who serves them now; ``None`` when nobody does.
    """

    policy: str
    rule: str
    key: Key
    lost: tuple[Candidate, ...]
    witness: Witness
    considered: tuple[Considered, ...]
    instead: Candidate | None

    def __str__(self) -> str:
        name, request = f"rule {self.policy}/{self.rule}", self.witness.text
        reasons = {each.candidate: each.dropped for each in self.considered if each.dropped}
        if self.instead is None:
            why = "; ".join(f"{candidate}: {reason}" for candidate, reason in reasons.items())
            return f"{name}: no candidate is left for {request} ({why})"
        (lost,) = self.lost
        why = f" ({reasons[lost]})" if lost in reasons else ""
        order = [each.candidate for each in self.considered]
        if order.index(self.instead) < order.index(lost):
            return f"{name}: {lost} no longer stands in for {self.instead} with {request}{why}"
        return f"{name}: {lost} no longer serves {request}{why}; {self.instead} does"


def effects(
    stack: Stack, locked: Mapping[str, LockedProvider], found: Mapping[str, LockedProvider | None]
) -> Iterator[Effect]:
    """What becomes of each rule, in the order in which rules are asked.

    Args:
        found: what the servers are now, of those that were asked; ``None`` for one that does not answer.

    Raises ``TooComplex``.
    """
    changes = _Changes(locked, found)
    options = [option for rule in compile_policy(stack.policy, stack.providers).rules for option in rule.options]
    profiles = [profile for option in options for profile in changes.profiles(option)]
    space = Space.of([stack.policy], [*stack.providers.values(), *profiles])
    territory = Territory.of(stack.policy, stack.providers, space, stack.seed)
    for holding in territory.holdings:
        yield from _Held(territory, holding, changes).effects()


@dataclass(frozen=True)
class _Changes:
    """What candidates could serve as their servers were locked, and what they can now."""

    locked: Mapping[str, LockedProvider]
    found: Mapping[str, LockedProvider | None]

    def profiles(self, option: Option) -> list[Profile]:
        return [profile for profile in (self.before(option), self.after(option)) if profile]

    def before(self, option: Option) -> Profile | None:
        """What a candidate's profile promised and its server kept; ``None`` when it was not there."""
        if not self._is_known(option):
            return option.profile
        name, now = option.candidate.model, self.found[option.profile.id]
        told = _told(option.profile, name, self.locked[option.profile.id])
        if told and now and told.context_window is None:
            return replace(told, context_window=now.window(name))  # nobody had promised more
        return told

    def after(self, option: Option) -> Profile | None:
        """The same now. Of a model that is not loaded the profile's own promise counts, as in a call."""
        if not self._is_known(option):
            return option.profile
        now = self.found[option.profile.id]
        return _told(option.profile, option.candidate.model, now) if now else None

    def _is_known(self, option: Option) -> bool:
        """Whether its server was asked then and now."""
        return option.profile.id in self.locked and option.profile.id in self.found

    def why(self, option: Option) -> str:
        """Why a candidate is not there now, in words."""
        return _GONE if self.found.get(option.profile.id) else _SILENT


def _told(profile: Profile, name: str, entry: LockedProvider) -> Profile | None:
    """A profile with the window that its server told; ``None`` when that has no such model."""
    if entry.answering(name) is None:
        return None
    return replace(profile, context_window=entry.window(name) or profile.context_window)


@dataclass(frozen=True)
class _Held:
    """One rule, the requests that it decides, and its candidates then and now."""

    territory: Territory
    holding: Holding
    changes: _Changes

    def effects(self) -> Iterator[Effect]:
        options = self.holding.rule.options
        if self._before == self._after:
            return
        nobody, nobody_then = self._nobody(self._after), self._nobody(self._before)
        if found := self._smallest(nobody, nobody_then):
            lost = [o.candidate for o, one, two in self._rows() if one != two]
            yield self._effect(found, tuple(lost))
        for option, one, two in self._rows():
            if one != two and len(options) > 1 and (found := self._smallest(two, [*one, *nobody])):
                yield self._effect(found, (option.candidate,))

    def _rows(self) -> Iterator[tuple[Option, Boxes, Boxes]]:
        return zip(self.holding.rule.options, self._before, self._after, strict=True)

    @cached_property
    def _before(self) -> list[Boxes]:
        return [self._unserved(option, self.changes.before(option)) for option in self.holding.rule.options]

    @cached_property
    def _after(self) -> list[Boxes]:
        return [self._unserved(option, self.changes.after(option)) for option in self.holding.rule.options]

    def _unserved(self, option: Option, profile: Profile | None) -> Boxes:
        """The requests that a candidate does not serve, when its profile says that."""
        if profile is None:
            return [self.territory.space.layout.everything]
        return self.territory.unserved(replace(option, profile=profile))

    def _nobody(self, unserved: list[Boxes]) -> Boxes:
        return product(self.territory.space.layout, unserved)

    def _smallest(self, lost: Boxes, but: Boxes) -> Witness | None:
        """The smallest request of the rule among those that are lost, but for some."""
        space = self.territory.space
        asked = product(space.layout, [self.holding.boxes, lost])
        found = space.smallest(asked, [*self.holding.earlier, *but])
        return None if found is None else Witness.of(space, found)

    def _effect(self, witness: Witness, lost: tuple[Candidate, ...]) -> Effect:
        decision = self._decided(witness)
        instead = next(iter(decision.candidates), None)
        policy, holding = self.territory.policy.name, self.holding
        considered = tuple(map(self._explained, decision.considered))
        return Effect(policy, holding.rule.name, holding.key, lost, witness, considered, instead)

    def _explained(self, each: Considered) -> Considered:
        """A candidate with whose window is too small; ``lmroute route explain`` knows the profile's only."""
        option = next(option for option in self.holding.rule.options if option.candidate == each.candidate)
        now = self.changes.after(option)
        is_told = now is not None and now.context_window != option.profile.context_window
        return replace(each, dropped=each.dropped + _ITS_OWN) if is_told and OVERFLOW in each.dropped else each

    def _decided(self, witness: Witness) -> Decision:
        """What the rule does with a request now."""
        profiles = {option: self.changes.after(option) for option in self.holding.rule.options}
        now = tuple(replace(option, profile=profile or option.profile) for option, profile in profiles.items())
        gone = {option.candidate: self.changes.why(option) for option, profile in profiles.items() if profile is None}
        rule = replace(self.holding.rule, options=now)
        return by_rule(self.territory.policy, rule, witness.attributes, Facts(throttled=gone))
