"""A thread behind a queue, and a sink behind that thread: whatever it does, no call waits and every loss is told."""

import gc
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from lmroute.telemetry.sinks import worker as worker_module
from lmroute.telemetry.sinks.backlog import Backlog
from lmroute.telemetry.sinks.losses import Losses
from lmroute.telemetry.sinks.queued import QueuedSink
from lmroute.telemetry.sinks.worker import Worker

ROOT = Path(__file__).resolve().parents[2]
SOON = 30.0


class Told(list):
    """What was told to be lost: counts and names."""

    def __call__(self, count, sink):
        self.append((count, sink))

    @property
    def total(self):
        return sum(count for count, _ in self)


class Recorder:
    """A sink that keeps what it is given, and tells on which thread that was."""

    def __init__(self):
        self.records, self.threads = [], set()

    def write(self, lines):
        self.records += lines
        self.threads.add(threading.current_thread())


class Hung(Recorder):
    """A sink that hangs until it is let go."""

    def __init__(self):
        super().__init__()
        self.is_in, self.let_go = threading.Event(), threading.Event()

    def write(self, lines):
        self.is_in.set()
        assert self.let_go.wait(SOON)
        super().write(lines)


class Raising:
    def __init__(self, error):
        self.error = error

    def write(self, lines):
        raise self.error


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def queued(told):
    """Make sinks behind a queue, whose threads end with the test."""
    made = []

    def make(sink, **options):
        made.append((sink, QueuedSink(sink, **{"lost": told, **options})))
        return made[-1][1]

    yield make
    for sink, behind in made:
        if isinstance(sink, Hung):
            sink.let_go.set()
        assert behind.close(SOON)


OTHERS = ("lmroute emulator", "lmroute health", "lmroute probe", "lmroute watch", "lmroute otlp")


def threads():
    """Those of sinks: other tests of this process may have servers."""
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("lmroute ")]
    return [thread for thread in ours if not thread.name.startswith(OTHERS)]


def test_records_reach_the_sink_in_their_order_and_on_one_other_thread(queued):
    sink = Recorder()
    behind = queued(sink)
    for n in range(50):
        behind.write([{"n": n}, {"n": n + 0.5}])
    assert behind.flush(SOON)
    assert [record["n"] for record in sink.records] == [n / 2 for n in range(100)]
    [thread] = sink.threads
    assert thread is not threading.current_thread()
    assert thread.daemon


def test_records_are_made_on_that_thread(queued):
    made = []
    behind = queued(Recorder())
    behind.write(made.append(threading.current_thread()) or {} for _ in range(1))
    assert behind.flush(SOON)
    assert made[0] is not threading.current_thread()


def test_there_is_no_thread_before_the_first_record(queued):
    before = threads()
    behind = queued(Recorder())
    assert behind.flush(SOON)
    assert behind.close(SOON)
    assert threads() == before


def test_a_sink_that_hangs_is_never_waited_for(queued, told):
    sink = Hung()
    behind = queued(sink, limit=10, name="slow one")
    behind.write([{"n": 0}])
    assert sink.is_in.wait(SOON)
    for n in range(1, 101):  # all return though nobody lets the sink go
        behind.write([{"n": n}])
    assert (behind.dropped, behind.failures) == (90, 0)
    assert not behind.flush(0.0)
    sink.let_go.set()
    assert behind.flush(SOON)
    assert [record["n"] for record in sink.records] == list(range(11))
    assert behind.close(SOON)
    assert told.total == 90
    assert {name for _, name in told} == {"slow one"}


def test_a_long_gap_is_told_in_few_words_and_at_once_when_it_is_over(queued, told):
    sink = Hung()
    behind = queued(sink, limit=1)
    behind.write([{}])
    assert sink.is_in.wait(SOON)
    for _ in range(1001):
        behind.write([{}])
    assert told[0] == (1, "Hung")
    assert len(told) == 10
    assert told.total >= 500
    sink.let_go.set()
    assert behind.flush(SOON)
    behind.write([{}])
    assert behind.flush(SOON)
    assert told.total == behind.dropped == 1000


def test_a_gap_is_told_when_the_sink_has_caught_up(queued, told):
    is_told = threading.Event()
    sink = Hung()
    behind = queued(sink, limit=1, lost=lambda *lost: told(*lost) or (told.total == 6 and is_told.set()))
    behind.write([{}])
    assert sink.is_in.wait(SOON)
    for _ in range(7):
        behind.write([{}])
    assert told.total < 6
    sink.let_go.set()
    assert is_told.wait(SOON)


class Moody:
    """Raises so many times, then works; lets know of each write."""

    def __init__(self, times):
        self.asked = threading.Semaphore(0)
        self.left = times

    def write(self, lines):
        self.left -= 1
        self.asked.release()
        if self.left >= 0:
            raise OSError("not now")


def test_a_sink_that_keeps_raising_is_told_in_few_words_and_the_rest_when_it_works_again(queued, told):
    is_told = threading.Event()
    sink = Moody(50)
    behind = queued(sink, lost=lambda *lost: told(*lost) or (told.total == 50 and is_told.set()))
    for _ in range(51):  # one after the other, so that it has caught up each time
        behind.write([{}])
        assert sink.asked.acquire(timeout=SOON)
    assert is_told.wait(SOON)
    assert [count for count, _ in told] == [1, 1, 2, 4, 8, 16, 18]


def test_a_sink_that_never_works_again_is_told_to_the_end_when_it_is_closed(queued, told):
    behind = queued(Raising(OSError("no")))
    for _ in range(50):
        behind.write([{}])
    assert behind.close(SOON)
    assert [count for count, _ in told] == [1, 1, 2, 4, 8, 16, 18]


def test_the_log_says_the_first_drop_and_in_the_end_the_total(queued, caplog):
    sink = Hung()
    behind = queued(sink, limit=1)
    behind.write([{}])
    assert sink.is_in.wait(SOON)
    for _ in range(4):
        behind.write([{}, {}])
    sink.let_go.set()
    assert behind.close(SOON)
    assert behind.close(SOON)
    first, total = (record.getMessage() for record in caplog.records)
    assert first.startswith("the sink Hung is too slow (or hangs; 1 calls wait for it), so records are dropped")
    assert total == "the sink Hung has lost 6 records: 6 were dropped, and 0 times it failed to write"


@pytest.mark.parametrize("error", [RuntimeError("no sk-abcdefgh12345678"), SystemExit(3), KeyboardInterrupt()])
def test_what_a_sink_raises_is_said_once_and_counted(queued, told, caplog, error):
    behind = queued(Raising(error))
    for _ in range(3):
        behind.write(iter([{}, {}]))
    assert behind.close(SOON)
    assert (behind.dropped, behind.failures, told.total) == (0, 3, 6)
    first, total = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"the sink Raising failed: {type(error).__name__}")
    assert "sk-" not in first
    assert total == "the sink Raising has lost 6 records: 0 were dropped, and 3 times it failed to write"


def test_records_that_cannot_be_made_are_a_failure_like_others(queued):
    sink = Recorder()
    behind = queued(sink)
    behind.write({} for _ in [1 / n for n in (1,)])
    behind.write(1 / n for n in (1, 0))
    behind.write([{"n": 1}])
    assert behind.flush(SOON)
    assert behind.failures == 1
    assert sink.records[-1] == {"n": 1}


def test_closing_does_not_wait_for_a_sink_that_hangs(queued, told):
    sink = Hung()
    behind = queued(sink)
    for n in range(5):
        behind.write([{"n": n}])
    assert sink.is_in.wait(SOON)
    hung = threads()
    assert not behind.close(0.0)
    assert behind.dropped == told.total == 5  # what it has in hand nobody knows to be written
    behind.write([{"n": "later"}])  # for another thread, as the first one hangs
    sink.let_go.set()
    assert behind.close(SOON)
    for thread in hung:
        thread.join(SOON)
    assert {record["n"] for record in sink.records} == {0, "later"}
    assert len(sink.threads) == 2


def test_closed_is_opened_again_by_the_next_record(queued):
    sink = Recorder()
    behind = queued(sink)
    for n in range(3):
        behind.write([{"n": n}])
        assert behind.close(SOON)
    assert [record["n"] for record in sink.records] == [0, 1, 2]


def test_nothing_is_lost_uncounted_when_others_write_while_it_is_closed_again_and_again(queued, told):
    sink = Recorder()
    behind = queued(sink, limit=20)
    start = threading.Barrier(5)

    def write():
        start.wait()
        for n in range(300):
            behind.write([{"n": n}])

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    start.wait()
    while any(writer.is_alive() for writer in writers):
        assert behind.close(SOON)
    for writer in writers:
        writer.join()
    assert behind.close(SOON)
    assert len(sink.records) + behind.dropped == 1200
    assert told.total == behind.dropped


def test_what_comes_after_the_end_is_counted():
    is_in, let_go, losses = threading.Event(), threading.Event(), Losses("late")
    worker = Worker(lambda _: is_in.set() or let_go.wait(SOON), losses, lambda _: 1)
    worker.put("a", 9)
    assert is_in.wait(SOON)
    worker.end()
    worker.put("b", 9)
    let_go.set()
    assert worker.close(SOON)
    assert losses.dropped == 1
    worker.put("c", 9)
    assert losses.dropped == 2


def test_who_is_forgotten_finishes_and_leaves_no_thread():
    sink = Recorder()
    behind = QueuedSink(sink)
    behind.write([{"n": 1}])
    [thread] = [thread for thread in threads() if thread.name == "lmroute Recorder"]
    gone = weakref.ref(behind)
    del behind
    gc.collect()
    assert gone() is None
    thread.join(SOON)
    assert not thread.is_alive()
    assert sink.records == [{"n": 1}]


class Abandoned:
    """A stream whose end is recorded when the garbage collector finds it."""

    def __init__(self, sink):
        self.itself, self.sink = self, sink

    def __del__(self):
        self.sink.write([{"n": "from a finalizer"}])


def test_the_sinks_own_thread_may_write_and_even_close(queued):
    class Writing(Recorder):
        def write(self, lines):
            super().write(lines)
            if len(self.records) == 1:
                Abandoned(behind)
                gc.collect()
                results.append(behind.flush(SOON))

    results, sink = [], Writing()
    behind = queued(sink)
    behind.write([{"n": 1}])
    while not behind.flush(SOON) or len(sink.records) < 2:
        pass
    assert results == [False]
    assert [record["n"] for record in sink.records] == [1, "from a finalizer"]


def test_a_thread_that_cannot_be_had_is_tried_again(queued, monkeypatch):
    real, refused = threading.Thread.start, [True, True]

    def start(thread):
        if refused and refused.pop():
            raise RuntimeError("can't start new thread")
        real(thread)

    sink = Recorder()
    behind = queued(sink)
    monkeypatch.setattr(threading.Thread, "start", start)
    for n in range(3):
        behind.write([{"n": n}])
    assert behind.flush(SOON)
    assert [record["n"] for record in sink.records] == [0, 1, 2]


def test_any_thing_may_wait():
    seen = []
    backlog = Backlog(seen.append, Losses("things"), count=lambda _: 1)
    assert backlog.put("a")
    assert backlog.put(None)
    assert backlog.close(SOON)
    assert seen == ["a", None]


def forks(test):
    warned_of = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # the point
    return pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")(warned_of(test))


@forks
def test_a_forked_child_has_a_thread_of_its_own_and_nothing_of_what_waited(queued, tmp_path):
    class ToFile(Hung):
        def write(self, lines):
            if os.getpid() == parent:
                super().write(lines)
            else:
                (tmp_path / "child").write_text("".join(f"{record['n']}\n" for record in lines), encoding="utf-8")

    parent, sink = os.getpid(), ToFile()
    behind = queued(sink, limit=2)
    behind.write([{"n": 1}])
    assert sink.is_in.wait(SOON)
    for n in (2, 3, 4):
        behind.write([{"n": n}])

    def child():
        assert behind.dropped == 0
        behind.write([{"n": "of the child"}])
        # Not closed: a child's end finishes what waits.

    process = multiprocessing.get_context("fork").Process(target=child, daemon=True)
    process.start()
    process.join(SOON)
    assert process.exitcode == 0
    assert (tmp_path / "child").read_text(encoding="utf-8") == "of the child\n"
    assert behind.dropped == 1
    sink.let_go.set()
    assert behind.flush(SOON)
    assert [record["n"] for record in sink.records] == [1, 2, 3]


PROGRAM = """
import logging, sys, threading
from lmroute.telemetry.sinks import worker
from lmroute.telemetry.sinks.daily import DailySink
from lmroute.telemetry.sinks.queued import QueuedSink
from pathlib import Path
logging.basicConfig()
worker.PATIENCE_S = float(sys.argv[2])
daily = DailySink(Path(sys.argv[1]))

class Slow:
    def write(self, lines):
        is_in.set()
        threading.Event().wait(0.2)
        daily.write(lines)

class Hung:
    def write(self, lines):
        threading.Event().wait()

is_in = threading.Event()
kind = {"slow": Slow, "hung": Hung}[sys.argv[3]]
sinks = [QueuedSink(kind(), lost=daily.lost) for _ in range(3)]
for sink in sinks:
    sink.write([{"n": 1}])
if sys.argv[3] == "slow":
    is_in.wait()
    del sinks, sink  # what nobody knows any more is finished, too
"""


def run(tmp_path, *words):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=60, check=True)
    [file] = tmp_path.glob("*/*.jsonl")
    return file.read_text(encoding="utf-8").splitlines(), done.stderr


@pytest.mark.slow
def test_the_interpreters_exit_waits_for_what_is_slow(tmp_path):
    lines, said = run(tmp_path, "30", "slow")
    assert lines == ['{"n":1}'] * 3
    assert said == ""


@pytest.mark.slow
def test_the_interpreters_exit_does_not_wait_for_what_hangs_and_tells_the_loss(tmp_path):
    lines, said = run(tmp_path, "0.1", "hung")  # it does end: run has a time limit
    assert [(line.count('"lost"'), line.count('"count":1,"sink":"Hung"')) for line in lines] == [(1, 1)] * 3
    assert said.count("the sink Hung has lost 1 records") == 3


def test_an_exit_has_one_patience_for_all(queued, monkeypatch):
    hung = [Hung() for _ in range(3)]
    for sink in hung:
        queued(sink).write([{}])
        assert sink.is_in.wait(SOON)
    given, real = [], worker_module.Worker.close
    monkeypatch.setattr(worker_module, "PATIENCE_S", 0.01)
    monkeypatch.setattr(worker_module.Worker, "close", lambda worker, s: given.append(s) or real(worker, s))
    worker_module._end_all()
    assert len(given) == 3
    assert all(0 <= seconds <= 0.01 for seconds in given)
    assert sorted(given, reverse=True) == given


def test_losses_are_said_by_name(caplog):
    losses = Losses("x")
    with caplog.at_level(logging.WARNING, "lmroute.telemetry"):
        losses.sum_up()
        assert not caplog.records
        losses.drop(2, "is tired")
        losses.sum_up()
        losses.sum_up()
    assert len(caplog.records) == 2
