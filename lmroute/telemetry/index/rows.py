"""A line of JSON to the values of a row. Whatever it holds, it is a row or told to be none."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from lmroute.telemetry.events import FORMAT_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

TORN, MISSHAPEN = "torn", "misshapen"
_STATUSES = ("ok", "error", "cancelled")
_STATUS = 6  # its place among the words
_LONGEST_NAME = 1000
_MOST_TOKENS = 10**10  # more than that is no count; and millions of such must add up to what SQLite can hold
_MOST_USD = 10**4
_MOST_MS = 10**11
_NANO = 10**9  # whole numbers add up to the same sum in any order
_LATEST_MS = 253_402_300_799_999  # the end of the year 9999

Words: TypeAlias = tuple[Any, ...]
"""provider, model, type, locality, rule, task, status, error_code, cost_from: as they stand in a record."""
CallRow: TypeAlias = tuple[str, int, Words, float | None, float | None, int, int | None, int | None, int | None]
"""call, ts, words, duration, first_token, attempts, input_tokens, output_tokens, nano_usd."""
AttemptRow: TypeAlias = tuple[str, int, int, Words, str, float | None]
"""call, attempt, ts, words, asked, duration."""
LostRow: TypeAlias = tuple[str, int, str, int]
"""run, ts, sink, records."""


class NoRecord(Exception):
    """What stands in a line is no record of ours; its argument is the word for what is wrong."""


def record_in(line: bytes) -> dict[str, Any]:
    """The record of this version in a line. Raises NoRecord."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise NoRecord(TORN) from None
    if type(record) is not dict or "v" not in record:
        raise NoRecord(TORN)
    version = record["v"]
    if version != FORMAT_VERSION:
        raise NoRecord(f"version {str(version)[:20] if isinstance(version, int | str) else '?'}")
    return record


def call_row(record: Mapping[str, Any]) -> CallRow:
    """A record of kind ``call``. Raises NoRecord."""
    get = record.get
    attributes = get("attributes")
    task = attributes.get("task") if type(attributes) is dict else None
    return (
        _id(get("call")),
        moment(get("ts")),
        _words(record, task if type(task) is str else None),
        _ms(get("duration")),
        _ms(get("first_token")),
        _tokens(get("attempts")) or 0,
        _tokens(get("input_tokens")),
        _tokens(get("output_tokens")),
        _nano(get("cost_usd")),
    )


def attempt_row(record: Mapping[str, Any]) -> AttemptRow:
    """A record of kind ``attempt``. Raises NoRecord."""
    get = record.get
    number = get("attempt")
    if type(number) is not int or not 0 < number <= _MOST_TOKENS:
        raise NoRecord(MISSHAPEN)
    asked = get("asked")
    model = asked if type(asked) is str else get("model")  # older records have none; of a failed attempt it is model
    candidate = f"{get('provider')}/{model}"[:_LONGEST_NAME]
    return _id(get("call")), number, moment(get("ts")), _words(record, None), candidate, _ms(get("duration"))


def lost_row(record: Mapping[str, Any]) -> LostRow:
    """A record of kind ``lost``. Raises NoRecord."""
    count = _tokens(record.get("count"))
    if count is None:
        raise NoRecord(MISSHAPEN)
    return _word(record.get("run")) or "", moment(record.get("ts")), _word(record.get("sink")) or "records", count


def moment(ts: Any) -> int:
    """A time in RFC 3339 as milliseconds since the epoch; without a zone it is UTC. Raises NoRecord."""
    try:
        at = datetime.fromisoformat(ts)
        ms = round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        raise NoRecord(MISSHAPEN) from None
    if not 0 <= ms <= _LATEST_MS:
        raise NoRecord(MISSHAPEN)
    return ms


_NUMBERS = (int, float)


def dim_of(words: Words) -> Words:
    """The words of a record as they go into the table ``dims``. Raises NoRecord."""
    if words[_STATUS] not in _STATUSES:
        raise NoRecord(MISSHAPEN)
    return tuple(map(_word, words))


def _words(record: Mapping[str, Any], task: Any) -> Words:
    get = record.get
    return (
        get("provider"), get("model"), get("type"), get("locality"), get("rule"),
        task, get("status"), get("errorCode"), get("cost_from"),
    )  # fmt: skip


def _word(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value[:_LONGEST_NAME] if value else None
    raise NoRecord(MISSHAPEN)


def _id(value: Any) -> str:
    if type(value) is str and 0 < len(value) <= _LONGEST_NAME:
        return value
    raise NoRecord(MISSHAPEN)


def _ms(value: Any) -> float | None:
    return float(value) if type(value) in _NUMBERS and math.isfinite(value) and 0 <= value <= _MOST_MS else None


def _nano(usd: Any) -> int | None:
    return round(usd * _NANO) if type(usd) in _NUMBERS and 0 <= usd <= _MOST_USD else None


def _tokens(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None
