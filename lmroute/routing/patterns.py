"""Patterns that could take for ever: judged by how they are built, before any text meets them.

Python's matcher tries one way after the other. It takes exponential time when a loop of the pattern can spell one text
in two ways, for then each round doubles the ways, and polynomial time when many loops in a row can share a text. Both
are properties of the pattern's automaton, whose states are its characters (Glushkov's construction).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

from lmroute.routing.characters import Alphabet

try:  # Python's own parse tree: not public, the same from 3.11 to 3.14; without it, nothing is held against a pattern
    from re import _parser  # type: ignore[attr-defined]
except ImportError:  # pragma: no cover
    _parser = None

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Ways: TypeAlias = Mapping[int, int]
    """States, each with the number of ways that lead to it or from it."""

LONGEST = 1000
"""Characters of the longest text that a request may have for an attribute."""

_MOST_STATES = 1000
_COPIED = 64
"""The greatest number of rounds that are followed one by one; more are as good as a loop."""
_CHOSEN = 8
"""The greatest number of rounds that may be left out, likewise."""
_STEPS = 1e9
"""What a matcher may take for the longest text: some seconds."""

_TOO_LONG = "it is too long to be judged"
_NESTED = "a repeat inside of a repeat can cut one text in ever more ways"
_AMBIGUOUS = "what is repeated can match one text in two ways"
_CHAINED = "{} repeats in a row can share one text in too many ways"


def hazard(pattern: str) -> str:
    """Why a matcher may need more time for a pattern than anybody has; empty when nothing is known against it.

    Raises re.error, OverflowError or RecursionError for what is no pattern.
    """
    if _parser is None:
        return ""  # pragma: no cover
    with warnings.catch_warnings(action="ignore"):  # of what later versions of Python may read otherwise
        tree = _parser.parse(pattern)
    automaton = _Automaton(Alphabet.of(pattern))
    try:
        automaton.build(tree, tree.state.flags)
    except _TooMany:
        return _TOO_LONG
    return _Loops(automaton).hazard


class _TooMany(Exception):
    """The automaton outgrows what can be judged."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a pattern.

    Attributes:
        empty: in how many ways it matches nothing.
        first, last: the states that it begins and ends with.
    """

    empty: int
    first: Ways = field(default_factory=dict)
    last: Ways = field(default_factory=dict)


_NOTHING = _Part(1)


@dataclass(slots=True)
class _Automaton:
    """The states of a pattern, numbered in its order, and how often each follows which.

    Attributes:
        spells: the characters of each state, as bits.
    """

    alphabet: Alphabet
    spells: list[int] = field(default_factory=list)
    follows: dict[int, dict[int, int]] = field(default_factory=dict)

    def build(self, tree: Any, flags: int) -> _Part:
        """A sequence of the parse tree."""
        whole = _NOTHING
        for operator, operand in tree:
            whole = self._then(whole, self._part(str(operator), operand, flags))
        return whole

    def _part(self, operator: str, operand: Any, flags: int) -> _Part:  # noqa: PLR0911  a row for each operator
        match operator:
            case "SUBPATTERN":
                _, added, removed, tree = operand
                return self.build(tree, (flags | added) & ~removed)
            case "BRANCH":
                return self._either([self.build(tree, flags) for tree in operand[1]])
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, tree = operand
                return self._repeated(least, most, tree, flags)
            case "AT":
                return _NOTHING
            case "ASSERT" | "ASSERT_NOT":  # judged by itself, and nothing of the text is used up
                self.build(operand[1], flags)
                return _NOTHING
            case "GROUPREF_EXISTS":
                _, then, otherwise = operand
                return self._either([self.build(then, flags), self.build(otherwise or (), flags)])
            case "GROUPREF":  # whatever the group has matched
                state = self._state(self.alphabet.any)
                return self._loop(state, 1)
            case "ATOMIC_GROUP":
                return self._at_once(operand, 1, flags)
            case "POSSESSIVE_REPEAT":
                least, most, tree = operand
                self._repeated(least, most, tree, flags)
                return self._at_once(tree, least, flags)
            case _:
                return self._state(self.alphabet.spelt(operator, operand, flags))

    def _state(self, spells: int) -> _Part:
        number = len(self.spells)
        if number >= _MOST_STATES:
            raise _TooMany
        self.spells.append(spells)
        return _Part(0, {number: 1}, {number: 1})

    def _at_once(self, tree: Any, least: int, flags: int) -> _Part:
        """What is matched in one way only, and never tried again: a single state for those around it."""
        self.build(tree, flags)
        whole = self._state(self.alphabet.any)
        return whole if least and tree.getwidth()[0] else self._either([whole, _NOTHING])

    def _repeated(self, least: int, most: int, tree: Any, flags: int) -> _Part:
        narrowest, widest = tree.getwidth()
        if most == 1 or (narrowest == widest and most <= _COPIED and most - least <= _CHOSEN):
            return self._copied(least, most, tree, flags)
        part = self.build(tree, flags)
        # Of a limited number of rounds, those that match nothing count too: any of them may be empty.
        loop = self._loop(part, 2 if part.empty and most <= LONGEST else 1)
        return _Part(part.empty if least else 1, loop.first, loop.last)

    def _copied(self, least: int, most: int, tree: Any, flags: int) -> _Part:
        whole = _NOTHING
        for number in reversed(range(most)):
            whole = self._then(self.build(tree, flags), whole)
            if number >= least:
                whole = self._either([whole, _NOTHING])
        return whole

    def _loop(self, part: _Part, ways: int) -> _Part:
        self._link(part.last, part.first, ways)
        return _Part(1, part.first, part.last)

    def _then(self, before: _Part, after: _Part) -> _Part:
        self._link(before.last, after.first, 1)
        return _Part(
            min(2, before.empty * after.empty),
            _sum(before.first, after.first, before.empty),
            _sum(after.last, before.last, after.empty),
        )

    def _either(self, parts: list[_Part]) -> _Part:
        first: Ways = {}
        last: Ways = {}
        for part in parts:
            first, last = _sum(first, part.first, 1), _sum(last, part.last, 1)
        return _Part(min(2, sum(part.empty for part in parts)), first, last)

    def _link(self, last: Ways, first: Ways, ways: int) -> None:
        for before, leaving in last.items():
            follows = self.follows.setdefault(before, {})
            for after, entering in first.items():
                follows[after] = min(2, follows.get(after, 0) + leaving * entering * ways)


def _sum(one: Ways, other: Ways, times: int) -> Ways:
    return {**one, **{state: min(2, one.get(state, 0) + ways * times) for state, ways in other.items() if times}}


class _Loops:
    """The loops of an automaton."""

    def __init__(self, automaton: _Automaton) -> None:
        self._spells = automaton.spells
        self._next = [automaton.follows.get(state, {}) for state in range(len(automaton.spells))]
        reached = [self._reached(state) for state in range(len(self._spells))]
        self._around = [
            [after for after in follows if state in reached[after]] for state, follows in enumerate(self._next)
        ]
        """Of each state, those that follow and lead back to it."""

    @property
    def hazard(self) -> str:
        """What is wrong with them."""
        if any(self._next[state][after] > 1 for state, around in enumerate(self._around) for after in around):
            return _NESTED
        return _AMBIGUOUS if self._is_ambiguous() else self._chained()

    def _reached(self, start: int) -> set[int]:
        reached: set[int] = {start} if start in self._next[start] else set()
        ahead = [start]
        while ahead:
            fresh = self._next[ahead.pop()].keys() - reached
            reached |= fresh
            ahead += fresh
        return reached

    def _is_ambiguous(self) -> bool:
        """Whether two ways around a loop spell one text: they part, and meet again."""
        ahead = {pair for around in self._around for pair in combinations(sorted(around), 2) if self._share(*pair)}
        seen = set(ahead)
        while ahead:
            one, other = ahead.pop()
            for pair in self._steps(one, other):
                if pair[0] == pair[1]:
                    return True
                if pair not in seen:
                    seen.add(pair)
                    ahead.add(pair)
        return False

    def _steps(self, one: int, other: int) -> Iterator[tuple[int, int]]:
        for a in self._around[one]:
            yield from ((min(a, b), max(a, b)) for b in self._around[other] if self._share(a, b))

    def _share(self, one: int, other: int) -> bool:
        return bool(self._spells[one] & self._spells[other])

    def _chained(self) -> str:
        """Whether too many loops of one state each can divide a text among them."""
        loops = [state for state, around in enumerate(self._around) if state in around]
        chains: dict[
            int, tuple[float, int]
        ] = {}  # the logarithm of the ways to end there, and how many loops lead to it
        for loop in loops:
            before = [(ways, count, apart) for state, (ways, count) in chains.items()
                      if (apart := self._apart(state, loop))]  # fmt: skip
            longer = [(ways + math.log(LONGEST / apart), count + 1) for ways, count, apart in before]
            ways, count = chains[loop] = max(longer, default=(math.log(LONGEST), 1))
            if ways - math.lgamma(count + 1) > math.log(_STEPS):
                return _CHAINED.format(count)
        return ""

    def _apart(self, one: int, other: int) -> int:
        """How many characters lead from a loop to another one, of those that both can spell; 0 when none do."""
        shared = self._spells[one] & self._spells[other]
        if not shared:
            return 0
        edge, seen, steps = {one}, {one}, 0
        while edge:
            steps += 1
            ahead = {after for state in edge for after in self._next[state] if self._spells[after] & shared}
            if other in ahead:
                return steps
            edge = ahead - seen
            seen |= edge
        return 0
