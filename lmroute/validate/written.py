"""A policy as it is written, in a file by itself or in a composition: what rules that judge both look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from lmroute.config.keypaths import dotted, leaves, undotted
from lmroute.diagnostics import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.keypaths import KeyPath
    from lmroute.config.provenance import Locate
    from lmroute.diagnostics import Related

POLICY = "routing"
RULES_PATH = (POLICY, "rules")
"""Where the policy and its rules stand in a composed document."""

_COMBINATIONS = ("all", "any", "not")


@dataclass(frozen=True, slots=True)
class Asked:
    """One comparison in a predicate: where it stands, and ``attribute: {operator: operand}`` as it is written."""

    path: KeyPath
    attribute: str
    operator: str
    operand: Any


@dataclass(frozen=True)
class Written:
    """A policy as it is written, as far as it keeps to the schema.

    Paths are those of a composed document, ``("routing", "rules", "0", "when")``.

    Attributes:
        raw: the mapping itself, with whatever a user wrote in it.
        path: where it stands.
        place: says where a key of it was set.
        unreadable: the keys that schema findings are about, and those whose values are not known.
    """

    raw: dict[str, Any]
    path: KeyPath
    place: Locate
    unreadable: frozenset[KeyPath]

    def readable(self, path: KeyPath) -> bool:
        """Whether nothing at, below or above a path has a finding."""
        told = _told(path)
        return not any(meet(told, other) for other in self.unreadable)

    def finding(
        self, code: str, path: KeyPath, message: str, advice: str = "", *,
        at_key: bool = False, related: tuple[Related, ...] = (),
    ) -> Diagnostic:  # fmt: skip
        """A finding about what stands at a path, or about its key."""
        return Diagnostic(code, message, self.place(path, key=at_key), dotted(path), advice, related=related)

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """What the policy says of attributes, by their names."""
        declared = self.raw.get("attributes")
        return {str(name): raw for name, raw in declared.items()} if isinstance(declared, dict) else {}

    @property
    def knows_attributes(self) -> bool:
        """Whether the names of all of them are known."""
        return isinstance(self.raw.get("attributes", {}), dict)

    def listed(self, key: str) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
        """The mappings in one of its lists: ``rules``, ``guarantees`` or ``budgets``."""
        entries = self.raw.get(key)
        for index, raw in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(raw, dict):
                yield (*self.path, key, str(index)), raw

    def names(self, key: str) -> dict[KeyPath, str]:
        """The names of the mappings in one of its lists, of those that can be read, by where the mappings stand."""
        entries = self.listed(key)
        return {path: raw["name"] for path, raw in entries if "name" in raw and self.readable((*path, "name"))}

    def uses(self) -> Iterator[tuple[KeyPath, Any]]:
        """Every entry of a list of candidates: of rules, of the default, and of what callers may choose."""
        choice = self.raw.get("caller_choice")
        chosen = choice.get("use") if isinstance(choice, dict) else None
        lists = [((*path, "use"), raw.get("use")) for path, raw in self.listed("rules")]
        lists += [((*self.path, "default"), self.raw.get("default")), ((*self.path, "caller_choice", "use"), chosen)]
        for path, entries in lists:
            for index, raw in enumerate(entries if isinstance(entries, list) else ()):
                yield (*path, str(index)), raw

    def traits(self) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
        """Everything that is asked of providers: by selectors, by guarantees and by budgets."""
        asking = [((*path, "select"), raw.get("select")) for path, raw in self.uses() if isinstance(raw, dict)]
        asking += [((*path, end), raw.get(end)) for path, raw in self.listed("guarantees") for end in ("only", "never")]
        asking += [((*path, "select"), raw.get("select")) for path, raw in self.listed("budgets")]
        yield from ((path, raw) for path, raw in asking if isinstance(raw, dict))

    def predicates(self) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
        """Every ``when``: of rules, of guarantees, and of what callers may choose."""
        choice = self.raw.get("caller_choice")
        chosen = [((*self.path, "caller_choice"), choice)] if isinstance(choice, dict) else []
        for path, raw in (*self.listed("rules"), *self.listed("guarantees"), *chosen):
            if isinstance(raw.get("when"), dict):
                yield (*path, "when"), raw["when"]

    @cached_property
    def read(self) -> tuple[tuple[KeyPath, str, Any], ...]:
        """Every mention of an attribute in a predicate: where, its name, and its tests as they are written."""
        return tuple(found for path, when in self.predicates() for found in _mentions(when, path))

    @cached_property
    def asked(self) -> tuple[Asked, ...]:
        """Every comparison that can be read."""
        return tuple(
            Asked((*path, str(operator)), name, str(operator), operand)
            for path, name, tests in self.read
            for operator, operand in (tests.items() if isinstance(tests, dict) else ())
            if self.readable((*path, str(operator)))
        )


class Holder(Protocol):
    """What may hold a policy: a file by itself, a composition."""

    @property
    def written(self) -> Written | None:
        """The policy; None when there is none, or when it is not whole."""
        ...


def open_ends(raw: Any) -> Iterator[KeyPath]:
    """The keys of a file whose values are known in a composition only: ``${…}`` and ``???``."""
    return (_told(path) for path, value in leaves(raw, ()) if "${" in str(value) or value == "???")


def meet(one: KeyPath, other: KeyPath) -> bool:
    """Whether one path is the other or leads to it."""
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def _told(path: KeyPath) -> KeyPath:
    """A path as a finding's key tells it: a name may have dots and brackets of its own."""
    return undotted(dotted(path))


def _mentions(when: dict[str, Any], path: KeyPath) -> Iterator[tuple[KeyPath, str, Any]]:
    for key, value in when.items():
        here = (*path, str(key))
        if key not in _COMBINATIONS:
            yield here, str(key), value
        elif isinstance(value, dict):
            yield from _mentions(value, here)
        else:
            for index, part in enumerate(value if isinstance(value, list) else ()):
                if isinstance(part, dict):
                    yield from _mentions(part, (*here, str(index)))
