"""OpenTelemetry's own DSPy instrumentor and ours, both active in one program: each call is told of once."""

import asyncio

import dspy
import pytest
from opentelemetry.instrumentation.genai.dspy import DSPyInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

from lmroute.model import Otlp, Semconv
from lmroute.telemetry.otel.metrics import SECONDS, TOKENS

THEIRS = "opentelemetry.instrumentation.genai.dspy"


@pytest.fixture
def both(telling):
    """A sink, and the instrumentor over the same providers."""
    told = telling(Otlp(semconv=Semconv.BOTH))
    instrumentor = DSPyInstrumentor()
    instrumentor.instrument(tracer_provider=told.tracers, meter_provider=told.meters)
    yield told
    instrumentor.uninstrument()


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_one_client_span_and_our_attempts_below_it(both, make, is_async):
    failing = dspy.lm15.TransportError("gone")
    stack = make.stack(make.profile("a"), make.profile("b"))
    lm = both.lm(stack, a=failing, b=make.answer("[[ ## answer ## ]]\nyes\n\n[[ ## completed ## ]]"))
    predict = dspy.Predict("question -> answer")
    with dspy.context(lm=lm), both.tracers.get_tracer("program").start_as_current_span("program"):
        predicted = asyncio.run(predict.acall(question="?")) if is_async else predict(question="?")
    assert predicted.answer == "yes"
    told = both.spans()
    (client,) = [span for span in told if span.kind is SpanKind.CLIENT]
    first, last = [span for span in told if span.name.startswith("attempt")]
    assert client.instrumentation_scope.name == THEIRS
    assert not any(name.startswith("lmroute.") for name in client.attributes)
    assert first.parent.span_id == last.parent.span_id == client.context.span_id
    assert client.start_time <= first.start_time <= last.end_time <= client.end_time
    assert "lmroute.cost.usd" not in first.attributes  # or it would be paid twice
    assert last.attributes["lmroute.cost.usd"] == 0.0
    assert last.attributes["lmroute.policy"] == "local_first"
    assert len({span.context.trace_id for span in told}) == 1


def test_the_metrics_are_theirs(both, make):
    both.lm(make.stack(), a=make.answer())("hello")
    metrics = both.metrics()
    assert metrics.keys() == {
        "gen_ai.client.operation.duration",
        "gen_ai.client.token.usage",
        "lmroute.telemetry.dropped",
    }
    assert both.measured_by("gen_ai.client.operation.duration") == {THEIRS}
    (duration,) = metrics["gen_ai.client.operation.duration"].data.data_points
    assert duration.count == 1
    assert duration.explicit_bounds == SECONDS  # the same as ours
    assert metrics["gen_ai.client.token.usage"].data.data_points[0].explicit_bounds == TOKENS


def test_the_metrics_are_theirs_where_no_span_is_sampled(telling, make):
    told, instrumentor = telling(), DSPyInstrumentor()
    instrumentor.instrument(tracer_provider=TracerProvider(ALWAYS_OFF), meter_provider=told.meters)
    try:
        told.lm(make.stack(), a=make.answer())("hello")
    finally:
        instrumentor.uninstrument()
    assert told.measured_by("gen_ai.client.operation.duration") == {THEIRS}


def test_a_call_that_does_not_go_through_dspys_lm_is_ours(both, make):
    both.engine(make.stack(), a=make.answer()).complete(make.ask())
    call, _ = both.spans()
    assert (call.kind, call.instrumentation_scope.name) == (SpanKind.CLIENT, "lmroute")
    assert both.metrics()["gen_ai.client.inference.duration"].data.data_points[0].count == 1


def test_a_span_that_somebody_else_has_made_of_the_call_is_enough(telling, make):
    told = telling()
    engine, tracer = told.engine(make.stack(), a=make.answer()), told.tracers.get_tracer("somebody")
    with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
        engine.complete(make.ask())
        with tracer.start_as_current_span("chat x", attributes={"gen_ai.operation.name": "chat"}):
            engine.complete(make.ask())
    names = [span.name for span in told.spans()]
    assert names == ["agent", "chat qwen3-8b", "attempt a", "chat x", "attempt a"]
    (duration,) = told.metrics()["gen_ai.client.operation.duration"].data.data_points
    assert duration.count == 1
