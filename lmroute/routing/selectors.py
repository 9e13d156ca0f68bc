"""Expand what a rule says it uses into (provider, model) candidates, in the order it is to be tried."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmroute.model import AUTO, Candidate, Named, Order, Profile, Selector, Use

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Group:
    """The candidates of one entry of ``use``, and how they are ordered among themselves at each decision.

    Attributes:
        candidates: as declared, or by cost.
        weights: of ``candidates``, for ``Order.WEIGHTED``.
    """

    candidates: tuple[Candidate, ...]
    order: Order = Order.DECLARED
    weights: tuple[float, ...] = ()

    @property
    def is_settled(self) -> bool:
        """Whether the order is the same at every decision."""
        return len(self.candidates) < 2 or self.order in {Order.DECLARED, Order.COST}  # noqa: PLR2004


def expand(uses: Iterable[Use], providers: Mapping[str, Profile]) -> tuple[Candidate, ...]:
    """All candidates of a rule, each once, at its first mention. Unknown provider ids give none."""
    return tuple(candidate for group in groups(uses, providers) for candidate in group.candidates)


def groups(uses: Iterable[Use], providers: Mapping[str, Profile], seen: Iterable[Candidate] = ()) -> tuple[Group, ...]:
    """The candidates of each entry; one that an earlier entry or ``seen`` has is left out. None of them is empty."""
    known = set(seen)
    found = []
    for use in uses:
        fresh = tuple(dict.fromkeys(c for c in _expand_one(use, providers) if c not in known))
        known.update(fresh)
        if fresh:
            found.append(_group(use, fresh))
    return tuple(found)


def choosable(wanted: str, providers: Mapping[str, Profile]) -> tuple[Candidate, ...]:
    """The candidates that a caller means by ``provider`` or ``provider/model``; none if there are no such ones."""
    provider, _, model = wanted.partition("/")
    profile = providers.get(provider)
    if profile is None or (model and model not in profile.models and AUTO not in profile.models):
        return ()
    return tuple(_candidates(profile, model or None))


def _group(use: Use, candidates: tuple[Candidate, ...]) -> Group:
    if isinstance(use, Named):
        return Group(candidates)
    weights = dict(use.weights)
    weighing = tuple(weights.get(str(c), weights.get(c.provider, 1.0)) for c in candidates)
    return Group(candidates, use.order, weighing if use.order is Order.WEIGHTED else ())


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
        return sorted(profiles, key=price)  # stable, so equal prices stay as declared
    return profiles


def price(profile: Profile) -> float:
    """Input and output price added: enough to order by, whatever the mix. Unknown sorts last."""
    return math.inf if profile.cost is None else profile.cost.input_per_mtok + profile.cost.output_per_mtok


def _candidates(profile: Profile, model: str | None = None) -> Iterator[Candidate]:
    models = profile.models if model is None else (model,)
    for name in models:
        yield Candidate(profile.id, name)
