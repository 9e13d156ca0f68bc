"""Expand what a rule says it uses into (provider, model) candidates, in the order it is to be tried."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lmroute.model import Candidate, Named, Order, Profile, Selector, Use

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


def expand(uses: Iterable[Use], providers: Mapping[str, Profile]) -> tuple[Candidate, ...]:
    """All candidates of a rule, each once, at its first mention. Unknown provider ids give none."""
    return tuple(dict.fromkeys(candidate for use in uses for candidate in _expand_one(use, providers)))


def _expand_one(use: Use, providers: Mapping[str, Profile]) -> Iterator[Candidate]:
    if isinstance(use, Named):
        profile = providers.get(use.provider)
        if profile is not None:
            yield from _candidates(profile, use.model)
        return
    for profile in _ordered(use, [p for p in providers.values() if use.matches(p)]):
        yield from _candidates(profile)


def _ordered(selector: Selector, profiles: list[Profile]) -> list[Profile]:
    if selector.order is Order.COST:
        return sorted(profiles, key=_price)  # stable, so equal prices stay as declared
    return profiles


def _price(profile: Profile) -> float:
    """Input and output price added: enough to order by, whatever the mix. Unknown sorts last."""
    return math.inf if profile.cost is None else profile.cost.input_per_mtok + profile.cost.output_per_mtok


def _candidates(profile: Profile, model: str | None = None) -> Iterator[Candidate]:
    models = profile.models if model is None else (model,)
    for name in models:
        yield Candidate(profile.id, name)
