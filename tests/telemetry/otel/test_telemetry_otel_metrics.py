"""What the conventions demand of metrics: names, units, buckets, and that nothing unknown is reported."""

from contextlib import closing

import pytest
from dspy import lm15
from opentelemetry.sdk.metrics.export import Histogram, Sum

from lmroute.model import Otlp, Semconv
from lmroute.telemetry.otel.metrics import LONG_SECONDS, SECONDS, TOKENS, views

GONE = lm15.TransportError("gone")
OLD = {"gen_ai.client.operation.duration": "s", "gen_ai.client.token.usage": "{token}"}
NEXT = {
    "gen_ai.client.inference.duration": "s",
    "gen_ai.client.inference.usage.input_tokens": "{token}",
    "gen_ai.client.inference.usage.output_tokens": "{token}",
    "gen_ai.client.inference.operation.input_tokens": "{token}",
    "gen_ai.client.inference.operation.output_tokens": "{token}",
}
WHO = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "lm_studio",
    "gen_ai.request.model": "qwen3-8b",
    "server.address": "127.0.0.1",
    "server.port": 1234,
    "lmroute.route.name": "everybody",
    "lmroute.profile": "a",
}
ANSWERED = {**WHO, "gen_ai.response.model": "answering"}


def points(metric):
    return [(dict(p.attributes), getattr(p, "value", getattr(p, "sum", None))) for p in metric.data.data_points]


@pytest.mark.parametrize(("semconv", "units"), [("v1_41", OLD), ("next", NEXT), ("both", OLD | NEXT)])
def test_a_call_under_each_set_of_names(telling, make, semconv, units):
    told = telling(Otlp(semconv=Semconv(semconv)))
    told.engine(make.stack(), a=make.answer()).complete(make.ask())
    metrics = told.metrics()
    dropped = metrics.pop("lmroute.telemetry.dropped")
    assert {name: metric.unit for name, metric in metrics.items()} == units
    assert points(dropped) == [({}, 0)]
    for name, metric in metrics.items():
        assert isinstance(metric.data, Sum if ".usage." in name else Histogram)
        assert all(attributes.items() >= ANSWERED.items() for attributes, _ in points(metric))


def test_durations_and_tokens_of_v1_41(telling, make):
    told = telling()
    told.engine(make.stack(), a=make.answer()).complete(make.ask())
    metrics, (call, _) = told.metrics(), told.spans()
    ((about, seconds),) = points(metrics["gen_ai.client.operation.duration"])
    assert about == ANSWERED
    assert seconds == pytest.approx((call.end_time - call.start_time) / 1e9, abs=1e-6)
    assert points(metrics["gen_ai.client.token.usage"]) == [
        ({**ANSWERED, "gen_ai.token.type": "input"}, 3),
        ({**ANSWERED, "gen_ai.token.type": "output"}, 2),
    ]
    bounds = {name: metrics[name].data.data_points[0].explicit_bounds for name in OLD}
    assert bounds == {"gen_ai.client.operation.duration": SECONDS, "gen_ai.client.token.usage": TOKENS}


def test_our_own_provider_has_longer_buckets_for_local_models(telling, make):
    told = telling(views=views())
    told.engine(make.stack(), a=make.answer()).complete(make.ask())
    (point,) = told.metrics()["gen_ai.client.operation.duration"].data.data_points
    assert point.explicit_bounds == LONG_SECONDS
    assert LONG_SECONDS[: len(SECONDS)] == SECONDS


@pytest.mark.parametrize("semconv", ["v1_41", "next"])
def test_tokens_that_are_not_known(telling, make, semconv):
    told = telling(Otlp(semconv=Semconv(semconv)))
    told.engine(make.stack(), a=make.answer(usage=lm15.Usage())).complete(make.ask())
    metrics = told.metrics()
    tokens = {name: points(metric) for name, metric in metrics.items() if "token" in name}
    if semconv == "v1_41":
        assert tokens == {}  # "MUST NOT report usage metric"
    else:
        none = [({**ANSWERED, "gen_ai.token.modality": "unknown"}, 0)]
        assert tokens == {f"gen_ai.client.inference.usage.{kind}_tokens": none for kind in ("input", "output")}


def test_tokens_of_a_cache_and_of_reasoning(telling, make):
    told = telling(Otlp(semconv=Semconv.NEXT))
    usage = lm15.Usage(input_tokens=9, output_tokens=8, cache_read_tokens=7, reasoning_tokens=6)
    told.engine(make.stack(), a=make.answer(usage=usage)).complete(make.ask())
    metrics, before = told.metrics(), "gen_ai.client.inference.usage."
    kinds = "input_tokens", "output_tokens", "cache_read.input_tokens", "reasoning.output_tokens"
    assert [points(metrics[before + kind])[0][1] for kind in kinds] == [9, 8, 7, 6]
    assert all(metrics[before + kind].data.is_monotonic for kind in kinds)


@pytest.mark.parametrize("semconv", ["v1_41", "next"])
def test_a_call_that_failed(telling, make, semconv):
    told = telling(Otlp(semconv=Semconv(semconv)))
    with pytest.raises(lm15.LM15Error):
        told.engine(make.stack(), a=GONE).complete(make.ask())
    metrics = told.metrics()
    name = "gen_ai.client.operation.duration" if semconv == "v1_41" else "gen_ai.client.inference.duration"
    assert [about for about, _ in points(metrics.pop(name))] == [{**WHO, "error.type": "transport"}]
    del metrics["lmroute.telemetry.dropped"]
    used = {f"gen_ai.client.inference.usage.{kind}_tokens" for kind in ("input", "output")}
    assert metrics.keys() == (set() if semconv == "v1_41" else used)
    assert all(value == 0 for metric in metrics.values() for _, value in points(metric))


def test_a_call_that_nobody_was_asked_for_uses_no_tokens(telling, make):
    told = telling(Otlp(semconv=Semconv.BOTH))
    with pytest.raises(lm15.LM15Error):
        told.engine(make.stack(make.profile(enabled=False)), a=GONE).complete(make.ask())
    metrics = told.metrics()
    durations = {"gen_ai.client.operation.duration", "gen_ai.client.inference.duration"}
    assert metrics.keys() == {*durations, "lmroute.telemetry.dropped"}
    for name in durations:
        ((about, _),) = points(metrics[name])
        assert (about["gen_ai.provider.name"], about["error.type"]) == ("lmroute", "no_candidate")


@pytest.mark.parametrize(
    ("semconv", "name"),
    [
        ("v1_41", "gen_ai.client.operation.time_to_first_chunk"),
        ("next", "gen_ai.client.inference.time_to_first_chunk"),
    ],
)
def test_the_first_chunk_of_a_stream(telling, make, semconv, name):
    told = telling(Otlp(semconv=Semconv(semconv)))
    list(told.engine(make.stack(), a=make.events("h", "i")).stream(make.ask()))
    metric = told.metrics()[name]
    (point,) = metric.data.data_points
    assert (metric.unit, point.count, point.explicit_bounds) == ("s", 1, SECONDS)


def test_a_stream_that_its_caller_closes_is_no_error(telling, make):
    told = telling()
    with closing(told.engine(make.stack(), a=make.events("h", "i")).stream(make.ask())) as stream:
        next(stream)
    ((about, _),) = points(told.metrics()["gen_ai.client.operation.duration"])
    assert "error.type" not in about


def test_metrics_can_be_switched_off(telling, make):
    told = telling(Otlp(metrics=False))
    told.engine(make.stack(), a=make.answer()).complete(make.ask())
    assert told.metrics() == {}
    assert len(told.spans()) == 2
