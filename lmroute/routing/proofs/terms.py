"""What only one of two policies accepts, or takes for something else, by what requests state: in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmroute.model import Kind
from lmroute.routing.classes import NUMBERS, after, before
from lmroute.routing.proofs import words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.model import Domain

_KNOWS, _TAKES, _REFUSES = "knows it", "takes it", "refuses it"
_TAKES_ANY, _REFUSES_THEM = "takes any", "refuses them"


@dataclass(frozen=True, slots=True)
class Term:
    """Requests that do not mean the same to two policies.

    Attributes:
        attribute: the one by which they do not.
        what: what they state of it, or that they do not: ``tag 'eu'``.
        before, after: what each policy does about it: ``refuses it``.
    """

    attribute: str
    what: str
    before: str
    after: str


def terms(name: str, one: Domain | None, other: Domain | None) -> Iterator[Term]:
    """What only one of two policies accepts of an attribute; ``None`` where one does not declare it."""
    if one is None or other is None:
        said = [f"{'declares it' if domain else 'refuses a request that states it'}" for domain in (one, other)]
        yield Term(name, f"attribute '{name}'", *said)
    elif one.kind in NUMBERS:
        yield from (Term(name, f"{name} {part}", _TAKES, _REFUSES) for part in _beyond(one, other))
        yield from (Term(name, f"{name} {part}", _REFUSES, _TAKES) for part in _beyond(other, one))
    else:
        yield from _of_words(name, one, other)


def default_term(name: str, one: Domain, other: Domain) -> Term:
    """What a request has under each of two policies that does not state an attribute."""
    said = [f"takes {words.value(_plain(domain.default))}" for domain in (one, other)]
    return Term(name, f"{name} of a request that does not state it", *said)


def _plain(default: Any) -> Any:
    return sorted(default) if isinstance(default, frozenset) else default


def _of_words(name: str, one: Domain, other: Domain) -> Iterator[Term]:
    if one.values is None and other.values is None:
        return
    if one.values is None or other.values is None:
        known = ", ".join(sorted(one.values or other.values or ()))
        said = [_TAKES_ANY if domain.values is None else _REFUSES_THEM for domain in (one, other)]
        yield Term(name, f"{name} other than {known}" if known else name, *said)
        return
    for word in sorted({*one.values} ^ {*other.values}):
        said = [_KNOWS if word in (domain.values or ()) else _REFUSES for domain in (one, other)]
        yield Term(name, _stating(name, one.kind, word), *said)


def _stating(name: str, kind: Kind, word: str) -> str:
    if name in {"tags", "task"}:
        return f"{name.removesuffix('s')} '{word}'"
    return f"{name} with {word}" if kind is Kind.SET else f"{name}={word}"


def _beyond(one: Domain, other: Domain) -> Iterator[str]:
    """The numbers of a domain outside another one: those below it, and those above it."""
    if other.low is not None and (one.low is None or one.low < other.low):
        top = before(other.low, one)
        yield words.span(one.low, top if one.high is None else min(top, one.high))
    if other.high is not None and (one.high is None or one.high > other.high):
        least = after(other.high, one)
        yield words.span(least if one.low is None else max(least, one.low), one.high)
