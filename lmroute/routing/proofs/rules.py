"""Rules that never decide, conditions that nobody meets, requests that no rule is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.routing.policy import CALLER_CHOICE
from lmroute.routing.proofs.covering import uncovered
from lmroute.routing.proofs.findings import Finding, Flaw, Involved, Witness

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lmroute.routing.proofs.space import Boxes
    from lmroute.routing.proofs.territory import Holding, Key, Territory


def contradictions(territory: Territory) -> Iterator[Finding]:
    """Conditions that no request can meet."""
    source = territory.policy.source
    said: list[tuple[Key, str, Boxes]] = [(h.key, h.rule.name, h.wanted) for h in territory.holdings]
    said += [(("guarantees", str(at)), g.name, territory.guarded[g.name]) for at, g in enumerate(source.guarantees)]
    if source.caller_choice:
        said.append((("caller_choice",), CALLER_CHOICE, territory.offered))
    for key, name, boxes in said:
        if not boxes:
            yield Finding(Flaw.CONTRADICTION, (*key, "when"), name, "no request can meet this condition")


def covered(territory: Territory) -> Iterator[Finding]:
    """Rules that never decide, because earlier ones take all of their requests, alone or together."""
    for number, holding in enumerate(territory.holdings):
        if holding.boxes or not holding.wanted:
            continue
        takers = _takers(territory, holding, territory.holdings[:number])
        if len(takers) == 1:
            message = f"rule '{takers[0].rule.name}' takes all of its requests"
            flaw = Flaw.SHADOWED
        else:
            names = ", ".join(f"'{taker.rule.name}'" for taker in takers)
            message, flaw = f"the rules {names} together take all of its requests", Flaw.UNREACHABLE
        part = "takes all of them" if len(takers) == 1 else "takes some of them"
        involved = tuple(Involved(taker.key, f"'{taker.rule.name}' is asked first and {part}") for taker in takers)
        yield Finding(flaw, holding.key, holding.rule.name, message, involved=involved)


def _takers(territory: Territory, holding: Holding, earlier: Sequence[Holding]) -> list[Holding]:
    """The fewest of the earlier rules that cover a rule: a single one where there is one, else none could be spared."""
    layout = territory.space.layout

    def left(takers: Sequence[Holding]) -> int | None:
        return uncovered(layout, holding.wanted, [box for taker in takers for box in taker.wanted])

    if alone := next((taker for taker in earlier if left([taker]) is None), None):
        return [alone]
    needed: list[Holding] = []
    while rest := left(needed):
        needed.append(next(t for t in earlier if any(layout.inhabited(rest & box) for box in t.wanted)))
    for taker in [*needed]:
        if left(fewer := [other for other in needed if other is not taker]) is None:
            needed = fewer
    return sorted(needed, key=earlier.index)


def gaps(territory: Territory) -> Iterator[Finding]:
    """Requests that no rule is for, where the policy does not say that this is meant."""
    if territory.policy.source.default is not None:
        return
    space = territory.space
    if found := space.smallest([space.layout.everything], territory.decided):
        witness = Witness.of(space, found)
        message = f"no rule is for {witness.text}"
        yield Finding(Flaw.GAP, ("rules",), territory.policy.name, message, witness)
