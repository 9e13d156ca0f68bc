"""What a real OTLP/HTTP receiver gets, and what becomes of a call when there is none, or a bad one."""

import gc
import logging
import threading

import pytest
import requests
from opentelemetry import metrics, trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from lmroute.emulator.running import running
from lmroute.emulator.settings import Settings
from lmroute.engine.resolver import build
from lmroute.engine.routing_engine import RoutingEngine
from lmroute.model import AUTO, Otlp, SecretRef, SecretSource, Telemetry
from lmroute.telemetry.otel.sink import OtelSink
from lmroute.telemetry.otel.transport import Connection, endpoint_of, shown

TOKEN = SecretRef(SecretSource.ENV, ("COLLECTOR_TOKEN",))
SENTINEL = "sk-SENTINEL-collector-1234567890"


@pytest.fixture
def sinks():
    """Makes sinks that send to a collector; what they hold is let go of in the end."""
    made = []

    def make(otlp, **options):
        made.append(OtelSink(otlp, **options))
        return made[-1]

    yield make
    for sink in made:
        sink.close(0.0)


@pytest.fixture
def one_call(make):
    """Makes a call that this sink is told of."""

    def call(sink, said=None):
        child = type("Child", (), {"complete": lambda self, request: said or make.answer()})()
        RoutingEngine(make.stack(), {"a": child}, sink=sink).complete(make.ask())

    return call


def told(attributes):
    """Attributes by name: which type OTLP gives each, and its value."""
    return {a.key: (a.value.WhichOneof("value"), getattr(a.value, a.value.WhichOneof("value"))) for a in attributes}


@pytest.mark.parametrize("is_configured", [True, False])
def test_a_routed_call_arrives(collector, sinks, make, monkeypatch, is_configured):
    monkeypatch.setenv("COLLECTOR_TOKEN", SENTINEL)
    otlp = Otlp(endpoint=collector.url, auth_token=TOKEN)
    own = None if is_configured else sinks(otlp)
    with running(Settings()) as server:
        profile = make.profile("studio", endpoint=server.url, models=(AUTO,))
        telemetry = Telemetry(otlp=otlp if is_configured else None)
        lm = build(make.stack(profile, telemetry=telemetry), sink=own, cache=False, temperature=0)
        assert lm("hello")
        lm.engine.close()
    (resource, call), (_, attempt) = sorted(collector.spans(), key=lambda pair: pair[1].parent_span_id)
    assert told(resource)["service.name"] == ("string_value", "lmroute")
    assert "service.version" in told(resource)
    assert (call.kind, attempt.kind) == (Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_INTERNAL)
    assert (attempt.parent_span_id, attempt.trace_id) == (call.span_id, call.trace_id)
    seen = told(call.attributes)
    assert call.name == f"chat {seen['gen_ai.request.model'][1]}"
    assert seen["gen_ai.provider.name"] == ("string_value", "lm_studio")
    assert seen["gen_ai.request.temperature"] == ("double_value", 0.0)
    assert seen["gen_ai.usage.input_tokens"][0] == seen["server.port"][0] == "int_value"
    assert [v.string_value for v in seen["gen_ai.response.finish_reasons"][1].values] == ["stop"]
    assert seen["server.address"] == ("string_value", "127.0.0.1")
    (point,) = collector.metrics()["gen_ai.client.operation.duration"].histogram.data_points
    assert point.count == 1
    assert point.explicit_bounds[-1] > 100
    tokens = collector.metrics()["gen_ai.client.token.usage"].histogram.data_points
    assert {told(point.attributes)["gen_ai.token.type"][1] for point in tokens} == {"input", "output"}
    assert {headers["Authorization"] for _, headers, _ in collector.requests} == {f"Bearer {SENTINEL}"}
    assert not any(SENTINEL.encode() in body for _, _, body in collector.requests)


@pytest.mark.parametrize("does", [500, 503, 401, "redirect", "hang", "refuse"])
def test_a_collector_that_takes_nothing_is_nothing_to_a_call(collector, sinks, one_call, caplog, does):
    collector.does, lost = does, []
    url = collector.url if does != "refuse" else "http://127.0.0.1:9"
    sink = sinks(Otlp(endpoint=url), lost=lambda count, name: lost.append((count, name)))
    one_call(sink)
    sink.close(0.5)
    one_call(sink)  # it goes on
    sink.close(0.5)
    assert sink.losses.dropped == 4
    assert sum(count for count, _ in lost) == 4
    assert {name for _, name in lost} == {"otlp"}
    said = [record.message for record in caplog.records if record.name == "lmroute.telemetry"]
    assert len([message for message in said if "cannot send" in message or "could not send" in message]) == 1
    assert "opentelemetry" not in {record.name.partition(".")[0] for record in caplog.records}


def test_the_warning_names_the_place_and_the_reason(collector, sinks, one_call, caplog):
    collector.does = "redirect"
    sink = sinks(Otlp(endpoint=collector.url.replace("//", "//user:password@")))
    one_call(sink)
    sink.close(10.0)
    first = next(record.message for record in caplog.records if record.name == "lmroute.telemetry")
    there = f"{collector.url}/v1/traces (it redirects to http://127.0.0.1:9/elsewhere; name that instead)"
    assert first.startswith(f"the sink otlp cannot send spans to {there}")
    assert "password" not in caplog.text


@pytest.mark.parametrize(
    ("does", "why"),
    [(503, "it answers 503 Service Unavailable"), ("refuse", "refused"), ("redirect", "name that instead")],
)
def test_metrics_alone_warn_once_as_well(collector, sinks, one_call, caplog, does, why):  # noqa: PLR0917
    collector.does = does
    url = collector.url if does != "refuse" else "http://127.0.0.1:9"
    sink = sinks(Otlp(endpoint=url, spans=False))
    one_call(sink)
    sink.close(10.0)
    (said,) = [record.message for record in caplog.records]
    assert said.startswith(f"the sink otlp cannot send metrics to {url}/v1/metrics (")
    assert why in said
    assert len(collector.requests) <= 1  # at the end nothing is tried twice


def test_a_queue_that_is_full_drops_what_comes_and_counts_it(collector, sinks, one_call, monkeypatch):
    collector.does = "hang"
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    sink = sinks(Otlp(endpoint=collector.url, metrics=False))
    for _ in range(10):
        one_call(sink)
    assert sink._backlog.flush(10.0)
    assert sink.losses.dropped == 20 - 4
    sink.close(0.2)
    assert sink.losses.dropped == 20
    collector.close()  # now that request fails, and the spans are lost already
    for thread in threading.enumerate():
        if thread.name == "OtelBatchSpanRecordProcessor":
            thread.join(10.0)
    assert sink.losses.dropped == 20


def test_the_application_sees_the_logs_of_its_own_exporters(collector, sinks, one_call, caplog):
    collector.does = 500
    sink = sinks(Otlp(endpoint=collector.url))
    one_call(sink)
    sink.close(10.0)
    logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter").warning("the application's own")
    assert [r.message for r in caplog.records if r.name.startswith("opentelemetry")] == ["the application's own"]


def test_local_traffic_never_goes_through_a_proxy(collector, sinks, one_call, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    sink = sinks(Otlp(endpoint=collector.url.replace("127.0.0.1", "localhost")))
    one_call(sink)
    sink.close(10.0)
    assert len(collector.spans()) == 2
    assert Connection("https://collector.example", None).trust_env


def test_a_token_that_is_missing_costs_the_spans_and_no_call(collector, sinks, one_call, caplog):
    sink = sinks(Otlp(endpoint=collector.url, auth_token=TOKEN))
    one_call(sink)
    sink.close(10.0)
    assert sink.losses.dropped == 2
    assert "COLLECTOR_TOKEN is not set" in caplog.text
    assert collector.requests == []


def test_a_token_is_looked_up_late_and_again_after_it_was_refused(collector, monkeypatch):
    connection = Connection(collector.url, TOKEN)
    for status, token in [(200, "first-token"), (401, "second-token"), (200, "third-token"), (200, "fourth-token")]:
        collector.does = status
        monkeypatch.setenv("COLLECTOR_TOKEN", token)
        connection.post(collector.url, data=b"x", timeout=10)
    sent = [headers["Authorization"].removeprefix("Bearer ") for _, headers, _ in collector.requests]
    assert sent == ["first-token", "first-token", "third-token", "third-token"]


def test_at_the_end_nothing_is_tried_twice():
    connection = Connection("http://127.0.0.1:9", None)
    for is_closing in (False, True):
        connection.is_closing = is_closing
        with pytest.raises(requests.RequestException) as raised:
            connection.post("http://127.0.0.1:9", data=b"x", timeout=10)
        assert isinstance(raised.value, requests.ConnectionError) is not is_closing  # which the exporter tries again
        assert "refused" in connection.failure


def test_no_connection_is_kept_for_a_forked_child_to_share(collector):
    Connection(collector.url, None).post(collector.url, data=b"x", timeout=10)
    assert collector.requests[0][1]["Connection"] == "close"


@pytest.mark.parametrize(
    ("environment", "service"),
    [
        ({}, "lmroute"),
        ({"OTEL_SERVICE_NAME": "mine"}, "mine"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=mine,team=b"}, "mine"),
    ],
)
def test_whose_spans_they_are(collector, sinks, one_call, monkeypatch, environment, service):  # noqa: PLR0917
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    sink = sinks(Otlp(endpoint=collector.url, metrics=False))
    one_call(sink)
    sink.close(10.0)
    resource = told(collector.spans()[0][0])
    assert resource["service.name"] == ("string_value", service)
    assert ("service.version" in resource) is (service == "lmroute")


@pytest.mark.parametrize(
    ("endpoint", "environment", "signal", "url"),
    [
        (None, {}, "traces", "http://localhost:4318/v1/traces"),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1/"}, "metrics", "http://c:1/v1/metrics"),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1/x"}, "traces", "http://c:1/x"),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1/x"}, "metrics", "http://localhost:4318/v1/metrics"),
        ("http://d:2", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1/x"}, "traces", "http://d:2/v1/traces"),
        ("http://d:2/api/otel/", {}, "traces", "http://d:2/api/otel/v1/traces"),
        ("http://d:2/v1/traces", {}, "metrics", "http://d:2/v1/metrics"),
    ],
)
def test_where_it_goes(monkeypatch, endpoint, environment, signal, url):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert endpoint_of(Otlp(endpoint=endpoint), signal) == url


def test_addresses_are_shown_without_passwords():
    assert shown("https://user:pass@c.example:4318/v1/traces?key=1") == "https://c.example:4318/v1/traces"


@pytest.mark.parametrize("has_endpoint", [False, True])
def test_the_applications_own_providers_are_used_unless_an_endpoint_is_named(  # noqa: PLR0917
    collector, sinks, one_call, telling, monkeypatch, has_endpoint
):
    application = telling()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: application.tracers)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: application.meters)
    sink = sinks(Otlp(endpoint=collector.url if has_endpoint else None))
    one_call(sink)
    sink.close(10.0)
    assert len(application.spans()) == (0 if has_endpoint else 2)
    assert len(collector.spans()) == (2 if has_endpoint else 0)
    assert bool(application.metrics()) is not has_endpoint


def test_without_an_endpoint_and_other_providers_opentelemetrys_own_variable_says_where(
    collector, sinks, one_call, monkeypatch
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    sink = sinks(Otlp())
    one_call(sink)
    sink.close(10.0)
    assert len(collector.spans()) == 2
    assert "gen_ai.client.operation.duration" in collector.metrics()


def test_a_sink_that_nobody_knows_any_more_sends_what_it_has_and_ends(collector, one_call):
    before = set(threading.enumerate())
    sink = OtelSink(Otlp(endpoint=collector.url))
    one_call(sink)
    del sink
    gc.collect()
    begun = set(threading.enumerate()) - before
    own = [thread for thread in begun if thread.name.startswith(("lmroute", "Otel"))]
    for thread in own:
        thread.join(10.0)
    assert own
    assert not any(thread.is_alive() for thread in own)
    assert len(collector.spans()) == 2


def test_a_sink_that_was_never_told_anything_has_no_threads():
    before = threading.active_count()
    OtelSink(Otlp()).close()
    assert threading.active_count() == before
