"""What is known of calls and servers as Prometheus' metrics."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from lmroute.telemetry.index.latency import middle
from lmroute.telemetry.prometheus.text import Histogram, Metric, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lmroute.telemetry.prometheus.known import Attempts, Calls, Counts, Server

MOST_NAMES = 50
"""How many values a label has at most, ``other`` not counted."""
OTHER = "other"
STATES = ("healthy", "degraded", "throttled", "auth", "misconfigured", "blocked", "down", "unknown")
"""The words of ``providers.probe.states.State``."""
SERVING = frozenset({"healthy", "degraded"})

_ENDS = tuple(range(26, 26 + 16 * 8, 8))
"""The last of the index's latency buckets that each of ours takes: from 10 ms on, doubled up to 5 min."""
_BOUNDS_S = tuple(round(2 ** ((number + 0.5) / 8) / 1000, 6) for number in _ENDS)


def exposition(counts: Counts, servers: Iterable[Server] = ()) -> str:
    """All metrics in Prometheus' text format.

    The providers, models, rules and tasks that occurred first keep their names, and the rest is ``other``: so nothing
    moves from one name to another between two scrapes.
    """
    return text_of(
        [
            _begin(counts.since),
            *_of_calls(counts.calls),
            _of_attempts(counts.attempts),
            *_of_servers(servers),
            _of_lost(counts.lost),
        ]
    )


def _begin(since: float) -> Metric:
    name = "lmroute_counted_since_timestamp_seconds"
    metric = Metric(name, "gauge", "Since when the counters count, in seconds since the epoch: the last midnight, UTC.")
    metric.add(since)
    return metric


def _of_calls(rows: Sequence[Calls]) -> Iterator[Metric | Histogram]:
    who = ("provider", "model")
    calls = Metric(
        "lmroute_calls_total",
        "counter",
        "Calls that ended. Without a provider: nobody answered.",
        (*who, "rule", "task", "status", "error_code"),
    )
    fallbacks = Metric(
        "lmroute_fallbacks_total", "counter", "Calls tried at somebody else before.", (*who, "rule", "status")
    )
    tokens = Metric("lmroute_tokens_total", "counter", "Tokens that servers told.", (*who, "direction"))
    untold = Metric("lmroute_untold_calls_total", "counter", "Calls answered or given up, tokens not told.", who)
    usd = Metric("lmroute_cost_usd_total", "counter", "US dollars of the calls whose cost is known.", who)
    unpriced = Metric("lmroute_unpriced_calls_total", "counter", "Calls answered or given up, cost not known.", who)
    durations = Histogram(
        "lmroute_call_duration_seconds",
        "How long calls took, their attempts and pauses together. The sum is within 4.4 %.",
        (*who, "status"),
        _BOUNDS_S,
    )
    provider, model, rule, task = _Names(), _Names(), _Names(), _Names()
    for row in rows:
        by = (provider(row.provider), model(row.model))
        calls.add(row.calls, *by, rule(row.rule), task(row.task), row.status, row.error_code)
        fallbacks.add(row.fallbacks, *by, rule(row.rule), row.status)
        for number, count in row.durations.items():
            durations.add(bisect_left(_ENDS, number), count, count * middle(number) / 1000, *by, row.status)
        if row.status == "error":
            continue
        tokens.add(row.input_tokens, *by, "input")
        tokens.add(row.output_tokens, *by, "output")
        untold.add(row.untold, *by)
        usd.add(row.usd, *by)
        unpriced.add(row.calls - row.priced, *by)
    yield from (calls, fallbacks, durations, tokens, untold, usd, unpriced)


def _of_attempts(rows: Sequence[Attempts]) -> Metric:
    labels = ("provider", "model", "status", "error_code")
    metric = Metric("lmroute_attempts_total", "counter", "Attempts at a provider; a call has one or more.", labels)
    provider, model = _Names(), _Names()
    for row in rows:
        metric.add(row.attempts, provider(row.provider), model(row.model), row.status, row.error_code)
    return metric


def _of_servers(servers: Iterable[Server]) -> Iterator[Metric]:
    up = Metric("lmroute_provider_up", "gauge", "Whether a provider serves. Not there while unknown.", ("provider",))
    state = Metric("lmroute_provider_state", "gauge", "1 for the state a provider is in.", ("provider", "state"))
    checked = Metric(
        "lmroute_health_last_checked_timestamp_seconds",
        "gauge",
        "When a provider was last seen to be so, in seconds since the epoch.",
        ("provider",),
    )
    for server in servers:
        if server.state != "unknown":
            up.add(int(server.state in SERVING), server.provider)
        for word in STATES:
            state.add(int(word == server.state), server.provider, word)
        if server.last_checked is not None:
            checked.add(server.last_checked, server.provider)
    yield from (up, state, checked)


def _of_lost(lost: Mapping[str, int]) -> Metric:
    metric = Metric("lmroute_records_lost_total", "counter", "Records that a sink could not write.", ("sink",))
    for sink, count in lost.items():
        metric.add(count, sink)
    return metric


class _Names:
    """The values of one label: as they are, but no more than so many."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, name: str | None) -> str | None:
        if not name or name in self._known:
            return name
        if len(self._known) >= MOST_NAMES:
            return OTHER
        self._known.add(name)
        return name
