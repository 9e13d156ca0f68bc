"""Latencies and their percentiles: of each one, or of counted buckets when there are too many to look at each."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

_STEPS = 8  # buckets from one power of two to the next
_LOWEST, _HIGHEST = -88, 320  # less than the microsecond that records are exact to; 12 days
_BUCKETS = 512

MEASURED = ("duration", "first_token")
"""What of a call is measured: columns of the index."""

WITHIN = 2 ** (0.5 / _STEPS) - 1
"""How far off a percentile from buckets is at most, as a share of the true one: 4.4 %."""


def cell(dim: int, what: int, ms: float) -> int:
    """The number of ``MEASURED[what]``'s bucket among the calls with the same words."""
    return (dim * len(MEASURED) + what) * _BUCKETS + bucket(ms) - _LOWEST


def of_cell(number: int) -> tuple[int, int, int]:
    """The dim, what was measured and the bucket that a cell's number stands for."""
    rest, shifted = divmod(number, _BUCKETS)
    return (*divmod(rest, len(MEASURED)), shifted + _LOWEST)


def bucket(ms: float) -> int:
    """The number of a latency's bucket."""
    return max(_LOWEST, min(_HIGHEST, round(math.log2(ms) * _STEPS))) if ms > 0 else _LOWEST


def middle(number: int) -> float:
    """The latency in milliseconds that stands for those in a bucket."""
    return 2 ** (number / _STEPS) if number > _LOWEST else 0.0


@dataclass(slots=True)
class Latencies:
    """Some latencies in milliseconds: ``each`` of them, or how many are in which bucket. Never both."""

    each: list[float] = field(default_factory=list)
    buckets: Counter[int] = field(default_factory=Counter)

    def add(self, other: Latencies) -> None:
        """Take the other ones in."""
        self.each += other.each
        self.buckets.update(other.buckets)

    def percentile(self, share: float) -> float | None:
        """The one that ``share`` of them do not exceed (nearest rank); ``None`` of none.

        Of buckets it is within ``WITHIN`` of that.
        """
        if self.each:
            self.each.sort()
            return self.each[_rank(len(self.each), share) - 1]
        left = _rank(self.buckets.total(), share)
        for number in sorted(self.buckets):
            left -= self.buckets[number]
            if left <= 0:
                return middle(number)
        return None


def _rank(count: int, share: float) -> int:
    return max(1, math.ceil(round(count * share, 9)))  # rounded, as 0.07 of 100 is a little more than 7
