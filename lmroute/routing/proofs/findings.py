"""What an analysis of a policy finds, as data: each finding with a request that shows it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lmroute.routing.proofs import words

if TYPE_CHECKING:
    from lmroute.model import Attributes, Candidate
    from lmroute.routing.proofs.space import Space
    from lmroute.routing.proofs.territory import Key


class Flaw(StrEnum):
    """The kinds of findings."""

    CONTRADICTION = "contradiction"
    """A condition that no request can meet."""
    SHADOWED = "shadowed"
    """A rule whose every request an earlier rule takes."""
    UNREACHABLE = "unreachable"
    """A rule whose every request some earlier rules take together."""
    GAP = "gap"
    """Requests that no rule is for."""
    LEAK = "leak"
    """Requests that reach a provider that a guarantee forbids; only the check at run time stops them."""
    UNPROVED = "unproved"
    """A leak of requests of which it is an assumption that there are any."""
    UNGUARDED = "unguarded"
    """Private requests that reach the cloud, and no guarantee says of such ones that they may."""
    STRANDED = "stranded"
    """Requests that no candidate of their rule can serve, though another selected provider could."""
    NEVER_TRIED = "never_tried"
    """A candidate that can serve none of its rule's requests."""
    TOO_COMPLEX = "too_complex"
    """A condition of so many cases that nothing was proved of the policy."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A request that shows a finding, the one that states the least.

    Attributes:
        stated: what it states beyond the defaults, by the names that people write; JSON-able.
        assumes: what cannot be decided and is taken to be possible, in words: that a text matches these patterns.
    """

    attributes: Attributes
    stated: dict[str, Any]
    text: str
    assumes: str = ""

    @classmethod
    def of(cls, space: Space, box: int, use: str = "") -> Witness:
        """The witness in a box, for which the caller chooses ``use`` if that is not empty."""
        attributes = replace(space.request(box), use=use)
        assumed = [
            f"{name} {'matches' if does else 'does not match'} '{pattern}'"
            for name, matches in space.assumed(box)
            for pattern, does in matches
        ]
        stated = words.stated(attributes, space.domains)
        parts = [words.request(attributes, space.domains)] if stated or not assumed else []
        return cls(attributes, stated, ", ".join([*parts, *assumed]), " and ".join(assumed))


@dataclass(frozen=True, slots=True)
class Involved:
    """A place that a finding is about, and its part in it (``takes all of its requests``)."""

    key: Key
    part: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a policy.

    Attributes:
        key: what it is about, in the policy's document: ``("rules", "2")``.
        name: the name of the rule or guarantee there.
        involved: the other places that are to blame.
        candidate: who is reached, or never tried.
    """

    flaw: Flaw
    key: Key
    name: str
    message: str
    witness: Witness | None = None
    involved: tuple[Involved, ...] = ()
    candidate: Candidate | None = None
