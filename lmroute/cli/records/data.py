"""Usage for programs: a JSON document, a CSV table."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lmroute import redact

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from lmroute.telemetry.index import Ingested
    from lmroute.telemetry.usage.answers import Row, Usage

FORMAT_VERSION = "1.0"

_NUMBERS = (
    "calls", "ok", "errors", "cancelled", "fallbacks", "p50_ms", "p95_ms", "first_token_p50_ms", "input_tokens",
    "output_tokens", "untold", "cost_usd", "unpriced", "free", "local_share",
)  # fmt: skip
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")  # and their full-width forms, which some spreadsheets take for them


def document(usage: Usage, told: Ingested) -> dict[str, Any]:
    """All of it. ``index_busy``: the files were read without the index, which may know calls of files that are gone."""
    return {
        "format_version": FORMAT_VERSION,
        "since": _time(usage.since),
        "until": _time(usage.until),
        "by": list(usage.by),
        "rows": [_row(row) for row in usage.rows],
        "totals": _row(usage.totals),
        "attempts": [asdict(each) for each in usage.attempts],
        "lost": usage.lost,
        "left_out": usage.left_out,
        "index_busy": told.is_busy,
        "percentiles": {"approximate": usage.is_approximate, "within": usage.within if usage.is_approximate else 0},
    }


def csv_of(usage: Usage, *, end: str = "\r\n") -> str:
    """The rows as RFC 4180 has them, with a header. What a spreadsheet would take for a formula begins with ``'``."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=end)
    writer.writerow([*usage.by, *_NUMBERS, "approximate", "error_codes"])
    for row in usage.rows:
        numbers = (getattr(row, name) for name in _NUMBERS)
        about = "p50 and p95" if usage.is_approximate else ""
        writer.writerow([*map(_cell, row.key.values()), *numbers, about, _cell(_counts(row.error_codes))])
    return out.getvalue()


def _row(row: Row) -> dict[str, Any]:
    told = asdict(row)
    return {**told.pop("key"), **told}


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _cell(word: str | None) -> str:
    plain = redact.one_line(word or "")
    return f"'{plain}" if plain.startswith(_FORMULA) else plain


def _counts(counts: Mapping[str, int]) -> str:
    return " ".join(f"{what}={count}" for what, count in counts.items())
