"""OpenTelemetry providers of our own, which send to a collector, and how they end within a bounded time."""

from __future__ import annotations

import threading
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider

from lmroute.forks import Locked
from lmroute.telemetry.otel.exporting import Batches, MetricExporter, SpanExporter
from lmroute.telemetry.otel.metrics import views

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmroute.model import Otlp
    from lmroute.telemetry.otel.transport import Connection
    from lmroute.telemetry.sinks.losses import Losses

_NAME = "lmroute"


class Own(Locked):
    """Our providers, those that were asked for, and a thread to end them, which may hang as long as the collector does.

    The thread is begun with the first provider: at the end of a process no thread can be begun.
    """

    def __init__(self, otlp: Otlp, losses: Losses) -> None:
        super().__init__()
        self._otlp = otlp
        self._losses = losses
        self._spans: SpanExporter | None = None
        self._connections: list[Connection] = []
        self._ends: list[Callable[[], object]] = []

    def tracer_provider(self) -> TracerProvider:
        """One that sends spans in batches."""
        self._spans = SpanExporter(self._otlp, self._losses)
        provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        provider.add_span_processor(Batches(self._spans))
        self._keep(provider.shutdown, self._spans.connection)
        return provider

    def meter_provider(self) -> MeterProvider:
        """One that sends metrics once a minute, or as ``OTEL_METRIC_EXPORT_INTERVAL`` says."""
        exporter = MetricExporter(self._otlp, self._losses)
        reader = PeriodicExportingMetricReader(exporter)
        provider = MeterProvider([reader], _resource(), shutdown_on_exit=False, views=views())
        self._keep(provider.shutdown, exporter.connection)
        return provider

    def close(self, timeout_s: float) -> None:
        """Send what waits, for that long. Spans that have not arrived by then are lost."""
        if not self._ends:
            return
        self._is_ending.set()
        self._has_ended.wait(timeout_s)
        if self._spans is not None:
            self._spans.give_up()

    def _keep(self, end: Callable[[], object], connection: Connection) -> None:
        self._ends.append(end)
        self._connections.append(connection)
        if len(self._ends) == 1:
            self._await_end()

    def _await_end(self) -> None:
        self._is_ending, self._has_ended = threading.Event(), threading.Event()
        threading.Thread(target=self._end, name="lmroute otlp end", daemon=True).start()

    def _end(self) -> None:
        self._is_ending.wait()
        for connection in self._connections:
            connection.is_closing = True
        for end in self._ends:
            with suppress(Exception):  # the exporters have said what there is to say
                end()
        self._has_ended.set()

    def _begin_in_child(self) -> None:
        super()._begin_in_child()
        if self._ends:
            self._await_end()


def _resource() -> Resource:
    """Who tells. What OpenTelemetry's own variables say comes first."""
    told = Resource.create()
    if not str(told.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        return told
    return told.merge(Resource({SERVICE_NAME: _NAME, SERVICE_VERSION: version(_NAME)}))
