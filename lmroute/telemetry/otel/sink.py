"""Calls as spans and metrics: a sink beside the one that keeps records."""

from __future__ import annotations

import atexit
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from opentelemetry.context import get_current

from lmroute.forks import Locked
from lmroute.telemetry.otel.calls import calls
from lmroute.telemetry.otel.pipeline import Pipeline
from lmroute.telemetry.otel.spans import is_suppressed, is_told_by_others, tell
from lmroute.telemetry.sinks.backlog import Backlog
from lmroute.telemetry.sinks.losses import Losses
from lmroute.telemetry.sinks.worker import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from lmroute.model import Otlp

_ABANDONED_S = 30.0
"""Nobody waits for the end of a sink that nobody knows any more."""


class Heard:
    """Records as they came: in which context of the caller's, and when. They are made when first asked for."""

    __slots__ = ("_lines", "at_ns", "context")

    def __init__(self, context: Context, lines: Iterable[dict[str, Any]]) -> None:
        self.context = context
        self.at_ns = time.time_ns()
        self._lines = lines

    def records(self) -> tuple[dict[str, Any], ...]:
        """All of them, every time."""
        lines, self._lines = self._lines, ()
        self._lines = records = tuple(lines)
        return records


class OtelSink:
    """Tells OpenTelemetry of calls, under the span that its caller is in. Nothing of it is ever waited for.

    Args:
        otlp: what to tell, and where.
        lost: told how many records (or spans, which are one each) it has lost, and its name: ``DailySink.lost``.
        tracer_provider, meter_provider: used instead of those that the application has set, or our own.

    Attributes:
        losses: what could not be told.
    """

    name = "otlp"
    never_waits = True
    """So it needs no other thread between its caller and itself, where the caller's span would be out of sight."""

    def __init__(
        self,
        otlp: Otlp,
        *,
        lost: Callable[[int, str], None] | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self.losses = losses = Losses(self.name, lost)
        self._teller = Teller(lambda: Pipeline(otlp, losses, tracer_provider, meter_provider))
        self._backlog = Backlog(self._teller, losses, count=_count)
        self._is_begun = False
        _SINKS.add(self)

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Leave some records to the thread that tells of them, with the context they belong to."""
        context = get_current()
        if is_suppressed(context):
            return
        if not self._is_begun:
            self._begin()
        self._backlog.put(Heard(context, lines))

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        """Send what waits to be sent, for that long. A later record begins anew."""
        deadline = time.monotonic() + timeout_s
        self._backlog.close(timeout_s)
        self._teller.close(max(0.0, deadline - time.monotonic()))
        self._is_begun = False
        self.losses.sum_up()

    def _begin(self) -> None:
        """Not on the thread that tells: should the process end after this very call, it could begin no more threads."""
        self._is_begun = True
        with suppress(Exception):  # the thread will meet it too, and count what it costs
            self._teller.ready()

    def __del__(self) -> None:
        if getattr(self, "_is_begun", False):  # it may not have got as far as that
            self._backlog.put(None)


class Teller(Locked):
    """What the thread does. It knows no sink, so that one that nobody knows any more can go."""

    def __init__(self, begin: Callable[[], Pipeline]) -> None:
        super().__init__()
        self._begin = begin
        self._pipeline: Pipeline | None = None
        self._pid = 0

    def __call__(self, heard: Heard | None) -> None:
        """Tell of some calls; ``None`` is the end of it."""
        if heard is None:
            self.close(_ABANDONED_S)
            return
        if self._pid != os.getpid():
            self._pid = os.getpid()
            _end_with_a_child()
        pipeline = self.ready()
        for whole in calls(heard.records(), heard.at_ns):
            call = whole if pipeline.stays_here or not whole.is_private else whole.without_content()
            inside = heard.context
            if pipeline.tracer is not None:
                inside = tell(call, pipeline.tracer, heard.context, pipeline.semconv)
            if pipeline.instruments is not None and not is_told_by_others(heard.context):
                pipeline.instruments.record(call, inside)

    def ready(self) -> Pipeline:
        """The pipeline, which is made when it is first needed: until then the application may set its own providers."""
        with self._lock:
            self._pipeline = self._pipeline or self._begin()
            return self._pipeline

    def close(self, timeout_s: float) -> None:
        """Send what was told, for that long."""
        with self._lock:
            pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.close(timeout_s)


def _count(heard: Heard | None) -> int:
    return len(heard.records()) if heard is not None else 0


_SINKS: WeakSet[OtelSink] = WeakSet()


def _end_with_process() -> None:
    deadline = time.monotonic() + PATIENCE_S
    for sink in list(_SINKS):
        sink.close(max(0.0, deadline - time.monotonic()))


def _end_with_a_child() -> None:
    """Children of ``multiprocessing`` end by a list of their own. Those of ours go before the threads of backlogs."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, _end_with_process, exitpriority=2)


atexit.register(_end_with_process)
