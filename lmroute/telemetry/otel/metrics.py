"""A logical call in metrics, under the names of v1.41 of the conventions, the next ones, or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View

from lmroute.model import Semconv
from lmroute.telemetry.otel.conventions import ERROR, OURS, TOKEN_MODALITY, TOKEN_TYPE, WHO, attributes
from lmroute.telemetry.otel.values import milliseconds, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.metrics import Counter, Histogram, Meter

    from lmroute.telemetry.otel.calls import Call
    from lmroute.telemetry.sinks.losses import Losses

DROPPED = "lmroute.telemetry.dropped"

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
LONG_SECONDS = (*SECONDS, 163.84, 327.68, 655.36)
"""Models on one's own machine take longer than any bucket that the conventions advise."""


@dataclass(frozen=True, slots=True)
class Told:
    """A histogram or a counter, and which value of a call it is told.

    Attributes:
        key: of the value in the call's record.
        extra: an attribute that every measurement of it has.
        if_ok: whether only calls count that were answered.
        if_unknown: what is told of a call whose record has no such value; ``None`` is nothing.
    """

    name: str
    key: str
    description: str
    unit: str = "{token}"
    buckets: tuple[float, ...] = ()
    extra: tuple[tuple[str, str], ...] = ()
    if_ok: bool = False
    if_unknown: int | None = None


def _seconds(name: str, key: str, description: str) -> Told:
    return Told(name, key, description, unit="s", buckets=SECONDS)


def _usage(kind: str, key: str, description: str, if_unknown: int | None = None) -> Told:
    """A sum of tokens. The kinds that there always are count for failed calls too, which have used none."""
    unknown = ((TOKEN_MODALITY, "unknown"),)
    return Told(f"gen_ai.client.inference.usage.{kind}", key, description, extra=unknown, if_unknown=if_unknown)


_FIRST = "Time to receive the first chunk of a streamed answer."
_USED = "Number of input and output tokens used."

METRICS: dict[Semconv, tuple[Told, ...]] = {
    Semconv.V1_41: (
        _seconds("gen_ai.client.operation.duration", "duration", "GenAI operation duration."),
        _seconds("gen_ai.client.operation.time_to_first_chunk", "first_token", _FIRST),
        Told("gen_ai.client.token.usage", "input_tokens", _USED, buckets=TOKENS, extra=((TOKEN_TYPE, "input"),)),
        Told("gen_ai.client.token.usage", "output_tokens", _USED, buckets=TOKENS, extra=((TOKEN_TYPE, "output"),)),
    ),
    Semconv.NEXT: (
        _seconds("gen_ai.client.inference.duration", "duration", "GenAI client inference duration."),
        _seconds("gen_ai.client.inference.time_to_first_chunk", "first_token", _FIRST),
        _usage("input_tokens", "input_tokens", "The number of input tokens used, including cached ones.", 0),
        _usage("output_tokens", "output_tokens", "The number of output tokens used, including reasoning.", 0),
        _usage("cache_read.input_tokens", "cached_tokens", "The number of input tokens read from a cache."),
        _usage("cache_write.input_tokens", "written_tokens", "The number of input tokens written to a cache."),
        _usage("reasoning.output_tokens", "reasoning_tokens", "The number of output tokens used for reasoning."),
        Told(
            "gen_ai.client.inference.operation.input_tokens",
            "input_tokens",
            "The number of input tokens used per inference operation.",
            buckets=TOKENS,
            if_ok=True,
        ),
        Told(
            "gen_ai.client.inference.operation.output_tokens",
            "output_tokens",
            "The number of output tokens used per inference operation.",
            buckets=TOKENS,
            if_ok=True,
        ),
    ),
}
METRICS[Semconv.BOTH] = (*METRICS[Semconv.V1_41], *METRICS[Semconv.NEXT])


class Instruments:
    """What calls are measured with, and what was lost of telling them."""

    def __init__(self, meter: Meter, semconv: Semconv, losses: Losses) -> None:
        self._metrics = METRICS[semconv]
        self._made = {told.name: _instrument(meter, told) for told in self._metrics}
        meter.create_observable_counter(
            DROPPED, [lambda _: [Observation(losses.dropped + losses.failures)]], "{record}", "What could not be told."
        )

    def record(self, call: Call, context: Context) -> None:
        """Measure a call. What its server did not tell is no measurement."""
        who = attributes(call.told, (*WHO, *OURS))
        error = attributes(call.told, ERROR)
        for told in self._metrics:
            value = _value(call, told)
            if value is not None:
                extra = error if told.key == "duration" else {}
                self._tell(told, value, {**who, **extra, **dict(told.extra)}, context)

    def _tell(self, told: Told, value: float, about: dict[str, Any], context: Context) -> None:
        instrument = self._made[told.name]
        measure: Any = instrument.record if told.buckets else instrument.add  # type: ignore[union-attr]
        measure(value, about, context)


def views() -> Sequence[View]:
    """Buckets for models that take minutes, in a provider of our own."""
    longer = ExplicitBucketHistogramAggregation(boundaries=LONG_SECONDS)
    names = {told.name for told in METRICS[Semconv.BOTH] if told.unit == "s"}
    return [View(instrument_name=name, aggregation=longer) for name in sorted(names)]


def _instrument(meter: Meter, told: Told) -> Histogram | Counter:
    if not told.buckets:
        return meter.create_counter(told.name, told.unit, told.description)
    return meter.create_histogram(
        told.name, told.unit, told.description, explicit_bucket_boundaries_advisory=list(told.buckets)
    )


def _value(call: Call, told: Told) -> float | None:
    if (told.if_ok and not call.is_ok) or (not call.attempts and told.if_unknown is not None):
        return None
    value = call.told.get(told.key)
    known = milliseconds(value) if told.unit == "s" else number(value)
    return told.if_unknown if known is None else known
