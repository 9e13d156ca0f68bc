"""Where spans and metrics are made: with the application's own providers, or with ours."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics, trace

from lmroute.model import Semconv
from lmroute.telemetry.otel.conventions import SCHEMA_URL, chosen
from lmroute.telemetry.otel.metrics import Instruments
from lmroute.telemetry.otel.providers import Own
from lmroute.telemetry.otel.transport import endpoint_of, is_loopback

if TYPE_CHECKING:
    from lmroute.model import Otlp
    from lmroute.telemetry.sinks.losses import Losses

_SCOPE = "lmroute"


class Pipeline:
    """A tracer and instruments, as far as they are wanted.

    Providers that the application has set are used, unless the configuration names an endpoint: then that is meant.

    Args:
        tracer_provider, meter_provider: used in any case.

    Attributes:
        stays_here: whether spans surely do not leave this machine. Where the application's own go, nobody knows.
    """

    def __init__(
        self,
        otlp: Otlp,
        losses: Losses,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self.semconv = chosen(otlp.semconv)
        self.tracer: trace.Tracer | None = None
        self.instruments: Instruments | None = None
        self.stays_here = False
        self._own = Own(otlp, losses)
        scope: Any = (_SCOPE, version("lmroute"), SCHEMA_URL if self.semconv is Semconv.V1_41 else None)
        if otlp.spans:
            tracers = tracer_provider or _set_by_application(otlp, trace.get_tracer_provider())
            self.stays_here = tracers is None and is_loopback(endpoint_of(otlp, "traces"))
            tracers = tracers or self._own.tracer_provider()
            name, its_version, schema = scope
            self.tracer = tracers.get_tracer(name, its_version, schema_url=schema)
        if otlp.metrics:
            meters = meter_provider or _set_by_application(otlp, metrics.get_meter_provider())
            meters = meters or self._own.meter_provider()
            self.instruments = Instruments(meters.get_meter(*scope), self.semconv, losses)

    def close(self, timeout_s: float) -> None:
        """Send what waits to be sent by our own providers, for that long, and end them."""
        self._own.close(timeout_s)


def _set_by_application(otlp: Otlp, provider: Any) -> Any:
    """A global provider, if it is a real one and may be used."""
    is_stand_in = type(provider).__module__.startswith(("opentelemetry.trace", "opentelemetry.metrics"))
    return None if is_stand_in or otlp.endpoint is not None else provider
