"""The end of a process, of its children, and an installation without the extra."""

import subprocess
import sys

import pytest

from lmroute.errors import MissingExtra

CALL = """
import logging, multiprocessing, sys
from lmroute.model import Otlp
from lmroute.telemetry.otel.sink import OtelSink

logging.basicConfig()
sink = OtelSink(Otlp(endpoint=sys.argv[1]))

def call(name):
    when = {"call": name, "ts": "2026-11-23T07:00:00.001+00:00", "status": "ok", "provider": name}
    sink.write([{"kind": "attempt", **when}, {"kind": "call", **when}])

call("parent")
if sys.argv[2] == "fork":
    child = multiprocessing.get_context("fork").Process(target=call, args=("child",))
    child.start()
    child.join()
"""


def run(url, how="plain"):
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", CALL, url, how]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


def profiles(collector):
    return sorted(
        attribute.value.string_value
        for _, span in collector.spans()
        for attribute in span.attributes
        if attribute.key == "lmroute.profile"
    )


@pytest.mark.slow
def test_what_waits_at_the_end_of_a_process_is_sent(collector):
    assert run(collector.url).stderr == ""
    assert profiles(collector) == ["parent", "parent"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_a_forked_child_tells_of_its_own_calls_only(collector):
    run(collector.url, "fork")
    assert profiles(collector) == ["child", "child", "parent", "parent"]


@pytest.mark.slow
def test_a_collector_that_hangs_does_not_keep_a_process(collector):
    collector.does = "hang"
    ended = run(collector.url)  # an export alone would take 10 s, and the SDK waits for 30
    assert "has lost 2 records" in ended.stderr


def test_without_the_extra_it_is_said_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("lmroute.telemetry.otel")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(MissingExtra, match=r"telemetry.otlp needs .* pip install 'lmroute\[otlp\]'"):
        __import__("lmroute.telemetry.otel.sink")
