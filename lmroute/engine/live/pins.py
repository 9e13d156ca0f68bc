"""One choice for a whole run: the candidate that answers a rule's first call answers all its later ones.

While the first call is under way the others wait for it, or a run that begins with many threads would choose twice.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from lmroute.forks import Locked

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Mapping

    from lmroute.model import Candidate, Facts


class Pins(Locked):
    """The candidates that rules are bound to. Safe to use from threads and event loops together."""

    def __init__(self) -> None:
        super().__init__()
        self._bound: dict[str, Candidate] = {}  # replaced when it changes
        self._first: dict[str, Future[None]] = {}
        self._derived: tuple[Facts, Facts] | None = None

    def added_to(self, facts: Facts) -> Facts:
        """The facts with these pins. The same object for the same facts, as long as no other rule is bound."""
        if not self._bound:
            return facts
        derived = self._derived
        if derived is None or derived[0] is not facts:
            derived = self._derived = (facts, replace(facts, pins={**self._bound, **facts.pins}))
        return derived[1]

    def claim(self, rule: str) -> Future[None] | None:
        """Become the first call of a rule: ``None``; or what to wait for until there is something new to know.

        Whoever becomes the first has to ``let_go``.
        """
        with self._lock:
            if rule in self._bound:
                return _NEWS
            if rule in self._first:
                return self._first[rule]
            first = self._first[rule] = Future()
            first.set_running_or_notify_cancel()  # it is shared, so nobody who gives up waiting may cancel it
            return None

    def bind(self, rule: str, candidate: Candidate) -> None:
        """Have all later calls of this rule go to the candidate."""
        with self._lock:
            if rule not in self._bound:
                self._bound, self._derived = {**self._bound, rule: candidate}, None
        self.let_go(rule)

    def let_go(self, rule: str) -> None:
        """The first call has ended, or is as good as that: the others may go on, the next of them as the first."""
        with self._lock:
            first = self._first.pop(rule, None)
        if first is not None:
            first.set_result(None)

    def keep(self, candidates: Mapping[str, Container[Candidate]]) -> None:
        """Forget the pins of rules that are not among these, or to candidates that their rule does not have."""
        with self._lock:
            self._bound = {rule: bound for rule, bound in self._bound.items() if bound in candidates.get(rule, ())}
            self._derived = None

    def _begin_in_child(self) -> None:
        super()._begin_in_child()
        self._first = {}  # the calls that others would wait for are the parent's


class Pinboard(Locked):
    """The pins of one ``lmroute.pin``: one set for each configuration that is asked inside."""

    def __init__(self) -> None:
        super().__init__()
        self._pins: WeakKeyDictionary[Hashable, Pins] = WeakKeyDictionary()

    def of(self, owner: Hashable) -> Pins:
        """The pins of a configuration."""
        with self._lock:
            return self._pins.setdefault(owner, Pins())


def _settled() -> Future[None]:
    future: Future[None] = Future()
    future.set_result(None)
    return future


_NEWS = _settled()
