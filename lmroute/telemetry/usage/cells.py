"""What the index has counted, from one time to another: small sums, which ``usage`` puts together as it is asked to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from lmroute.model import Locality
from lmroute.telemetry.index.latency import Latencies, of_cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lmroute.telemetry.index import Index

NAMES = ("provider", "model", "type", "locality", "rule", "task", "status", "errorCode")
"""The words of a call, in the order of the index's table."""

Words: TypeAlias = dict[str, str | None]
Key: TypeAlias = tuple[object, ...]

EXACT = 40_000
"""So many calls can be looked at one by one for a percentile, in about 100 ms."""

_LOCAL = frozenset({Locality.EMBEDDED, Locality.LOOPBACK, Locality.PRIVATE})
_MINUTE_MS = 60_000
_END = 2**40  # a minute that never comes

_SUMS = """SELECT {slot}, dim, sum(calls), sum(fallbacks), sum(input_tokens), sum(output_tokens), sum(untold),
    sum(nano_usd), sum(priced) FROM minutes WHERE minute >= ? AND minute < ? AND {wanted} GROUP BY 1, 2"""
_EACH = "SELECT {slot}, dim, duration, first_token FROM calls WHERE ts >= ? AND ts < ? AND {wanted}"
_BUCKETS = "SELECT {slot}, cell, sum(calls) FROM latencies WHERE minute >= ? AND minute < ? GROUP BY {by}cell"
_LAST = """SELECT {slot}, dim, call_dim, sum(attempts) FROM tries WHERE minute >= ? AND minute < ? AND is_last
    GROUP BY 1, 2, 3"""
_TRIES = "SELECT dim, call_dim, sum(attempts) FROM tries WHERE minute >= ? AND minute < ? GROUP BY 1, 2"


@dataclass(slots=True)
class Sums:
    """Counts of calls; ``usage.Row`` says what they mean. ``told``: all tokens were."""

    calls: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    error_codes: Counter[str] = field(default_factory=Counter)
    fallbacks: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    told: int = 0
    untold: int = 0
    nano_usd: int = 0
    priced: int = 0
    unpriced: int = 0
    free: int = 0
    local: int = 0
    located: int = 0

    def add(self, other: Sums) -> None:
        """Take the other ones in."""
        for name in self.__slots__:
            if name in {"by_status", "error_codes"}:
                getattr(self, name).update(getattr(other, name))
            else:
                setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(slots=True)
class Tries:
    """Counts of attempts; ``usage.Asked`` says what they mean."""

    attempts: int = 0
    failed: int = 0
    cancelled: int = 0
    saved: int = 0
    error_codes: Counter[str] = field(default_factory=Counter)


class Cells:
    """What an index has of the minutes from ``low`` up to ``high``, and of the words that are wanted."""

    def __init__(self, index: Index, low: int | None, high: int | None, wanted: Mapping[str, set[str]]) -> None:
        self._index = index
        self._limits = (low, high)
        self._range = (0 if low is None else low, _END if high is None else high)
        self._words: dict[int, Words] = {0: {}}  # attempts whose call is not known
        self._free: set[int] = set()
        for number, *words, cost_from in index.rows("SELECT * FROM dims"):
            self._words[number] = dict(zip(NAMES, words, strict=True))
            if cost_from == "local":
                self._free.add(number)
        self._wanted = wanted
        self._dims = {number for number, words in self._words.items() if _are(words, wanted)}
        index.want(self._dims)
        ((self._calls,),) = index.rows(
            "SELECT coalesce(sum(calls), 0) FROM minutes WHERE minute >= ? AND minute < ?", self._range
        )

    @property
    def is_approximate(self) -> bool:
        """Whether there are too many calls to look at each."""
        return bool(self._calls > EXACT)

    def bounds(self) -> tuple[int | None, int | None]:
        """The first minute and the one after the last: the limits, else those of the calls that there are."""
        low, high = self._limits
        sql = "SELECT min(minute), max(minute) + 1 FROM minutes WHERE minute >= ? AND minute < ? AND {wanted}"
        ((first, end),) = self._rows(sql, None, self._range)
        return (first if low is None else low), (end if high is None else high)

    def sums(self, step: int | None) -> Iterator[tuple[int, Words, Sums]]:
        """Counts by stretches of so many minutes (else all in one, which begins at 0) and by words."""
        for slot, dim, calls, fallbacks, into, out, untold, nano_usd, priced in self._rows(_SUMS, step, self._range):
            words = self._words[dim]
            is_answered = words["status"] == "ok"
            yield (
                slot,
                words,
                Sums(
                    calls,
                    Counter({words["status"] or "": calls}),
                    Counter({words["errorCode"]: calls} if words["errorCode"] else {}),
                    fallbacks,
                    into,
                    out,
                    told=calls - untold,
                    untold=untold if is_answered else 0,
                    nano_usd=nano_usd,
                    priced=priced,
                    unpriced=0 if words["status"] == "error" else calls - priced,
                    free=calls if dim in self._free else 0,
                    local=calls if is_answered and words["locality"] in _LOCAL else 0,
                    located=calls if is_answered and words["locality"] else 0,
                ),
            )

    def latencies(self, step: int | None) -> Iterator[tuple[int, Words, Latencies, Latencies]]:
        """Durations and times to the first token, by the same."""
        found: dict[tuple[int, int], tuple[Latencies, Latencies]] = {}
        if self.is_approximate:
            for slot, cell, calls in self._rows(_BUCKETS, step, self._range):
                dim, what, bucket = of_cell(cell)
                if dim in self._dims:
                    pair = found.setdefault((slot, dim), (Latencies(), Latencies()))
                    pair[what].buckets[bucket] += calls
        else:
            times = [minute * _MINUTE_MS for minute in self._range]
            for slot, dim, duration, first_token in self._rows(_EACH, step, times, f"ts / {_MINUTE_MS}"):
                pair = found.setdefault((slot, dim), (Latencies(), Latencies()))
                if duration is not None:
                    pair[0].each.append(duration)
                if first_token is not None:
                    pair[1].each.append(first_token)
        for (slot, dim), pair in found.items():
            yield slot, self._words[dim], *pair

    def asked_last(self, step: int | None) -> Iterator[tuple[int, Words, str, int]]:
        """Who was asked last in calls that were not answered, by stretches of time and by the words of those calls."""
        for slot, dim, call_dim, calls in self._rows(_LAST, step, self._range):
            call, asked = self._words[call_dim], self._words[dim]
            if call_dim in self._dims and call.get("status") not in {"ok", None}:
                yield slot, call, "/".join(filter(None, (asked["provider"], asked["model"]))), calls

    def tries(self) -> dict[str | None, Tries]:
        """Attempts by provider. What is wanted of them is the same as of calls, with the task of their call."""
        told: dict[str | None, Tries] = {}
        for dim, call_dim, attempts in self._index.rows(_TRIES, self._range):
            call = self._words[call_dim]
            words = self._words[dim] | {"task": call.get("task")}
            if _are(words, self._wanted):
                _count(told.setdefault(words["provider"], Tries()), words, call, attempts)
        return told

    def lost(self) -> dict[str, int]:
        """Records that could not be written, by sink."""
        times = [minute * _MINUTE_MS for minute in self._range]
        sql = "SELECT sink, sum(records) FROM lost WHERE ts >= ? AND ts < ? GROUP BY sink"
        return dict(self._index.rows(sql, times))

    def left_out(self) -> dict[str, int]:
        """Lines of all files that are no record, by what is wrong with them; ``unfinished`` are the last of a file."""
        told = dict(self._index.rows("SELECT what, sum(lines) FROM left_out GROUP BY what ORDER BY what"))
        ((unfinished,),) = self._index.rows("SELECT count(*) FROM files WHERE size > read")
        return told | ({"unfinished": unfinished} if unfinished else {})

    def _rows(self, sql: str, step: int | None, values: Sequence[int], minute: str = "minute") -> list[tuple[Any, ...]]:
        slot = "0" if step is None else f"{minute} / {step} * {step}"
        wanted = "dim IN (SELECT id FROM wanted)" if self._wanted else "1"
        return self._index.rows(sql.format(slot=slot, wanted=wanted, by="" if step is None else "1, "), values)


def _are(words: Words, wanted: Mapping[str, set[str]]) -> bool:
    return all(words.get(name) in values for name, values in wanted.items())


def _count(told: Tries, words: Words, call: Words, attempts: int) -> None:
    told.attempts += attempts
    if words["status"] == "cancelled":
        told.cancelled += attempts
    elif words["status"] == "error":
        told.failed += attempts
        told.saved += attempts if call.get("status") == "ok" else 0
        told.error_codes[words["errorCode"] or "?"] += attempts
