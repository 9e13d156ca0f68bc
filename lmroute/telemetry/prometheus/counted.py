"""Counts out of the index."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lmroute.telemetry.index.latency import MEASURED, of_cell
from lmroute.telemetry.prometheus.known import Attempts, Calls, Counts

if TYPE_CHECKING:
    from lmroute.telemetry.index import Index

_MINUTE_S = 60
_CALLS = """SELECT m.dim, d.provider, d.model, d.rule, d.task, d.status, d.error_code, sum(m.calls), sum(m.fallbacks),
    sum(m.input_tokens), sum(m.output_tokens), sum(m.untold), sum(m.nano_usd) / 1e9, sum(m.priced)
    FROM minutes m JOIN dims d ON d.id = m.dim WHERE m.minute >= ? GROUP BY m.dim ORDER BY min(m.minute), m.dim"""
_CELLS = "SELECT cell, sum(calls) FROM latencies WHERE minute >= ? GROUP BY cell"
_ATTEMPTS = """SELECT d.provider, d.model, d.status, d.error_code, sum(t.attempts)
    FROM tries t JOIN dims d ON d.id = t.dim WHERE t.minute >= ? GROUP BY t.dim ORDER BY min(t.minute), t.dim"""
_LOST = "SELECT sink, sum(records) FROM lost WHERE ts >= ? GROUP BY sink"


def counted(index: Index, now: float) -> Counts:
    """What the index has since the last midnight, UTC.

    A counter may only grow or begin again at 0. The index forgets old minutes, and a sum of all it has shrinks then,
    which Prometheus takes for a new beginning and counts nearly all of it twice. A day is not forgotten before it is
    over, and at midnight all counters do begin again.

    Args:
        now: seconds since the epoch.

    Raises:
        LmrouteError: the index cannot be read.
    """
    since = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    minute = (int(since) // _MINUTE_S,)
    with index.moment():
        durations: defaultdict[int, dict[int, int]] = defaultdict(dict)
        for cell, calls in index.rows(_CELLS, minute):
            dim, what, bucket = of_cell(cell)
            if MEASURED[what] == "duration":
                durations[dim][bucket] = calls
        return Counts(
            since,
            [Calls(*(*row, durations[dim])) for dim, *row in index.rows(_CALLS, minute)],
            [Attempts(*row) for row in index.rows(_ATTEMPTS, minute)],
            dict(index.rows(_LOST, (since * 1000,))),
        )
