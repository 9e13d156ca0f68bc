"""Requests that are turned away though somebody could serve them, and candidates that never get one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.model import AUTO, Candidate, Locality, Named
from lmroute.routing.classes import overflow_at
from lmroute.routing.proofs.boxes import product
from lmroute.routing.proofs.covering import cheapest, uncovered
from lmroute.routing.proofs.findings import Finding, Flaw, Witness
from lmroute.routing.proofs.guards import IS_PRIVATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.model import Profile
    from lmroute.routing.proofs.space import Boxes
    from lmroute.routing.proofs.territory import Holding, Territory


def stranded(territory: Territory) -> Iterator[Finding]:
    """Requests that no candidate of their rule can serve, though another selected provider could and may. One that
    could but may not is a leak, and told as that."""
    space = territory.space
    for holding in territory.holdings:
        if holding.key == ("default",) and not territory.policy.source.default:
            continue  # refused on purpose
        unable = (territory.unable(option.profile) for option in holding.rule.options)
        unserved = product(space.layout, [holding.boxes, *unable])
        taken = {option.profile.id for option in holding.rule.options}
        for profile in territory.policy.providers.values() if unserved else ():
            if profile.id in taken:
                continue
            cannot = [*holding.earlier, *_unserved_by(territory, profile, holding)]
            found = cheapest(space.layout, unserved, [*cannot, *space.assumptions], space.home)
            if found:
                witness = Witness.of(space, found)
                message = f"no candidate can serve {witness.text}; {profile.id} could"
                yield Finding(Flaw.STRANDED, holding.key, holding.rule.name, message, witness)
                break


def _unserved_by(territory: Territory, profile: Profile, holding: Holding) -> Boxes:
    """The requests that a provider could not serve in a rule's stead. The cloud is not thought to take private ones,
    nor one of unknown window what is too long for the rule's own candidates."""
    boxes = territory.unserved(territory.policy.option(Candidate(profile.id, AUTO)))
    if profile.locality is Locality.CLOUD:
        boxes += territory.space.boxes(IS_PRIVATE)
    windows = [option.profile.context_window for option in holding.rule.options]
    known = [window for window in windows if window is not None]
    if profile.context_window is None and known:
        boxes.append(territory.space.at_least("total_tokens", overflow_at(min(known))))
    return boxes


def never_tried(territory: Territory) -> Iterator[Finding]:
    """Candidates that a rule names and that can serve none of its requests."""
    layout = territory.space.layout
    for holding in territory.holdings:
        for at, use in _named(territory, holding):
            profile = territory.policy.providers.get(use.provider)
            if profile is None or not profile.enabled or not holding.boxes:
                continue
            if uncovered(layout, holding.boxes, [*holding.earlier, *territory.unable(profile)]) is None:
                message = f"'{use.provider}' can serve none of its requests"
                yield Finding(Flaw.NEVER_TRIED, (*holding.key, "use", str(at)), holding.rule.name, message)


def _named(territory: Territory, holding: Holding) -> Iterator[tuple[int, Named]]:
    """The candidates that a rule names one by one; what a selector selects may well serve other rules."""
    if holding.key[0] == "rules":
        for at, use in enumerate(territory.policy.source.rules[int(holding.key[1])].use):
            if isinstance(use, Named):
                yield at, use
