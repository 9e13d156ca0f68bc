"""What the conventions demand of spans, by name and type, of calls that a real engine has made."""

import json
from contextlib import closing

import pytest
from dspy import lm15
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

import lmroute
from lmroute import redact
from lmroute.model import AUTO, Cost, Locality, Otlp, Semconv, Telemetry
from lmroute.telemetry.otel.calls import calls
from lmroute.telemetry.otel.conventions import ATTEMPT, CALL, Row, attributes
from lmroute.telemetry.otel.pipeline import Pipeline
from lmroute.telemetry.otel.spans import tell
from lmroute.telemetry.sinks.losses import Losses

GONE = lm15.TransportError("gone")


def typed(span, *names):
    """Attributes with their types."""
    return {name: (type(span.attributes[name]), span.attributes[name]) for name in names}


def test_a_call_that_was_answered(telling, make):
    told = telling()
    stack = make.stack(make.profile("studio", type="lmstudio", cost=Cost()))
    usage = lm15.Usage(input_tokens=3, output_tokens=2, cache_read_tokens=1, reasoning_tokens=1)
    engine = told.engine(stack, studio=make.answer(usage=usage))
    penalties = {"frequency_penalty": 1, "presence_penalty": 0.5}
    engine.complete(make.ask(temperature=0, top_p=0.5, top_k=40, max_tokens=9, seed=7, **penalties))
    call, attempt = told.spans()
    assert (call.name, call.kind, call.status.status_code) == ("chat qwen3-8b", SpanKind.CLIENT, StatusCode.UNSET)
    assert typed(call, *(name for name in call.attributes if name.startswith(("gen_ai.", "server.", "error.")))) == {
        "gen_ai.operation.name": (str, "chat"),
        "gen_ai.provider.name": (str, "lm_studio"),
        "gen_ai.request.model": (str, "qwen3-8b"),
        "gen_ai.request.temperature": (float, 0.0),
        "gen_ai.request.top_p": (float, 0.5),
        "gen_ai.request.top_k": (float, 40.0),
        "gen_ai.request.max_tokens": (int, 9),
        "gen_ai.request.seed": (int, 7),
        "gen_ai.request.frequency_penalty": (float, 1.0),
        "gen_ai.request.presence_penalty": (float, 0.5),
        "gen_ai.response.model": (str, "answering"),
        "gen_ai.response.id": (str, "r1"),
        "gen_ai.response.finish_reasons": (tuple, ("stop",)),
        "gen_ai.usage.input_tokens": (int, 3),
        "gen_ai.usage.output_tokens": (int, 2),
        "gen_ai.usage.cache_read.input_tokens": (int, 1),
        "gen_ai.usage.reasoning.output_tokens": (int, 1),
        "server.address": (str, "127.0.0.1"),
        "server.port": (int, 1234),
    }
    ours = "lmroute.policy", "lmroute.route.name", "lmroute.profile", "lmroute.attempts", "lmroute.decision.reason"
    assert [call.attributes[name] for name in ours] == ["local_first", "everybody", "studio", 1, "rule everybody"]
    assert call.attributes["lmroute.stack"] == engine.routing.name
    assert attempt.parent.span_id == call.context.span_id
    assert (attempt.kind, attempt.attributes["lmroute.attempt"]) == (SpanKind.INTERNAL, 1)
    assert not any(name.startswith("gen_ai.") for name in attempt.attributes)
    assert call.start_time <= attempt.start_time <= attempt.end_time <= call.end_time


def test_a_fallback_is_one_call_and_two_attempts(telling, make):
    told = telling()
    cloud = make.profile("cloud", type="openai", endpoint=None, models=("gpt",), locality=Locality.CLOUD)
    told.engine(make.stack(make.profile("a"), cloud), a=GONE, cloud=make.answer()).complete(make.ask())
    call, first, second = told.spans()
    assert call.attributes["gen_ai.provider.name"] == "openai"
    assert call.attributes["lmroute.attempts"] == 2
    assert "error.type" not in call.attributes
    assert first.status.status_code is StatusCode.ERROR
    assert first.attributes["error.type"] == "transport"
    assert "lmroute.response.model" not in first.attributes
    assert second.attributes["lmroute.fallback.from"] == "a/qwen3-8b"
    assert second.status.status_code is StatusCode.UNSET
    assert first.end_time <= second.start_time


def test_a_call_that_failed(telling, make):
    told = telling()
    with pytest.raises(lm15.LM15Error):
        told.engine(make.stack(), a=GONE).complete(make.ask())
    call, _ = told.spans()
    assert call.status.status_code is StatusCode.ERROR
    assert call.attributes["error.type"] == "transport"
    assert call.attributes["gen_ai.provider.name"] == "lm_studio"
    assert call.attributes["gen_ai.request.model"] == "qwen3-8b"
    assert not {"gen_ai.response.model", "gen_ai.response.finish_reasons"} & call.attributes.keys()


def test_nobody_could_be_asked(telling, make):
    told = telling()
    with pytest.raises(lm15.LM15Error):
        told.engine(make.stack(make.profile("a", enabled=False)), a="never").complete(make.ask())
    (call,) = told.spans()
    assert (call.name, call.attributes["gen_ai.provider.name"]) == ("chat", "lmroute")
    assert call.attributes["error.type"] == "no_candidate"
    assert call.attributes["lmroute.decision.reason"] == "rule everybody; not a/qwen3-8b: disabled"
    assert call.status.description == call.attributes["lmroute.decision.reason"]


def test_a_stream(telling, make):
    told = telling()
    list(told.engine(make.stack(), a=make.events("h", "i")).stream(make.ask()))
    call, attempt = told.spans()
    assert typed(call, "gen_ai.request.stream") == {"gen_ai.request.stream": (bool, True)}
    first = call.attributes["gen_ai.response.time_to_first_chunk"]
    assert isinstance(first, float)
    assert 0 <= first <= (call.end_time - call.start_time) / 1e9
    assert isinstance(attempt.attributes["lmroute.first_token"], float)
    assert not {"gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"} & call.attributes.keys()


@pytest.mark.parametrize(("semconv", "reasons"), [("v1_41", None), ("next", ("error",)), ("both", None)])
def test_a_stream_that_its_caller_closes_is_no_error(telling, make, semconv, reasons):
    told = telling(Otlp(semconv=Semconv(semconv)))
    with closing(told.engine(make.stack(), a=make.events("h", "i")).stream(make.ask())) as stream:
        next(stream)
    call, attempt = told.spans()
    for span in (call, attempt):
        assert span.status.status_code is StatusCode.UNSET
        assert "error.type" not in span.attributes
        assert span.attributes["lmroute.status"] == "cancelled"
    assert call.attributes.get("gen_ai.response.finish_reasons") == reasons


def test_what_has_another_type_in_the_next_conventions(telling, make):
    told = telling(Otlp(semconv=Semconv.NEXT))
    told.engine(make.stack(), a=make.answer()).complete(make.ask(top_k=40))
    assert typed(told.spans()[0], "gen_ai.request.top_k") == {"gen_ai.request.top_k": (int, 40)}


def test_local_models_cost_nothing_and_say_so(telling, make):
    told = telling()
    told.engine(make.stack(), a=make.answer()).complete(make.ask())
    cost = typed(told.spans()[0], "lmroute.cost.usd", "lmroute.cost.source")
    assert cost == {"lmroute.cost.usd": (float, 0.0), "lmroute.cost.source": (str, "local")}


def test_a_model_that_the_server_chooses_is_the_one_that_answers(telling, make):
    told = telling()
    told.engine(make.stack(make.profile(models=(AUTO,))), a=make.answer()).complete(make.ask())
    assert told.spans()[0].name == "chat answering"


@pytest.mark.parametrize("is_kept", [True, False])
def test_prompts_and_answers_only_where_they_are_kept(telling, make, is_kept):
    told = telling()
    stack = make.stack(telemetry=Telemetry(capture_content=is_kept))
    told.engine(stack, a=make.answer("the answer")).complete(make.ask("the question"))
    spans = told.spans()
    seen = [str(dict(span.attributes)) for span in spans]
    assert ["the question" in text for text in seen] == [is_kept, False]
    if is_kept:
        names = "gen_ai.input.messages", "gen_ai.output.messages"
        asked, answered = (json.loads(spans[0].attributes[name]) for name in names)
        assert asked == [{"role": "user", "parts": [{"type": "text", "content": "the question"}]}]
        assert [(message["role"], message["finish_reason"]) for message in answered] == [("assistant", "stop")]


@pytest.mark.parametrize(
    ("endpoint", "is_told"),
    [("http://127.0.0.1:4318", True), ("http://localhost:4318", True), ("http://collector.example:4318", False)],
)
def test_private_content_goes_to_no_collector_elsewhere(endpoint, is_told):
    own = Pipeline(Otlp(endpoint, metrics=False), Losses("otlp"))
    own.close(0)
    assert own.stays_here is is_told


def test_what_is_private_is_not_told_where_nobody_knows_who_listens(telling, make):
    told = telling()
    engine = told.engine(make.stack(telemetry=Telemetry(capture_content=True)), a=make.answer("the answer"))
    with lmroute.task(privacy="private"):
        engine.complete(make.ask("the question"))
    span, _ = told.spans()
    assert span.attributes["lmroute.request.privacy"] == "private"
    assert not any("the question" in str(value) or "the answer" in str(value) for value in span.attributes.values())


@pytest.mark.parametrize(
    ("semconv", "names"),
    [("v1_41", {"cache_creation"}), ("next", {"cache_write"}), ("both", {"cache_creation", "cache_write"})],
)
def test_tokens_that_were_put_into_a_cache(semconv, names):
    told = attributes({"written_tokens": 7}, CALL, Semconv(semconv))
    assert told == {f"gen_ai.usage.{name}.input_tokens": 7 for name in names}


def test_they_are_below_the_callers_span_whatever_thread_tells_of_them(telling, make):
    told = telling()
    engine = told.engine(make.stack(), a=make.answer())
    with told.tracers.get_tracer("program").start_as_current_span("program") as program:
        engine.complete(make.ask())
    engine.complete(make.ask())
    outer, call, attempt, other, _ = told.spans()
    assert outer.context == program.get_span_context()
    assert call.parent == outer.context
    assert attempt.context.trace_id == outer.context.trace_id
    assert other.parent is None
    assert outer.start_time <= call.start_time <= call.end_time <= outer.end_time


def test_what_is_suppressed_or_not_sampled_is_not_told(telling, make):
    told = telling()
    engine = told.engine(make.stack(), a=make.answer())
    with suppress_instrumentation():
        engine.complete(make.ask())
    unsampled = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    with unsampled.get_tracer("program").start_as_current_span("program"):
        engine.complete(make.ask())
    assert told.spans() == []
    (duration,) = told.metrics()["gen_ai.client.operation.duration"].data.data_points
    assert duration.count == 1


def test_spans_can_be_switched_off(telling, make):
    told = telling(Otlp(spans=False))
    told.engine(make.stack(), a=make.answer()).complete(make.ask())
    assert told.spans() == []
    assert "gen_ai.client.operation.duration" in told.metrics()


def test_no_secret_is_told(telling, make):
    redact.remember("very/secret value")
    told = telling()
    said = lm15.ServerError('refused "very/secret value", sk-SENTINEL-1234567890')
    stack = make.stack(
        make.profile("a", models=("very/secret value",), endpoint="http://sk-SENTINEL-1234567890:80"),
        telemetry=Telemetry(capture_content=True),
    )
    with pytest.raises(lm15.LM15Error):
        told.engine(stack, a=said).complete(make.ask("it is very/secret value"))
    spans = told.spans()
    shown = b"".join([encode_spans(spans).SerializeToString(), str(told.metrics()).encode()])
    assert b"secret value" not in shown
    assert b"SENTINEL" not in shown
    assert spans[0].name == "chat ***"


def record(**fields):
    return {"kind": "call", "call": "c", "ts": "2026-11-23T07:00:00.001+00:00", "status": "ok", **fields}


def spans_of(*records, heard_ns=0):
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for call in calls(records, heard_ns):
        tell(call, provider.get_tracer("test"), context.Context(), Semconv.NEXT)
    return exporter.get_finished_spans()


def test_old_records_that_know_less_are_told_as_well():
    attempt = {**record(kind="attempt", provider="a"), "attempt": 1, "duration": 5.0}
    old, (new,) = spans_of(attempt, record(duration=7.0, provider="a")), spans_of(record())
    assert [span.name for span in old] == ["attempt a", "chat"]
    assert old[1].end_time - old[1].start_time == 7_000_000
    assert (old[0].start_time, old[0].end_time - old[0].start_time) == (old[1].start_time, 5_000_000)
    assert new.start_time == new.end_time


@pytest.mark.parametrize(
    ("heard_after_us", "ended_after_us"), [(0, 0), (-50_000, 0), (700, 700), (1_000, 1_000), (90_000, 1_000)]
)
def test_records_are_cut_to_milliseconds_and_the_hearing_tells_the_rest(heard_after_us, ended_after_us):
    (plain,) = spans_of(record(duration=1.0))
    (span,) = spans_of(record(duration=1.0), heard_ns=plain.end_time + heard_after_us * 1000)
    assert span.end_time - plain.end_time == ended_after_us * 1000
    assert span.end_time - span.start_time == 1_000_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\ud800", "", 2**70]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
PLAIN = sorted({row.path for row in (*CALL, *ATTEMPT)} - {"call", "status", "server", "type", "asked", "attempts"})


@example({"input_tokens": 2**70})
@example({"response_id": "\ud800"})
@example({"provider": "\ud800"})
@example({"cost_usd": 10**400})
@given(values=st.dictionaries(st.sampled_from(PLAIN), JSON, max_size=8))
def test_whatever_stands_in_a_record_all_that_is_told_of_it_can_be_sent(values):
    known = {path: value for path, value in values.items() if "." not in path and path not in {"content", "finish"}}
    nested = {path.partition(".")[2]: value for path, value in values.items() if "." in path}
    call = record(**known, attributes=nested, request=nested, duration=1.0)
    spans = spans_of({**call, "kind": "attempt"}, call)
    sent = encode_spans(spans).resource_spans[0].scope_spans[0].spans
    assert [len(span.attributes) for span in sent] == [len(span.attributes) for span in spans]  # none left out


def test_a_row_of_the_table_has_a_name_of_its_own():
    for rows in (CALL, ATTEMPT):
        assert all(isinstance(row, Row) for row in rows)
        assert len({row.name for row in rows}) == len(rows)


def test_a_span_that_nobody_is_in_has_no_parent():
    (span,) = spans_of(record())
    assert span.parent is None
    assert trace.get_current_span() is trace.INVALID_SPAN
