"""OpenTelemetry's exporters over OTLP/HTTP, with what gets lost counted and their own words about it kept to one."""

from __future__ import annotations

import logging
import os
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.exporter.otlp.proto.http import metric_exporter, trace_exporter
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from lmroute import redact
from lmroute.forks import Locked
from lmroute.logs import logger
from lmroute.telemetry.otel.transport import Connection, endpoint_of, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from lmroute.model import Otlp
    from lmroute.telemetry.sinks.losses import Losses

_log = logger("lmroute.telemetry")

_Result = TypeVar("_Result")
_said: ContextVar[list[str] | None] = ContextVar("said", default=None)


class _Listening(logging.Filter):
    """Keeps what an exporter logs for our own warning, in our own exports; those of the application log as ever."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = _said.get()
        if said is not None:
            said.append(record.getMessage())
        return said is None


for _module in (trace_exporter, metric_exporter):
    logging.getLogger(_module.__name__).addFilter(_Listening())


class SpanExporter(trace_exporter.OTLPSpanExporter, Locked):
    """Sends spans, and counts those that a collector did not take.

    Attributes:
        waiting: spans that it will be given, or was and has not sent yet.
    """

    def __init__(self, otlp: Otlp, losses: Losses) -> None:
        Locked.__init__(self)
        self.url = endpoint_of(otlp, "traces")
        self.connection = Connection(self.url, otlp.auth_token)
        super().__init__(endpoint=self.url, session=self.connection)
        self.waiting = 0
        self._losses = losses
        self._is_given_up = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result, said = _quietly(lambda: super(SpanExporter, self).export(spans), SpanExportResult.FAILURE)
        with self._lock:
            self.waiting = max(0, self.waiting - len(spans))
        if result is not SpanExportResult.SUCCESS and not self._is_given_up:
            why = redact.one_line(self.connection.failure or said)
            self._losses.drop(len(spans), f"cannot send spans to {shown(self.url)} ({why})")
        return result

    def expect(self, limit: int) -> bool:
        """Whether there is room for one more span; one for which there is none is lost."""
        with self._lock:
            is_full = self.waiting >= limit
            self.waiting += not is_full
        if is_full:
            self._losses.drop(1, f"is too slow: {limit} spans wait for {shown(self.url)}")
        return not is_full

    def give_up(self) -> None:
        """Count what still waits as lost, whatever becomes of it later."""
        with self._lock:
            self._is_given_up, waiting = True, self.waiting
        self._losses.drop(waiting, "could not send its last spans before the end")

    def _begin_in_child(self) -> None:
        super()._begin_in_child()
        self.waiting = 0  # what waits is the parent's


class Batches(BatchSpanProcessor):
    """OpenTelemetry's own, but that it never drops a span silently."""

    def __init__(self, exporter: SpanExporter) -> None:
        super().__init__(exporter)
        self._expect = exporter.expect
        self._limit = _queue_size()

    def on_end(self, span: ReadableSpan) -> None:
        if span.context and span.context.trace_flags.sampled and self._expect(self._limit):
            super().on_end(span)


class MetricExporter(metric_exporter.OTLPMetricExporter):
    """Sends metrics. Sums and histograms go on, so the next time makes up for one that failed, and nothing is lost."""

    def __init__(self, otlp: Otlp, losses: Losses) -> None:
        self.url = endpoint_of(otlp, "metrics")
        self.connection = Connection(self.url, otlp.auth_token)
        super().__init__(endpoint=self.url, session=self.connection)
        self._losses = losses
        self._has_complained = False

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **options: Any
    ) -> MetricExportResult:
        def send() -> MetricExportResult:
            return super(MetricExporter, self).export(metrics_data, timeout_millis, **options)

        result, said = _quietly(send, MetricExportResult.FAILURE)
        is_news = not self._has_complained and not self._losses.dropped  # else it was said of the spans
        if result is not MetricExportResult.SUCCESS and is_news:
            self._has_complained = True
            words = "the sink otlp cannot send metrics to %s (%s); the calls themselves go on"
            _log.warning(words, shown(self.url), redact.one_line(self.connection.failure or said))
        return result


def _quietly(export: Callable[[], _Result], failure: _Result) -> tuple[_Result, str]:
    """An export, and what the exporter said meanwhile."""
    said: list[str] = []
    token = _said.set(said)
    try:
        result = export()
    except Exception as error:  # noqa: BLE001 - the thread has to go on
        return failure, f"{type(error).__name__}: {error}"
    finally:
        _said.reset(token)
    return result, said[-1] if said else "no reason given"


def _queue_size() -> int:
    """What ``BatchSpanProcessor`` takes for its own."""
    told = os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE", "")
    return int(told) if told.isdecimal() else 2048
