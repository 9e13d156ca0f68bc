"""The words that callers may use for one policy: what they state is checked, because a rule that silently misses a
misspelt tag sends the request where it must not go."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from difflib import get_close_matches
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from lmroute.model import BOUNDABLE, BUILT_IN, Kind, shown
from lmroute.routing.classes import predicates_of, tests_by_attribute
from lmroute.routing.patterns import LONGEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lmroute.model import Attributes, Domain, Policy

_MOST = 4096
"""Answers kept; callers could otherwise state something new at every request."""

_FLOAT_BITS = sys.float_info.max_exp
"""Bits of the largest whole number that is a float as well."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a policy knows of the words that callers choose.

    Attributes:
        policy: its name, for messages.
        own: the attributes that it declares itself.
        tags, tasks: the words that it knows; ``None`` for any.
    """

    policy: str
    own: Mapping[str, Domain]
    tags: frozenset[str] | None
    tasks: frozenset[str] | None
    _known: dict[Any, str] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, policy: Policy) -> Vocabulary:
        """The vocabulary of a policy: the words that it declares; for tags, else those that its predicates mention."""
        own = {name: domain for name, domain in policy.attributes.items() if name not in BUILT_IN}
        declared = {name: policy.attributes[name].values for name in BOUNDABLE if name in policy.attributes}
        tags, tasks = declared.get("tags"), declared.get("task")
        mentioned = frozenset(_mentioned_tags(policy)) or None
        return cls(
            policy.name,
            own,
            mentioned if tags is None else frozenset(tags),
            None if tasks is None else frozenset(tasks),
        )

    def problem(self, attributes: Attributes) -> str:
        """What is wrong with what the caller states, and what would be right; empty when nothing is."""
        # Patterns never meet a text that is longer: how long they may take grows with it.
        if max(map(len, _texts(attributes))) > LONGEST:
            return "; ".join(_too_long(attributes))
        if not (attributes.tags or attributes.own or attributes.task):
            return ""
        try:
            # With its type: 1 is a number where True and 1.0 may be none, and yet they are equal.
            own = tuple((name, type(value), value) for name, value in attributes.own.items())
            key = (attributes.task, attributes.tags, own)
            known = self._known.get(key)
        except TypeError:  # a value that is a list or the like; no attribute is one
            return self._find(attributes)
        if known is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            known = self._known[key] = self._find(attributes)
        return known

    def _find(self, attributes: Attributes) -> str:
        return "; ".join(
            (
                *self._of_words("task", (attributes.task,) if attributes.task else (), self.tasks),
                *self._of_words("tag", sorted(attributes.tags), self.tags),
                *(problem for item in attributes.own.items() if (problem := self._of_own(*item))),
            )
        )

    def _of_words(self, what: str, words: Iterable[str], known: frozenset[str] | None) -> Iterator[str]:
        for word in words:
            if known is not None and word not in known:
                yield f"{what} '{word}' is none that policy '{self.policy}' knows{_instead(word, known)}"

    def _of_own(self, name: str, value: Any) -> str:
        domain = self.own.get(name)
        if domain is not None:
            return "" if (wrong := _misfit(value, domain)) is None else f"attribute '{name}' is {_quoted(value)}{wrong}"
        if name in BUILT_IN or name == "needs":
            return f"attribute '{shown(name)}' is built in, so it is not stated as one of the policy's own"
        return f"attribute '{name}' is none that policy '{self.policy}' declares{_instead(name, self.own)}"


_texts = attrgetter(*(name for name, domain in BUILT_IN.items() if domain.kind is Kind.TEXT))


def _too_long(attributes: Attributes) -> Iterator[str]:
    for name, domain in BUILT_IN.items():
        if domain.kind is Kind.TEXT and (length := len(getattr(attributes, name))) > LONGEST:
            yield f"{name} has {length} characters; it may have up to {LONGEST}"


def _mentioned_tags(policy: Policy) -> Iterator[str]:
    for test in tests_by_attribute(predicates_of(policy)).get("tags", ()):
        operand = test.operand if isinstance(test.operand, tuple) else (test.operand,)
        yield from (word for word in operand if isinstance(word, str))  # ``exists`` has a flag


def _misfit(value: Any, domain: Domain) -> str | None:
    """What is wrong with an attribute's value, as the end of a sentence; ``None`` when nothing is."""
    match domain.kind:
        case Kind.BOOL:
            return None if isinstance(value, bool) else "; it is true or false"
        case Kind.INT | Kind.FLOAT:
            return None if _is_number(value, domain) else f"; it is {_range(domain)}"
        case Kind.SET:
            return _misfit_set(value, domain)
        case _:
            return _misfit_word(value, domain)


def _quoted(value: Any) -> str:
    """A value as messages show it; sets in order, for else no two runs would show the same."""
    if isinstance(value, int) and value.bit_length() > _FLOAT_BITS:  # Python itself refuses to print the largest
        return "a number too large to reckon with"
    return f"[{', '.join(sorted(map(str, value)))}]" if isinstance(value, frozenset) else repr(value)


def _is_number(value: Any, domain: Domain) -> bool:
    kinds = (int,) if domain.kind is Kind.INT else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not _is_finite(value):
        return False
    return (domain.low is None or value >= domain.low) and (domain.high is None or value <= domain.high)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that is larger than any float
        return False


def _range(domain: Domain) -> str:
    what = "a whole number" if domain.kind is Kind.INT else "a number"
    low = "" if domain.low is None else f" from {domain.low:g}"
    return what + low + ("" if domain.high is None else f" up to {domain.high:g}")


def _misfit_word(value: Any, domain: Domain) -> str | None:
    if not isinstance(value, str):
        return "; it is a word"
    if domain.values is None or value in domain.values:
        return None
    return _instead(value, domain.values)


def _misfit_set(value: Any, domain: Domain) -> str | None:
    if not isinstance(value, frozenset):
        return "; it is a set of words"
    unknown = sorted(value - frozenset(domain.values)) if domain.values is not None else ()
    return f", and '{unknown[0]}' is none of its words{_instead(unknown[0], domain.values or ())}" if unknown else None


def _instead(word: str, known: Iterable[str]) -> str:
    """What to write instead: the nearest word, and all of them."""
    words = sorted(known)
    near = get_close_matches(word, words, 1)
    guess = f"; did you mean '{near[0]}'?" if near else "."
    return f"{guess} Known: {', '.join(words)}" if words else f"{guess} It knows none."
