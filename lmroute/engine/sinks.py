"""Where an LM's records go: the caller's own sink, the user's folder of records, a collector of spans and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.telemetry.sinks.daily import DailySink, events_folder
from lmroute.telemetry.sinks.lines import LinesSink
from lmroute.telemetry.sinks.queued import QueuedSink
from lmroute.telemetry.sinks.sink import NoSink, SafeSink, Tee

if TYPE_CHECKING:
    from lmroute.model import Stack
    from lmroute.telemetry.sinks.sink import Sink


def sink_of(stack: Stack, own: Sink | None = None) -> SafeSink:
    """What a configuration asks for, and the caller's own sink beside it. None of it can fail or delay a call.

    Raises:
        MissingExtra: spans and metrics are asked for, and OpenTelemetry is not installed.
    """
    telemetry = stack.telemetry
    sinks: list[Sink] = []
    daily = DailySink(events_folder(), keep_days=telemetry.keep_days) if telemetry.records else None
    if daily is not None:
        sinks.append(daily)
    told = daily.lost if daily is not None else None
    if own is not None:
        # Files are written at once, so that a crash loses nothing; of a stranger's sink nobody knows what it does.
        is_quick = isinstance(own, LinesSink | QueuedSink | NoSink) or getattr(own, "never_waits", False)
        sinks.append(own if is_quick else QueuedSink(own, lost=told))
    if telemetry.otlp is not None:
        from lmroute.telemetry.otel.sink import OtelSink  # noqa: PLC0415 - an extra, and slow to import

        sinks.append(OtelSink(telemetry.otlp, lost=told))
    return SafeSink.of(Tee(sinks) if sinks else NoSink())
