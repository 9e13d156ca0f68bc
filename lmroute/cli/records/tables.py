"""Usage for people: what it all comes to, a table, what failed, and what is missing in it."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.cli.output import table
from lmroute.cli.records import BUSY, NONE_YET, where
from lmroute.telemetry.usage.cells import EXACT
from lmroute.telemetry.usage.chart import BARS, PLAIN_BARS, sparkline

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from lmroute.telemetry.index import Ingested
    from lmroute.telemetry.usage.answers import Asked, Row, Series, Usage

_SHOWN = 40
_LONGEST_WORD = 40
_LEAST_USD = 1e-4
_RECORDS = "records"  # the sink that writes what is read here; the others get the same, and send it elsewhere
_WHOLE_MS = 10  # from here on nobody wants decimals
_NO_WORD = {"provider": "(nobody)", "model": "(nobody)", "errorCode": "(none)", "task": "(none)", "rule": "(none)"}


def lines(usage: Usage, series: Series, told: Ingested, arguments: argparse.Namespace) -> Iterator[str]:
    """All of it."""
    if usage.totals.calls:
        yield from _totals(usage, series, arguments)
        yield ""
        yield from _rows(usage)
    else:
        yield from _nothing(usage, told, arguments)
    if is_failed(usage):
        yield from _attempts(usage.attempts)
    if found := [*notes(usage)]:
        yield from ("", *found)


def _nothing(usage: Usage, told: Ingested, arguments: argparse.Namespace) -> Iterator[str]:
    if is_failed(usage) and arguments.provider:
        whose = "its attempts are" if len(arguments.provider) == 1 else "their attempts are"
        yield f"{', '.join(_word(name, 'provider') for name in arguments.provider)} answered none; {whose} below"
    elif is_failed(usage):
        yield "no such calls are recorded, but such attempts:"
    elif told.is_busy:
        yield BUSY
    elif arguments.paths:
        yield f"there are no such calls in {', '.join(map(str, arguments.paths))}"
    elif arguments.since or arguments.until or where(arguments):
        yield "no such calls are recorded; 'lmroute usage' without options tells of all that are"
    else:
        yield from NONE_YET


def _totals(usage: Usage, series: Series, arguments: argparse.Namespace) -> Iterator[str]:
    totals, about = usage.totals, _about(usage)
    spark = sparkline([point.calls for point in series.points], BARS if _holds(BARS) else PLAIN_BARS)
    # Where no end is asked for, the minute that begins then is not of the calls that were looked at.
    until = usage.until if arguments.until or not usage.until else usage.until - timedelta(minutes=1)
    yield f"{_several(totals.calls, 'call')} {_range(usage.since, until)}  {spark}"
    ended = f"{totals.ok:,} ok, {totals.errors:,} failed, {totals.cancelled:,} cancelled"
    took = f"half within {_ms(totals.p50_ms, about)} ms, 95 % within {_ms(totals.p95_ms, about)} ms"
    yield f"{ended}, {totals.fallbacks:,} answered by a fallback; {took}"
    tokens = f"tokens: {_tokens(totals.input_tokens)} in, {_tokens(totals.output_tokens)} out"
    yield tokens + (f" (not told for {_several(totals.untold, 'call')})" if totals.untold else "")
    yield f"cost: {_money(totals)}{_reservations(totals)}"


def _reservations(totals: Row) -> str:
    told = [
        f"not known for {_several(totals.unpriced, 'call')}" if totals.unpriced else "",
        f"{_several(totals.free, 'local call')} at $0" if totals.free else "",
        "" if totals.local_share is None else f"{totals.local_share:.0%} answered locally",
    ]
    return "".join(f"; {each}" for each in told if each)


def _rows(usage: Usage) -> Iterator[str]:
    about = _about(usage)
    heads = ("calls", "failed", "cancelled", "fallbacks", "p50 ms", "p95 ms", "first token", "in", "out", "cost")
    cells = [(*usage.by, *heads)]
    for row in usage.rows[:_SHOWN]:
        words = (_word(word, name) for name, word in row.key.items())
        counts = (row.calls, row.errors, row.cancelled, row.fallbacks)
        times = (_ms(ms, about) for ms in (row.p50_ms, row.p95_ms, row.first_token_p50_ms))
        tokens = (_tokens(row.input_tokens), _tokens(row.output_tokens))
        cells.append((*words, *(f"{count:,}" for count in counts), *times, *tokens, _money(row)))
    yield from table(_right(cells, first=len(usage.by)))
    if len(usage.rows) > _SHOWN:
        yield f"... and {len(usage.rows) - _SHOWN:,} more rows; --json and --csv have all"
    yield from _errors(usage.rows)


def _errors(rows: Sequence[Row]) -> Iterator[str]:
    cells = [
        (f"{count:,}", _word(code, ""), ", ".join(_word(word, n) for n, word in row.key.items()), _asked(row, code))
        for row in rows[:_SHOWN]
        for code, count in row.error_codes.items()
    ]
    if cells:
        yield from ("", "calls that were not answered, and why:")
        yield from table(_right([*cells], first=0, last=1), "  ")


def _asked(row: Row, code: str) -> str:
    asked = ", ".join(f"{_word(who, 'provider')} {count:,}" for who, count in row.asked_last.get(code, {}).items())
    return f"asked last: {asked}" if asked else ""


def is_failed(usage: Usage) -> bool:
    """Whether an attempt failed. Then they are shown: a provider that always is saved is in no other row."""
    return any(each.failed for each in usage.attempts)


def _attempts(attempts: Sequence[Asked]) -> Iterator[str]:
    cells: list[tuple[str, ...]] = [("provider", "attempts", "failed", "saved by a fallback or retry", "with")]
    for each in attempts[:_SHOWN]:
        codes = ", ".join(f"{_word(code, '')} {count:,}" for code, count in each.error_codes.items())
        numbers = (each.attempts, each.failed, each.saved)
        cells.append((_word(each.provider, "provider"), *(f"{number:,}" for number in numbers), codes))
    yield from ("", "attempts, those that failed included:")
    yield from table(_right(cells, first=1, last=4), "  ")


def notes(usage: Usage) -> Iterator[str]:
    """What is to be known about the numbers: how near they are, and what is missing in them."""
    if usage.is_approximate:
        yield f"latencies (~) are within {usage.within:.1%}: beyond {EXACT:,} calls they are counted in buckets"
    for sink, count in usage.lost.items():
        lost = _several(count, "record")
        if sink == _RECORDS:
            yield f"lost: {lost} could not be written, so what is told here is too little"
        else:
            yield f"{lost} not sent to {_word(sink, '')} (the records here are complete)"
    if usage.left_out:
        yield f"left out, of all files: {', '.join(_left_out(usage.left_out))}"


def _left_out(left_out: Mapping[str, int]) -> Iterator[str]:
    words = {
        "torn": ("line that is no record", "lines that are no records"),
        "misshapen": ("record of an unknown shape", "records of an unknown shape"),
        "unfinished": ("last line without an end", "last lines without an end"),
    }
    for what, count in left_out.items():
        one, many = words.get(what, (f"record of {_word(what, '')}", f"records of {_word(what, '')}"))
        yield f"{count:,} {one if count == 1 else many}"


def _right(cells: Sequence[tuple[str, ...]], *, first: int, last: int | None = None) -> list[tuple[str, ...]]:
    """The columns from ``first`` to ``last`` at the right of their width."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    columns = range(first, len(widths) if last is None else last)
    return [tuple(cell.rjust(widths[at]) if at in columns else cell for at, cell in enumerate(row)) for row in cells]


def _range(since: datetime | None, until: datetime | None) -> str:
    return f"from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC" if since and until else ""


def _about(usage: Usage) -> str:
    return "~" if usage.is_approximate else ""


def _ms(ms: float | None, about: str) -> str:
    return "-" if ms is None else f"{about}{ms:,.0f}" if ms >= _WHOLE_MS else f"{about}{ms:.1f}"


def _money(row: Row) -> str:
    if row.cost_usd is None:
        return "not known" if row.unpriced else "-"
    if 0 < row.cost_usd < _LEAST_USD:
        return f"<${_LEAST_USD:.4f}"
    return f"${row.cost_usd:,.4f}" if row.cost_usd else "$0"


def _tokens(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _word(word: str | None, name: str) -> str:
    return redact.one_line(word, _LONGEST_WORD) if word else _NO_WORD.get(name, "(unknown)")


def _holds(text: str) -> bool:
    """Whether standard output can hold a text."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _several(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
