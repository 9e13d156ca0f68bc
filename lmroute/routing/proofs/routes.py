"""What a policy does with the requests of each rule: whom it asks, stage by stage, and how it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmroute.model import FALLBACK, Candidate, Order
from lmroute.routing.proofs.covering import disjoint, union_minus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.routing.policy import CompiledRule
    from lmroute.routing.proofs.boxes import Layout
    from lmroute.routing.proofs.space import Boxes
    from lmroute.routing.proofs.territory import Key, Territory
    from lmroute.routing.selectors import Group

_EXACT = 12  # decimals; proportions that are equal but for the last bits of a float are the same


@dataclass(frozen=True, slots=True)
class Step:
    """Who is asked next, of those that can serve the request.

    Attributes:
        candidates: one, or several whose order is made at each decision.
        order: by what; ``None`` for one.
        shares: their weights in proportion to the greatest.
        drawn: by which rule's name and seed lots are drawn.
    """

    candidates: tuple[Candidate, ...]
    order: Order | None = None
    shares: tuple[float, ...] = ()
    drawn: tuple[str, int] | None = None

    def told(self, other: Step | None) -> str:
        """The step in words, as it differs from another one."""
        names = [str(candidate) for candidate in self.candidates]
        match self.order:
            case None:
                return names[0]
            case Order.WEIGHTED:
                shares = (f"{name} ({share:g})" for name, share in zip(names, self.shares, strict=True))
                alike = other is not None and (other.candidates, other.shares) == (self.candidates, self.shares)
                drawn = f", drawn by rule '{self.drawn[0]}' with seed {self.drawn[1]}" if alike and self.drawn else ""
                return f"by weight one of {', '.join(shares)}{drawn}"
            case _:
                which = "the idlest" if self.order is Order.LOAD else "the quickest"
                return f"{which} of {', '.join(names)}"


@dataclass(frozen=True, slots=True)
class Stage:
    """Candidates that are ordered among themselves, each with its weight (1 where there are none) and the requests
    that it cannot serve."""

    candidates: tuple[tuple[Candidate, float, tuple[int, ...]], ...]
    order: Order | None = None
    drawn: tuple[str, int] | None = None

    def parts(self, layout: Layout, box: int) -> Iterator[tuple[int, Step | None]]:
        """A box by who of the stage can serve it; ``None`` where nobody can."""
        split: list[tuple[int, frozenset[tuple[int, ...]]]] = [(box, frozenset())]
        for unserved in dict.fromkeys(unserved for _, _, unserved in self.candidates):
            split = [
                part
                for here, able in split
                for part in (
                    *((fit, able | {unserved}) for fit in union_minus(layout, [here], unserved)),
                    *((unfit, able) for unfit in disjoint(layout, [here & other for other in unserved])),
                )
            ]
        yield from ((here, self.step(able)) for here, able in split)

    def step(self, able: frozenset[tuple[int, ...]]) -> Step | None:
        """What is left of the stage for requests that only those can serve who cannot serve these."""
        left = [(candidate, weight) for candidate, weight, unserved in self.candidates if unserved in able]
        if len(left) < 2 or self.order is None:  # noqa: PLR2004
            return Step((left[0][0],)) if left else None
        if self.order is not Order.WEIGHTED:
            return Step(tuple(candidate for candidate, _ in left), self.order)
        greatest = max(weight for _, weight in left)  # who draws does so by its own name, wherever it stands
        drawing = sorted((candidate, round(weight / greatest, _EXACT)) for candidate, weight in left)
        return Step(tuple(c for c, _ in drawing), self.order, tuple(share for _, share in drawing), self.drawn)


@dataclass(frozen=True)
class Route:
    """What a rule does with its requests; the route of those that no rule is for has no stages.

    Attributes:
        boxes, earlier: the requests that it decides, as in ``Holding``.
        taken: all boxes of the rules that are asked before it.
        manner: the failures after which it falls back, and whether it pins; they matter where there are several
            candidates.
    """

    rule: str
    key: Key
    boxes: Boxes
    earlier: Boxes
    taken: frozenset[int]
    stages: tuple[Stage, ...] = ()
    manner: tuple[frozenset[str], bool] = (frozenset(), False)

    def ahead(self, layout: Layout, box: int, at: int) -> Iterator[tuple[int, Step | None, int]]:
        """A box by who is asked next from a stage on: ``None`` when the stages are over; and the stage after that."""
        waiting = [(box, at)]
        while waiting:
            here, at = waiting.pop()
            if at == len(self.stages):
                yield here, None, at
                continue
            for part, step in self.stages[at].parts(layout, here):
                if step is None:
                    waiting.append((part, at + 1))
                else:
                    yield part, step, at + 1


def routes(territory: Territory) -> Iterator[Route]:
    """The routes of all rules, and that of no rule."""
    taken: frozenset[int] = frozenset()
    for holding in territory.holdings:
        rule = holding.rule
        unserved = {option.candidate: tuple(territory.unserved(option)) for option in rule.options}
        stages = tuple(
            stage for group in rule.groups for stage in _stages(group, rule, territory.policy.seed, unserved)
        )
        on = FALLBACK if rule.fallback_on is None else rule.fallback_on
        yield Route(rule.name, holding.key, holding.boxes, holding.earlier, taken, stages, (frozenset(on), rule.pin))
        taken = taken.union(holding.wanted)
    yield Route("", (), [territory.space.layout.everything], territory.decided, taken)


def _stages(group: Group, rule: CompiledRule, seed: int, unserved: dict[Candidate, tuple[int, ...]]) -> Iterator[Stage]:
    """A group as one stage, or each of its candidates as one where their order is settled."""
    weights = group.weights or (1.0,) * len(group.candidates)
    candidates = tuple((c, weight, unserved[c]) for c, weight in zip(group.candidates, weights, strict=True))
    if group.is_settled:
        yield from (Stage(((candidate, 1.0, boxes),)) for candidate, _, boxes in candidates)
    else:
        yield Stage(candidates, group.order, (rule.name, seed) if group.weights else None)
