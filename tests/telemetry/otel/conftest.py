"""Scripted providers behind a real engine, the SDK's in-memory exporters, and a collector on loopback."""
# ruff: noqa: E402 - the environment comes first

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_HOME = Path(tempfile.mkdtemp(prefix="lmroute-otel-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ.setdefault("DSPY_CACHEDIR", str(_HOME / "cache"))
os.environ.setdefault("LMROUTE_STATE_HOME", str(_HOME / "state"))
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import dspy
import pytest
from dspy import lm15
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lmroute.engine.routing_engine import AsyncRoutingEngine, RoutingEngine
from lmroute.model import Locality, Otlp, Policy, Profile, Rule, Selector, Stack, TaskSpec
from lmroute.telemetry.otel.sink import OtelSink


@pytest.fixture(autouse=True)
def _nobodys_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("OTEL_") or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)


def answer(text="hi", model="answering", **fields):
    usage = lm15.Usage(input_tokens=3, output_tokens=2)
    fields = {"id": "r1", "finish_reason": "stop", "usage": usage, **fields}
    return lm15.Response(model=model, message=lm15.Message.assistant(text), **fields)


def profile(id="a", **fields):  # noqa: A002 - the field's name
    fields = {"type": "lmstudio", "endpoint": "http://127.0.0.1:1234", "models": ("qwen3-8b",), **fields}
    return Profile(id=id, **{"locality": Locality.LOOPBACK, **fields})


def stack(*profiles, **fields):
    policy = Policy("local_first", (Rule("everybody", use=(Selector(),)),), deadline_s=10.0)
    return Stack({p.id: p for p in profiles or (profile(),)}, policy, TaskSpec("ask", question="?"), **fields)


def ask(text="hello", **config):
    return lm15.Request(model="any", messages=(lm15.Message.user(text),), config=lm15.Config(**config))


class Child:
    """Answers, or raises, what it was given; a stream is its events."""

    def __init__(self, said):
        self.said = said

    def complete(self, request):
        if isinstance(self.said, BaseException):
            raise self.said
        return self.said

    def stream(self, request):
        yield from self.said


class AsyncChild(Child):
    async def complete(self, request):
        return super().complete(request)


def events(*texts, usage=None):
    """A stream's events, each text a piece of the answer."""
    yield lm15.StreamStartEvent(id="s1", model="answering")
    for text in texts:
        yield lm15.StreamDeltaEvent(delta=lm15.TextDelta(text=text))
    yield lm15.StreamEndEvent(finish_reason="stop", usage=usage)


class Telling:
    """A sink over the SDK's in-memory exporters, and what it has told them."""

    def __init__(self, otlp=None, *, views=(), **options):
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False, views=views)
        self.sink = OtelSink(otlp or Otlp(), tracer_provider=self.tracers, meter_provider=self.meters, **options)

    def engine(self, stack_, **said):
        return RoutingEngine(stack_, {id_: Child(what) for id_, what in said.items()}, sink=self.sink)

    def lm(self, stack_, **said):
        sync = self.engine(stack_, **said)
        children = {id_: AsyncChild(what) for id_, what in said.items()}
        async_engine = AsyncRoutingEngine(stack_, children, sink=self.sink)
        options = {"num_retries": 0, "cache": False}
        return dspy.LM(f"lmroute/{sync.routing.name}", engine=sync, async_engine=async_engine, **options)

    def spans(self):
        """All that ended, the oldest start first, and of two that began together the outer one."""
        self.sink.close()
        return sorted(self.exporter.get_finished_spans(), key=lambda span: (span.start_time, -span.end_time))

    def metrics(self):
        """Metrics by name, with their points."""
        return {metric.name: metric for scope in self._scopes() for metric in scope.metrics}

    def measured_by(self, name):
        """Who has told of a metric."""
        return {scope.scope.name for scope in self._scopes() if any(metric.name == name for metric in scope.metrics)}

    def _scopes(self):
        self.sink.close()
        data = self.reader.get_metrics_data()
        return [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []

    def close(self):
        self.sink.close()
        self.tracers.shutdown()
        self.meters.shutdown()


@pytest.fixture
def telling():
    """Makes sinks over in-memory exporters."""
    made = []

    def make(*args, **options):
        made.append(Telling(*args, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def make():
    """Makes what tests are made of: ``make.stack(make.profile("a"))`` ..."""
    return SimpleNamespace(ask=ask, answer=answer, profile=profile, stack=stack, events=events)


class Collector:
    """A real OTLP/HTTP receiver on loopback.

    Attributes:
        does: a status to answer with, ``hang``, or ``redirect``.
        requests: path, headers and body of what came.
    """

    def __init__(self):
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests.append((self.path, self.headers, body))
                collector.came.set()
                if collector.does == "hang":
                    collector.released.wait(30)
                    return
                self.send_response(307 if collector.does == "redirect" else collector.does)
                if collector.does == "redirect":
                    self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.does, self.requests = 200, []
        self.came, self.released = threading.Event(), threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def spans(self):
        """Resource attributes and span, of all spans that came."""
        return [
            (resource.resource.attributes, span)
            for message in self._messages("/v1/traces", ExportTraceServiceRequest)
            for resource in message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def metrics(self):
        """All metrics that came, by name."""
        return {
            metric.name: metric
            for message in self._messages("/v1/metrics", ExportMetricsServiceRequest)
            for resource in message.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def close(self):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _messages(self, path, kind):
        return [kind.FromString(body) for at, _, body in self.requests if at == path]


@pytest.fixture
def collector():
    made = Collector()
    yield made
    with suppress(OSError):
        made.close()
