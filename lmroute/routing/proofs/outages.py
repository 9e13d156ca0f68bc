"""Which requests nobody answers any more when servers are down: given ones, or any k of them.

Exact like ``verify``: for every rule and every set of its servers, the requests that some candidate on them could
serve and no other one of the rule can.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lmroute.routing.proofs.boxes import absorbed, product
from lmroute.routing.proofs.findings import Witness
from lmroute.routing.proofs.space import Space
from lmroute.routing.proofs.territory import Territory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lmroute.model import Policy, Profile
    from lmroute.routing.proofs.space import Boxes
    from lmroute.routing.proofs.territory import Holding, Key

Server = frozenset[str]
"""A server, as the ids of the profiles that it is behind."""


@dataclass(frozen=True, slots=True)
class Outage:
    """Requests of a rule that are answered, but not when these servers are down together.

    Attributes:
        down: ids of the providers on these servers that the rule uses.
        left: the candidates' providers that are still up, and cannot serve it.
    """

    key: Key
    rule: str
    down: tuple[str, ...]
    left: tuple[str, ...]
    witness: Witness


def outages(policy: Policy, providers: Mapping[str, Profile], k: int) -> Iterator[Outage]:
    """For each rule, the smallest sets of at most ``k`` servers without which some of its requests have no answer.

    A set is told if there is a request that needs just all of it: that one part of it less would still answer.
    """
    space = Space.of([policy], providers.values())
    territory = Territory.of(policy, providers, space)
    for holding in territory.holdings:
        loss = _Loss(territory, holding)
        yield from (found for down in _sets(loss.servers, k) if (found := loss.of(down, smaller=True)))


def outage(policy: Policy, providers: Mapping[str, Profile], down: Iterable[str]) -> Iterator[Outage]:
    """For each rule, the requests that have no answer while the servers of these providers are down."""
    space = Space.of([policy], providers.values())
    territory = Territory.of(policy, providers, space)
    dead = {server for name in down for server in servers(providers.values()) if name in server}
    for holding in territory.holdings:
        if found := _Loss(territory, holding).of(tuple(sorted(dead, key=sorted))):
            yield found


def refusals(policy: Policy, providers: Mapping[str, Profile]) -> Iterator[Outage]:
    """For each rule, the requests that none of its candidates can serve though every server is up."""
    territory = Territory.of(policy, providers, Space.of([policy], providers.values()))
    for holding in territory.holdings:
        if holding.key != ("default",) or policy.default:  # an empty default refuses on purpose
            loss = _Loss(territory, holding)
            if found := loss.told(loss.unserved(frozenset()), but=()):
                yield found


def servers(profiles: Iterable[Profile]) -> list[Server]:
    """Who falls together: profiles of one host and port. One without an endpoint stands for itself."""
    found: dict[tuple[str, int | None] | str, set[str]] = {}
    for profile in profiles:
        found.setdefault(_place(profile.endpoint) if profile.endpoint else profile.id, set()).add(profile.id)
    return [frozenset(ids) for ids in found.values()]


def _place(endpoint: str) -> tuple[str, int | None]:
    """Host and port of an endpoint; the names of this machine are one, and a scheme has its port."""
    parts = urlsplit(endpoint)
    host = "127.0.0.1" if parts.hostname in {"localhost", "::1"} else parts.hostname or ""
    return host, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _sets(among: list[Server], k: int) -> Iterator[tuple[Server, ...]]:
    for size in range(1, min(k, len(among)) + 1):
        yield from combinations(among, size)


@dataclass(frozen=True)
class _Loss:
    """What a rule loses with its servers. What several candidates cannot serve alike is multiplied out once."""

    territory: Territory
    holding: Holding
    known: dict[frozenset[tuple[int, ...]], Boxes] = field(default_factory=dict)

    @property
    def servers(self) -> list[Server]:
        """The servers of the rule's candidates."""
        return servers({o.profile.id: o.profile for o in self.holding.rule.options if o.profile.enabled}.values())

    def of(self, down: tuple[Server, ...], *, smaller: bool = False) -> Outage | None:
        """What is lost when these servers are down; with ``smaller``, what is not lost with fewer of them already."""
        dead = frozenset().union(*down)
        parts = combinations(down, len(down) - 1) if smaller else [()]
        spared = [box for part in parts for box in self.unserved(frozenset().union(*part))]
        return self.told(self.unserved(dead), spared, dead)

    def told(self, lost: Boxes, but: Sequence[int], dead: frozenset[str] = frozenset()) -> Outage | None:
        """The requests of the rule among those ``lost``, but for some; None if there are none."""
        space = self.territory.space
        asked = product(space.layout, [self.holding.boxes, lost]) if lost else []
        found = space.smallest(asked, [*self.holding.earlier, *but])
        if found is None:
            return None
        used = dict.fromkeys(option.profile.id for option in self.holding.rule.options if option.profile.enabled)
        return Outage(
            self.holding.key,
            self.holding.rule.name,
            tuple(name for name in used if name in dead),
            tuple(name for name in used if name not in dead),
            Witness.of(space, found),
        )

    def unserved(self, dead: frozenset[str]) -> Boxes:
        """The requests that none of the rule's candidates can serve but those of these providers."""
        alike = frozenset(self._boxes[o.profile.id] for o in self.holding.rule.options if o.profile.id not in dead)
        if () in alike:
            return []
        if alike not in self.known:
            self.known[alike] = product(self.territory.space.layout, [list(boxes) for boxes in alike])
        return self.known[alike]

    @cached_property
    def _boxes(self) -> dict[str, tuple[int, ...]]:
        """By provider, the requests that it may not or cannot serve."""
        layout, options = self.territory.space.layout, self.holding.rule.options
        return {option.profile.id: tuple(absorbed(layout, self.territory.unserved(option))) for option in options}
