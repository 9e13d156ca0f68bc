"""Records on a thread of their own: none lost, none out of order, and no call waits for a disk."""

import gc
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lmroute.telemetry import deferred as deferred_module
from lmroute.telemetry.deferred import Deferred
from lmroute.telemetry.sink import JsonlSink

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "calls.jsonl"


def numbers(path):
    return [json.loads(line)["n"] for line in path.read_text().splitlines()]


def test_everything_is_written_by_close_and_in_order(path):
    sink = Deferred(JsonlSink(path))
    for n in range(500):
        sink.write([{"n": n}])
    sink.close()
    assert numbers(path) == list(range(500))
    assert sink.dropped == 0


def test_a_record_after_close_starts_anew(path):
    sink = Deferred(JsonlSink(path))
    sink.close()
    for n in range(3):
        sink.write([{"n": n}])
        sink.close()
    assert numbers(path) == [0, 1, 2]
    assert "lmroute-records" not in [thread.name for thread in threading.enumerate()]


def test_an_iterator_is_run_on_the_writing_thread(path):
    ran_on = []

    def lines():
        ran_on.append(threading.current_thread().name)
        yield {"n": 1}

    sink = Deferred(JsonlSink(path))
    sink.write(lines())
    sink.close()
    assert ran_on == ["lmroute-records"]


def test_many_threads_share_one_writer(path):
    sink = Deferred(JsonlSink(path))
    threads = [
        threading.Thread(target=lambda who=who: [sink.write([{"n": who * 100 + n}]) for n in range(100)])
        for who in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink.close()
    written = numbers(path)
    assert sorted(written) == list(range(800))
    for who in range(8):
        assert [n for n in written if n // 100 == who] == list(range(who * 100, who * 100 + 100))


class StuckSink(JsonlSink):
    """A disk that hangs until it is let go."""

    def __init__(self, path):
        super().__init__(path)
        self.let_go = threading.Event()

    def write(self, lines):
        self.let_go.wait(20)
        super().write(lines)


def test_a_hanging_disk_holds_up_nobody_and_what_it_cannot_take_is_counted(path, monkeypatch):
    monkeypatch.setattr(deferred_module, "_MOST_WAITING", 10)
    monkeypatch.setattr(deferred_module, "_JOIN_S", 0.05)
    stuck = StuckSink(path)
    sink = Deferred(stuck)
    began = time.monotonic()
    for n in range(1000):
        sink.write([{"n": n}])
    sink.close()
    assert time.monotonic() - began < 15  # the disk hangs for 20
    assert sink.dropped >= 1000 - 11
    stuck.let_go.set()


def test_a_sink_that_nobody_holds_any_more_ends_its_thread(path):
    sink = Deferred(JsonlSink(path))
    sink.write([{"n": 1}])
    del sink
    gc.collect()
    assert numbers(path) == [1]
    assert "lmroute-records" not in [thread.name for thread in threading.enumerate()]


PROGRAM = """
import sys
from pathlib import Path
from lmroute.telemetry.deferred import Deferred
from lmroute.telemetry.sink import JsonlSink
sink = Deferred(JsonlSink(Path(sys.argv[1])))
for n in range(200):
    sink.write([{"n": n}])
"""


def test_the_end_of_the_program_loses_nothing(path):
    subprocess.run([sys.executable, "-c", PROGRAM, path], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert numbers(path) == list(range(200))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_writes_its_own_and_not_its_parents(path):
    sink = Deferred(JsonlSink(path))
    sink.write([{"n": 1}])
    child = os.fork()
    if child == 0:
        sink.write([{"n": 2}])
        sink.close()
        os._exit(0)
    os.waitpid(child, 0)
    sink.close()
    assert sorted(numbers(path)) == [1, 2]
