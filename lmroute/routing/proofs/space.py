"""All requests that some policies can tell apart, as a space of boxes; predicates and candidates as parts of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from itertools import product as triples
from typing import TYPE_CHECKING, Any

from lmroute.model import (
    BUILT_IN,
    AllOf,
    AnyOf,
    Attributes,
    Kind,
    Not,
    Operator,
    Predicate,
    Privacy,
    Test,
)
from lmroute.routing.classes import named, overflow_at, predicates_of, tests_by_attribute
from lmroute.routing.conditions import field_of
from lmroute.routing.proofs.axes import Axis, Class, axes
from lmroute.routing.proofs.boxes import Layout, Link, absorbed
from lmroute.routing.proofs.covering import cheapest, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lmroute.model import Domain, Policy, Profile

_CAPABILITIES = ("needs_tools", "needs_vision", "needs_reasoning")
_COUNTS = ("prompt_tokens", "max_output_tokens", "total_tokens")

Boxes = list[int]
"""A union of boxes."""


MOST_BOXES = 2048
"""Boxes that a condition may take, such as eleven choices between two, all at once. Twice as many boxes take four times
as long to prove anything of, and choices multiply; nothing that people write comes near."""


class TooComplex(ValueError):
    """A condition that takes more than ``MOST_BOXES``, so that nothing is proved of its policy."""

    def __init__(self, key: tuple[str, ...] = (), name: str = "") -> None:
        self.key, self.name = key, name
        super().__init__(f"this condition of {name} takes more than {MOST_BOXES} cases, so nothing can be proved")


@dataclass(frozen=True)
class Space:
    """The requests of some policies over some providers.

    Attributes:
        axes: the fields of ``layout``, in order.
        domains: every attribute.
        always: attributes that each of the requests states, with what it states of them if nothing else is asked for.
            Their default in ``domains`` is ``None``, which no request has.
    """

    axes: tuple[Axis, ...]
    layout: Layout
    domains: dict[str, Domain]
    always: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        policies: Iterable[Policy],
        providers: Iterable[Profile],
        also: Iterable[Predicate] = (),
        always: Iterable[str] = (),
    ) -> Space:
        """The space that is cut finely enough for these policies, further predicates, and what providers can do.

        Args:
            policies: of the same attributes.
            also: the further predicates.
            always: the policies' own attributes that each of the requests states.
        """
        policies = list(policies)
        domains = {name: domain for policy in policies for name, domain in policy.domains.items()}
        asked = [predicate for policy in policies for predicate in predicates_of(policy)]
        tests = tests_by_attribute([*asked, *also])
        ends = {overflow_at(p.context_window) for p in providers if p.context_window is not None}
        read = {*tests, *_CAPABILITIES, *(_COUNTS if ends or "total_tokens" in tests else ())}
        made = tuple(
            axis
            for name in domains
            if name in read
            for axis in axes(name, domains[name], tests.get(name, ()), ends if name == "total_tokens" else ())
        )
        usual = {name: domains[name].default for name in always}
        domains |= {name: replace(domains[name], default=None) for name in always}
        return cls(made, Layout(tuple(len(axis.classes) for axis in made), _link(made)), domains, usual)

    @cached_property
    def home(self) -> int:
        """The request that states nothing."""
        return self.layout.box({number: (axis.home,) for number, axis in enumerate(self.axes)})

    @cached_property
    def _fields(self) -> dict[str, list[int]]:
        fields: dict[str, list[int]] = {}
        for number, axis in enumerate(self.axes):
            fields.setdefault(axis.attribute, []).append(number)
        return fields

    @cached_property
    def assumptions(self) -> Boxes:
        """The requests of which it is an assumption that there are any: with texts that no example was found of."""
        fields = {number: axis.assumed for number, axis in enumerate(self.axes) if axis.assumed}
        return [self.layout.box({number: classes}) for number, classes in fields.items()]

    def smallest(self, boxes: Iterable[int], cover: Sequence[int]) -> int | None:
        """The requests of some boxes outside a cover that state the least; assumed ones only if there are no others."""
        boxes = list(boxes)
        surely = cheapest(self.layout, boxes, [*cover, *self.assumptions], self.home)
        return surely or (cheapest(self.layout, boxes, cover, self.home) if self.assumptions else None)

    def boxes(self, predicate: Predicate, *, wanted: bool = True) -> Boxes:
        """The requests for which a predicate holds, or does not."""
        match predicate:
            case Test():
                return absorbed(self.layout, self._of_test(predicate, wanted=wanted))
            case Not(part):
                return self.boxes(part, wanted=not wanted)
            case AllOf(parts) | AnyOf(parts):
                unions = sorted((self.boxes(part, wanted=wanted) for part in parts), key=len)
                if isinstance(predicate, AllOf) is wanted:
                    return reduce(self._meeting, unions, [self.layout.everything])
                return absorbed(self.layout, _few(box for union in unions for box in union))

    def _meeting(self, boxes: Boxes, others: Boxes) -> Boxes:
        meetings = (box & other for box in boxes for other in others)
        return absorbed(self.layout, _few(filter(self.layout.inhabited, meetings)))

    def where(self, attribute: str, *values: Any) -> int:
        """The requests whose attribute has one of these values."""
        (number,) = self._fields[attribute]
        classes = self.axes[number].classes
        return self.layout.box({number: [at for at, class_ in enumerate(classes) if class_.value in values]})

    def at_least(self, attribute: str, least: int) -> int:
        """The requests whose number is this or more; a class has to begin here."""
        (number,) = self._fields[attribute]
        ranges = enumerate(self.axes[number].classes)
        return self.layout.box({number: [at for at, class_ in ranges if (class_.low or 0) >= least]})

    def _of_test(self, test: Test, *, wanted: bool) -> Iterator[int]:
        attribute = field_of(test.attribute)
        domain = self.domains[attribute]
        if domain.kind is Kind.SET:
            yield from self._of_members(self._fields.get(attribute, []), test, wanted=wanted)
            return
        (number,) = self._fields[attribute]
        classes = enumerate(self.axes[number].classes)
        yield self.layout.box({number: [at for at, class_ in classes if class_.satisfies(test, domain) is wanted]})

    def _of_members(self, numbers: list[int], test: Test, *, wanted: bool) -> Iterator[int]:
        """A test of a set: one of some members is there, or all of them are; its contrary is said of their absence.
        ``exists`` asks whether one of them is not as by default."""
        members = named(test)
        sought = {number: 1 for number in numbers if self.axes[number].member in members}
        if test.operator is Operator.CONTAINS_ALL and len(sought) < len({*members}):  # one that no request may have
            yield from () if wanted else (self.layout.everything,)
            return
        if test.operator is Operator.EXISTS:
            sought = {number: 1 - self.axes[number].home for number in numbers}
            wanted = wanted is test.operand
        if not wanted:
            sought = {number: 1 - class_ for number, class_ in sought.items()}
        if (test.operator is Operator.CONTAINS_ALL) is wanted:
            yield self.layout.box({number: (class_,) for number, class_ in sought.items()})
        else:
            yield from (self.layout.box({number: (class_,)}) for number, class_ in sought.items())

    def request(self, box: int) -> Attributes:
        """The request of a box that states the least."""
        return self._attributes(nearest(self.layout, box, self.home))

    def assumed(self, box: int) -> tuple[tuple[str, tuple[tuple[str, bool], ...]], ...]:
        """Attributes of a box's request for whose texts no example is known, with the patterns that they (do not)
        match. Whether there is such a text is an assumption."""
        point = nearest(self.layout, box, self.home)
        found = ((axis.attribute, self._class(point, number).matches) for number, axis in enumerate(self.axes))
        return tuple((attribute, matches) for attribute, matches in found if matches is not None)

    def _class(self, point: int, number: int) -> Any:
        (at,) = self.layout.classes(point, number)
        return self.axes[number].classes[at]

    def _attributes(self, point: int) -> Attributes:
        values: dict[str, Any] = {}
        for number, axis in enumerate(self.axes):
            value = self._class(point, number).value
            if axis.member is not None:  # the members that no field tells of stay as they are by default
                kept = values.get(axis.attribute, axis.domain.default)
                value = kept | {value} if self.layout.classes(point, number) == (1,) else kept - {value}
            values[axis.attribute] = value
        values |= self._tokens(point)
        own = self.always | {name: values.pop(name) for name in [*values] if name not in BUILT_IN}
        stated = {name: value for name, value in own.items() if value != self.domains[name].default}
        if "privacy" in values:
            values["privacy"] = Privacy(values["privacy"])
        return Attributes(**{k: v for k, v in values.items() if v is not None}, own=stated)

    def _tokens(self, point: int) -> dict[str, Any]:
        """Token counts that add up: as few as the classes let there be; where that is not enough, the prompt is longer,
        or the answer if it alone can be."""
        if "total_tokens" not in self._fields:
            return {}
        prompt, answer, total = (self._class(point, self._fields[name][0]) for name in _COUNTS)
        lacking = max(0, (total.low or 0) - prompt.value - answer.value)
        more = 0 if _room(prompt) < lacking <= _room(answer) else min(lacking, _room(prompt))
        return {
            "prompt_tokens": prompt.value + more,
            "max_output_tokens": answer.value + lacking - more,
            "total_tokens": None,
        }


def _few(boxes: Iterable[int]) -> Iterable[int]:
    """Boxes, each once, if they are not too many."""
    found: dict[int, None] = {}
    for box in boxes:
        found[box] = None
        if len(found) > MOST_BOXES:
            raise TooComplex
    return found


def _link(made: tuple[Axis, ...]) -> Link | None:
    """Prompt and answer make the total: the triples of ranges in which there are such numbers."""
    numbers = {axis.attribute: number for number, axis in enumerate(made)}
    if "total_tokens" not in numbers:
        return None
    first, second, third = (numbers[name] for name in _COUNTS)
    ranges = [[_ends(class_) for class_ in made[number].classes] for number in (first, second, third)]
    allowed = {
        (one, two, three)
        for (one, a), (two, b), (three, c) in triples(*(list(enumerate(ends)) for ends in ranges))
        if a[0] + b[0] <= c[1] and c[0] <= a[1] + b[1]
    }
    return Link((first, second, third), frozenset(allowed))


def _room(class_: Class) -> Any:
    return math.inf if class_.high is None else class_.high - class_.value


def _ends(class_: Class) -> tuple[float, float]:
    return class_.low or 0, math.inf if class_.high is None else class_.high
