"""The latest calls of an index, and the records of one of them as they stand in its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from lmroute.errors import LmrouteError
from lmroute.telemetry.index.files import line_at
from lmroute.telemetry.usage.cells import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from lmroute.telemetry.index import Index

_COLUMNS = {name: f"d.{'error_code' if name == 'errorCode' else name}" for name in NAMES}
_CALLS = f"""SELECT c.id, c.call, c.ts, c.duration, c.input_tokens, c.output_tokens, c.nano_usd, c.attempts,
    {", ".join(_COLUMNS.values())} FROM calls c JOIN dims d ON d.id = c.dim"""  # noqa: S608 - our own words
_STEPS = """SELECT a.call, a.attempt, a.asked, a.duration, d.status, d.error_code
    FROM wanted w CROSS JOIN calls c ON c.id = w.id CROSS JOIN attempts a ON a.call = c.call JOIN dims d ON d.id = a.dim
    ORDER BY a.call, a.attempt"""
_PLACES = """SELECT f.path, a.at, a.attempt FROM attempts a JOIN files f ON f.id = a.file WHERE a.call = :call
    UNION ALL SELECT f.path, c.at, NULL FROM calls c JOIN files f ON f.id = c.file WHERE c.call = :call"""
_LISTED = 5
"""Ids that a message shows."""


@dataclass(frozen=True, slots=True)
class Step:
    """An attempt: the candidate that was asked, how long it took (ms) and how it ended."""

    asked: str
    duration: float | None
    status: str
    error_code: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """A call as the index has it.

    Attributes:
        number: grows with each call that the index takes.
        at: when it ended, milliseconds since the epoch.
        words: who answered, which rule decided, how it ended.
        steps: its attempts, in order.
    """

    number: int
    call: str
    at: int
    words: dict[str, str | None]
    duration: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    attempts: int
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a call, those of its attempts in order, and where it stands.

    ``call`` is ``None`` if that file is gone or has changed since.
    """

    call: dict[str, Any] | None
    attempts: tuple[dict[str, Any], ...]
    file: Path


def latest(
    index: Index,
    count: int | None,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    where: Mapping[str, Iterable[str]] | None = None,
    after: int = 0,
) -> list[Line]:
    """The last calls that ended, at most ``count``, oldest first. With ``after``, those the index took since then."""
    conditions, values = ["c.id > ?"] if after else ["1"], [after] if after else []
    for sign, limit in ((">=", since), ("<", until)):
        if limit is not None:
            conditions.append(f"c.ts {sign} ?")
            values.append(round(limit.timestamp() * 1000))
    if where:
        conditions.append("c.dim IN (SELECT id FROM wanted)")
    order = "+c.ts" if after else "c.ts"  # a plus keeps SQLite from walking through all calls in the order of time
    sql = f"{_CALLS} WHERE {' AND '.join(conditions)} ORDER BY {order} DESC, c.id DESC LIMIT ?"
    with index.moment():
        if where:
            index.want(_dims(index, where))
        found = index.rows(sql, (*values, -1 if count is None else count))
        return _lines(index, found[::-1])


def _dims(index: Index, where: Mapping[str, Iterable[str]]) -> list[int]:
    """The numbers of the combinations of words that are asked for."""
    chosen = {name: set(words) for name, words in where.items()}
    known = index.rows(f"SELECT d.id, {', '.join(_COLUMNS.values())} FROM dims d")  # noqa: S608 - our own words
    return [n for n, *words in known if all(words[NAMES.index(name)] in wanted for name, wanted in chosen.items())]


def newest(index: Index) -> int:
    """The number of the call that the index took last."""
    ((number,),) = index.rows("SELECT coalesce(max(id), 0) FROM calls")
    return int(number)


def one(index: Index, prefix: str) -> Line:
    """The call whose id begins so.

    Raises:
        LmrouteError: there is none, or several.
    """
    pattern = "".join(f"[{c}]" if c in "*?[" else c for c in prefix)
    found = index.rows(f"{_CALLS} WHERE c.call GLOB ? ORDER BY c.ts DESC LIMIT ?", (f"{pattern}*", _LISTED + 1))
    exact = [row for row in found if row[1] == prefix] or found
    if not exact:
        raise LmrouteError(f"there is no recorded call {prefix!r}; 'lmroute logs' shows the ids of the latest ones")
    if len(exact) > 1:
        ids = ", ".join(row[1] for row in exact[:_LISTED]) + (", …" if len(exact) > _LISTED else "")
        raise LmrouteError(f"there are several calls whose id begins with {prefix!r}: {ids}")
    with index.moment():
        return _lines(index, exact)[0]


def records_of(index: Index, call: str) -> Records:
    """The records of a call, read from where they stand."""
    found = index.rows(_PLACES, {"call": call})
    told = [(number, _record(path, at, call)) for path, at, number in found]
    attempts = sorted((number, record) for number, record in told if number is not None and record is not None)
    return Records(
        call=next((record for number, record in told if number is None), None),
        attempts=tuple(record for _, record in attempts),
        file=next((Path(path) for path, _, number in found if number is None), Path()),
    )


def _record(path: str, at: int, call: str) -> dict[str, Any] | None:
    try:
        record = orjson.loads(line_at(path, at))
    except (OSError, orjson.JSONDecodeError):
        return None
    return record if isinstance(record, dict) and record.get("call") == call else None


def _lines(index: Index, found: list[tuple[Any, ...]]) -> list[Line]:
    steps: dict[str, list[Step]] = {}
    index.want(row[0] for row in found)
    for call, _, *values in index.rows(_STEPS):
        steps.setdefault(call, []).append(Step(*values))
    return [_line(row, tuple(steps.get(row[1], ()))) for row in found]


def _line(row: tuple[Any, ...], steps: tuple[Step, ...]) -> Line:
    number, call, at, duration, input_tokens, output_tokens, nano_usd, attempts, *words = row
    named = dict(zip(NAMES, words, strict=True))
    cost = None if nano_usd is None else nano_usd / 1e9
    return Line(number, call, at, named, duration, input_tokens, output_tokens, cost, attempts, steps)
