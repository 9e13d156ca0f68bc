"""What calls cost: counts, latencies, tokens, money, errors and fallbacks, by whatever they are to be told apart by.

Everything is counted from the index's roll-ups, so times are whole minutes (UTC): ``since`` is rounded down, ``until``
up. Percentiles are of each call as long as there are not too many, and of buckets beyond that; a ``Usage`` says which.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from lmroute.telemetry.index.latency import Latencies
from lmroute.telemetry.usage.answers import Asked, Point, Row, Series, Usage
from lmroute.telemetry.usage.cells import NAMES, Cells, Key, Sums, Words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lmroute.telemetry.index import Index

__all__ = ["BY", "NAMES", "Asked", "Point", "Row", "Series", "Usage", "Where", "series", "usage"]

BY = (*NAMES, "day", "hour")
"""What calls can be told apart by. ``provider``, ``model``, ``type`` and ``locality`` are those of who answered."""

Where: TypeAlias = "Mapping[str, str | Iterable[str]]"
"""What is looked at: a word, or several that will do, by any of ``NAMES``."""

_MINUTE = 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=_MINUTE)
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=_MINUTE)
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440)


def usage(
    index: Index,
    since: datetime | None = None,
    until: datetime | None = None,
    by: str | Sequence[str] = "provider",
    where: Where | None = None,
) -> Usage:
    """What the calls from ``since`` to ``until`` come to.

    Raises:
        ValueError: ``by`` or ``where`` names what calls are not told apart by.
        LmrouteError: the index cannot be read.
    """
    names = _checked((by,) if isinstance(by, str) else tuple(by), BY)
    with index.moment():
        cells = _cells(index, since, until, where)
        step = 60 if "hour" in names else 1440 if "day" in names else None
        groups = _grouped(cells, step, _key_of(names))
        rows = [_row(dict(zip(names, key, strict=True)), group) for key, group in groups.items()]
        in_time = [name for name in names if name in {"day", "hour"}]
        rows.sort(key=lambda row: ([row.key[name] or "" for name in in_time], -row.calls, _sortable(row.key)))
        first, end = cells.bounds()
        return Usage(
            since=None if first is None else _at(first),
            until=None if end is None else _at(end),
            by=names,
            rows=tuple(rows),
            totals=_row({}, _together(groups.values())),
            attempts=_asked(cells),
            lost=cells.lost(),
            left_out=cells.left_out(),
            is_approximate=cells.is_approximate,
        )


def series(
    index: Index,
    since: datetime | None = None,
    until: datetime | None = None,
    where: Where | None = None,
    *,
    points: int = 60,
) -> Series:
    """How calls, errors and latencies went, in at most ``points`` stretches of time. Raises as ``usage`` does."""
    with index.moment():
        cells = _cells(index, since, until, where)
        first, end = cells.bounds()
        if first is None or end is None:
            return Series(1, (), is_approximate=False)
        minutes = next((step for step in _STEPS if (end - first) / step <= points - 1), -(-(end - first) // points))
        first -= first % minutes
        groups = _grouped(cells, minutes, lambda slot, _: (slot,))
        shown = (_point(at, groups.get((at,))) for at in range(first, end, minutes))
        return Series(minutes, tuple(shown), cells.is_approximate)


def _cells(index: Index, since: datetime | None, until: datetime | None, where: Where | None) -> Cells:
    wanted = {name: {words} if isinstance(words, str) else set(words) for name, words in (where or {}).items()}
    _checked(tuple(wanted), NAMES)
    low = None if since is None else int(since.timestamp() // _MINUTE)
    high = None if until is None else int(-(-until.timestamp() // _MINUTE))
    return Cells(index, low, high, wanted)


def _checked(names: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in known:
            raise ValueError(f"calls are not told apart by {name!r}, but by {', '.join(known)}")
    return names


@dataclass(slots=True)
class _Group:
    sums: Sums = field(default_factory=Sums)
    duration: Latencies = field(default_factory=Latencies)
    first_token: Latencies = field(default_factory=Latencies)
    asked_last: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, other: _Group) -> None:
        """Take the other one in."""
        self.sums.add(other.sums)
        self.duration.add(other.duration)
        self.first_token.add(other.first_token)
        for code, asked in other.asked_last.items():
            self.asked_last[code].update(asked)


def _grouped(cells: Cells, step: int | None, key_of: Callable[[int, Words], Key]) -> dict[Key, _Group]:
    groups: dict[Key, _Group] = {}
    for slot, words, sums in cells.sums(step):
        groups.setdefault(key_of(slot, words), _Group()).sums.add(sums)
    for slot, words, duration, first_token in cells.latencies(step):
        group = groups[key_of(slot, words)]
        group.duration.add(duration)
        group.first_token.add(first_token)
    for slot, words, asked, calls in cells.asked_last(step):
        groups[key_of(slot, words)].asked_last[words["errorCode"] or "?"][asked] += calls
    return groups


def _key_of(names: tuple[str, ...]) -> Callable[[int, Words], Key]:
    def key(slot: int, words: Words) -> Key:
        return tuple(_time(name, slot) if name in {"day", "hour"} else words[name] for name in names)

    return key


def _time(name: str, minute: int) -> str:
    return _at(minute).strftime("%Y-%m-%d" if name == "day" else "%Y-%m-%dT%H:00Z")


def _at(minute: int) -> datetime:
    return _EPOCH + timedelta(minutes=min(max(minute, _FIRST), _LAST))


def _together(groups: Iterable[_Group]) -> _Group:
    total = _Group()
    for group in groups:
        total.add(group)
    return total


def _row(key: dict[str, Any], group: _Group) -> Row:
    sums = group.sums
    return Row(
        key=key,
        calls=sums.calls,
        ok=sums.by_status["ok"],
        errors=sums.by_status["error"],
        cancelled=sums.by_status["cancelled"],
        error_codes=_most_first(sums.error_codes),
        asked_last={code: _most_first(asked) for code, asked in sorted(group.asked_last.items())},
        fallbacks=sums.fallbacks,
        p50_ms=_rounded(group.duration.percentile(0.5)),
        p95_ms=_rounded(group.duration.percentile(0.95)),
        first_token_p50_ms=_rounded(group.first_token.percentile(0.5)),
        input_tokens=_tokens(sums.input_tokens, sums),
        output_tokens=_tokens(sums.output_tokens, sums),
        untold=sums.untold,
        cost_usd=sums.nano_usd / 1e9 if sums.priced else None,
        unpriced=sums.unpriced,
        free=sums.free,
        local_share=sums.local / sums.located if sums.located else None,
    )


def _point(minute: int, group: _Group | None) -> Point:
    if group is None:
        return Point(_at(minute))
    return Point(
        _at(minute), group.sums.calls, group.sums.by_status["error"], _rounded(group.duration.percentile(0.95))
    )


def _tokens(count: int, sums: Sums) -> int | None:
    return count if count or sums.told or not sums.calls else None


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)  # as records have it


def _asked(cells: Cells) -> tuple[Asked, ...]:
    told = [
        Asked(provider, t.attempts, t.failed, t.cancelled, t.saved, _most_first(t.error_codes))
        for provider, t in cells.tries().items()
    ]
    return tuple(sorted(told, key=lambda asked: (-asked.failed, -asked.attempts, asked.provider or "")))


def _most_first(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _sortable(key: Mapping[str, str | None]) -> list[str]:
    return [word or "" for word in key.values()]
