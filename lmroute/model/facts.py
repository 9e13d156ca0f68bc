"""What is known about the servers and the money at the moment of a decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lmroute.model.decision import Candidate

_K = TypeVar("_K")
_V = TypeVar("_V")


def _none() -> Mapping[_K, _V]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """A snapshot for ``decide``. Decisions are kept for as long as the same object comes in, so a change makes a new
    one; only ``load`` and ``latency_ms`` may be live, and are read at every decision.

    Attributes:
        out: candidates whose server does not answer (health, breaker), with the reason in words. They are asked all
            the same when nobody else is left.
        throttled: candidates that asked for a pause, with the reason; never asked before it is over.
        windows: context windows in tokens that were learned from the servers; they beat the profiles' own.
        spent: names of the budgets that are used up.
        pins: by rule, the candidate it is bound to.
        load: calls under way.
        latency_ms: how long a candidate takes to answer, where that is known.
    """

    out: Mapping[Candidate, str] = field(default_factory=_none)
    throttled: Mapping[Candidate, str] = field(default_factory=_none)
    windows: Mapping[Candidate, int] = field(default_factory=_none)
    spent: frozenset[str] = frozenset()
    pins: Mapping[str, Candidate] = field(default_factory=_none)
    load: Mapping[Candidate, int] = field(default_factory=_none)
    latency_ms: Mapping[Candidate, float] = field(default_factory=_none)


NOTHING_KNOWN = Facts()
"""Every server up and idle, nothing spent."""
