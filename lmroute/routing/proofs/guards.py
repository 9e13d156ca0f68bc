"""Requests that get to where a guarantee forbids, or to where nobody said that they may not."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from lmroute.model import Locality, Operator, Privacy, Test, Traits
from lmroute.routing.classes import tests_by_attribute
from lmroute.routing.policy import CALLER_CHOICE, DEFAULT, fallbacks
from lmroute.routing.proofs import words
from lmroute.routing.proofs.boxes import product
from lmroute.routing.proofs.findings import Finding, Flaw, Involved, Witness
from lmroute.routing.proofs.territory import Holding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.routing.policy import Option
    from lmroute.routing.proofs.space import Boxes
    from lmroute.routing.proofs.territory import Key, Territory

IS_PRIVATE = Test("privacy", Operator.EQ, Privacy.PRIVATE.value)


def leaks(territory: Territory) -> Iterator[Finding]:
    """Requests that a rule, a fallback, the default or a caller would send where a guarantee forbids it."""
    for at, guarantee in enumerate(territory.policy.source.guarantees):
        told = set()
        for holding in _ways(territory):
            for option in holding.rule.options:
                named = (holding.key, option.profile.id)
                if named in told or not guarantee.forbids(option.profile):
                    continue
                about, unable = territory.guarded[guarantee.name], territory.unable(option.profile)
                if found := _reaching(territory, holding, about, unable):
                    told.add(named)
                    yield _leak(territory, holding, option, found, (("guarantees", str(at)), guarantee.name))


def _ways(territory: Territory) -> list[Holding]:
    """Every way to a candidate: the rules, the default, and the caller's own choice, which no rule precedes."""
    choice = territory.policy.caller_choice
    source = territory.policy.source.caller_choice
    if choice is None or source is None:
        return list(territory.holdings)
    options = tuple(map(territory.policy.option, territory.choices))
    boxes = territory.offered
    return [*territory.holdings, Holding(replace(choice, options=options), ("caller_choice",), boxes, boxes, [])]


def _reaching(territory: Territory, holding: Holding, about: Boxes, but: Boxes) -> int | None:
    """Requests among those ``about`` that a rule decides, but for those that a candidate of it does not serve; the
    cheapest to state."""
    space = territory.space
    asked = product(space.layout, [holding.boxes, about])
    return space.smallest(asked, [*holding.earlier, *but])


def _leak(territory: Territory, holding: Holding, option: Option, box: int, guarantee: tuple[Key, str]) -> Finding:
    witness = Witness.of(territory.space, box, _chosen(holding, option))
    key, name = guarantee
    where = f"{option.candidate} ({option.profile.locality})"
    message = f"{witness.text} reaches {where}: {_way(territory, holding, option)}"
    flaw = Flaw.UNPROVED if witness.assumes else Flaw.LEAK
    return Finding(flaw, key, name, message, witness, tuple(_on_the_way(territory, holding, option)), option.candidate)


def _chosen(holding: Holding, option: Option) -> str:
    """What the caller of a witness chooses: only where that is the way."""
    return str(option.candidate) if holding.rule.name == CALLER_CHOICE else ""


def _way(territory: Territory, holding: Holding, option: Option) -> str:
    """How a request comes to a candidate, in words."""
    if holding.key == ("caller_choice",):
        return "a caller may choose it"
    if holding.key == ("default",):
        return "no rule is for it, and the default uses it"
    when = words.condition(territory.policy.source.rules[int(holding.key[1])].when)
    wins = f"rule '{holding.rule.name}' wins because {'it is for every request' if when == 'always' else when}"
    wins += " and no earlier rule holds" if holding.earlier else ""
    falls = " and then ".join(
        "on the default" if name == DEFAULT else f"on rule '{name}'" for name in _chain(territory, holding, option)[1:]
    )
    return f"{wins}; it falls back {falls}" if falls else wins


def _on_the_way(territory: Territory, holding: Holding, option: Option) -> Iterator[Involved]:
    yield Involved(holding.key, "lets a caller choose it" if holding.rule.name == CALLER_CHOICE else "decides it")
    keys = {rule.name: ("rules", str(at)) for at, rule in enumerate(territory.policy.source.rules)}
    chain = _chain(territory, holding, option)
    for falling, following in pairwise(chain):
        yield Involved((*keys[falling], "fallback"), f"falls back on '{following}'")
    if len(chain) > 1:
        yield Involved(keys.get(chain[-1], (chain[-1],)), f"uses {option.profile.id}")


def _chain(territory: Territory, holding: Holding, option: Option) -> list[str]:
    """The rules from the one that decides, by way of their fallbacks, to the one that uses a candidate."""
    source = territory.policy.source
    rule = next((rule for rule in source.rules if rule.name == holding.rule.name), None)
    chain = [holding.rule.name, *(following.name for following in fallbacks(rule, source))] if rule else [option.rule]
    return chain[: chain.index(option.rule) + 1]


def unguarded(territory: Territory) -> Iterator[Finding]:
    """Private requests that reach the cloud, though no guarantee about privacy says whom such ones may reach."""
    private = territory.space.boxes(IS_PRIVATE)
    for holding in _ways(territory):
        for option in holding.rule.options:
            if option.profile.locality is not Locality.CLOUD:
                continue
            if found := _reaching(
                territory, holding, private, [*territory.unserved(option), *_allowed(territory, option)]
            ):
                witness = Witness.of(territory.space, found, _chosen(holding, option))
                message = f"{witness.text} reaches {option.candidate} (cloud): {_way(territory, holding, option)}"
                involved = tuple(_on_the_way(territory, holding, option))
                yield Finding(
                    Flaw.UNGUARDED, holding.key, holding.rule.name, message, witness, involved, option.candidate
                )
                return


def _allowed(territory: Territory, option: Option) -> Boxes:
    """The requests of which a guarantee about privacy says in so many words that they may reach a candidate."""
    return [
        box
        for guarantee in territory.policy.source.guarantees
        if guarantee.only not in {None, Traits()} and not guarantee.forbids(option.profile)
        if "privacy" in tests_by_attribute([guarantee.when])
        for box in territory.guarded[guarantee.name]
    ]
