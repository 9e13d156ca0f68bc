"""A process's file of the day: where it lies, who may read it, and that a gap in it is told."""

import gc
import json
import logging
import multiprocessing
import os
import re
import shutil
import stat
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.config import paths
from lmroute.telemetry.events import run_id
from lmroute.telemetry.sinks import appending, daily
from lmroute.telemetry.sinks.daily import DailySink, events_folder

MARCH, APRIL = "2026-03-31T23:59:59.999+00:00", "2026-04-01T00:00:00.000+00:00"
posix_only = pytest.mark.skipif(os.name != "posix", reason="Windows has no such mode bits")


@pytest.fixture
def folder(tmp_path):
    """Of events, not made yet."""
    return tmp_path / "state" / "events"


@pytest.fixture
def sink(folder):
    sink = DailySink(folder)
    yield sink
    sink.close()


def files(folder):
    return sorted(folder.glob("*/*"))


def read(file):
    text = file.read_bytes().decode()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def everything(folder):
    return [record for file in files(folder) for record in read(file)]


def test_it_is_in_the_users_state_folder():
    assert events_folder() == paths.user_state_dir() / "events"


def test_a_record_is_in_the_folder_of_its_own_day(sink, folder):
    for ts in (MARCH, APRIL, MARCH):
        sink.write([{"ts": ts}])
    march, april = files(folder)
    assert (march.parent.name, april.parent.name) == ("2026-03-31", "2026-04-01")
    assert (len(read(march)), len(read(april))) == (2, 1)
    assert march.name == april.name
    assert re.fullmatch(rf"[\w-]+-{os.getpid()}-\d{{8}}T\d{{12}}Z\.jsonl", march.name)


def test_the_records_of_a_call_stay_together(sink, folder):
    sink.write([{"ts": MARCH, "kind": "attempt"}, {"ts": APRIL, "kind": "call"}])
    [file] = files(folder)
    assert file.parent.name == "2026-04-01"


@pytest.mark.parametrize("ts", ["../../../../elsewhere", "2026-13-01", "", None, 7, ["2026"], "2026-3-1"])
def test_of_a_time_that_is_none_the_day_is_today(sink, folder, ts):
    before = datetime.now(UTC).date()
    sink.write([{"ts": ts}])
    sink.write([{}])
    assert {file.parent.name for file in files(folder)} <= {str(before), str(datetime.now(UTC).date())}
    assert len(everything(folder)) == 2


def test_nothing_is_made_before_the_first_record(sink, folder):
    sink.write([])
    sink.close()
    assert not folder.exists()


@posix_only
def test_only_the_owner_can_look_into_it(sink, folder):
    previous = os.umask(0)
    try:
        sink.write([{"ts": MARCH}])
    finally:
        os.umask(previous)
    [file] = files(folder)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, file.parent, file)] == [0o700, 0o700, 0o600]


@pytest.mark.parametrize(
    ("node", "shown"),
    [("box", "box"), ("a.b.example", "a-b-example"), ("../../x y/ü", "x-y"), ("", "host"), ("n" * 300, "n" * 60)],
)
def test_the_hosts_name_makes_a_file_name(sink, folder, monkeypatch, node, shown):
    monkeypatch.setattr(daily.platform, "node", lambda: node)
    daily._process.cache_clear()
    try:
        sink.write([{"ts": MARCH}])
    finally:
        daily._process.cache_clear()
    [file] = files(folder)
    assert file.name.rsplit("-", 2)[0] == shown


def test_closed_is_opened_again_by_the_next_record(sink, folder):
    sink.write([{"ts": MARCH, "n": 1}])
    sink.close()
    sink.write([{"ts": MARCH, "n": 2}])
    [file] = files(folder)
    assert [record["n"] for record in read(file)] == [1, 2]


def test_several_sinks_of_a_process_write_to_one_file(sink, folder):
    other = DailySink(folder)
    for n in range(2):
        sink.write([{"ts": MARCH, "n": n}])
        other.write([{"ts": MARCH, "n": n}])
    other.close()
    sink.write([{"ts": MARCH, "n": 2}])
    [file] = files(folder)
    assert [record["n"] for record in read(file)] == [0, 0, 1, 1, 2]


def test_a_line_that_one_tore_does_not_swallow_anothers(sink, folder, monkeypatch):
    other, real, room = DailySink(folder), os.write, [9, 0, 1000, 1000]
    monkeypatch.setattr(appending.os, "write", lambda fd, data: real(fd, data[: room.pop(0)]))
    other.write([{"ts": MARCH, "n": 1}])
    sink.write([{"ts": MARCH, "n": 2}])
    other.write([{"ts": MARCH, "n": 3}])
    other.close()
    [file] = files(folder)
    torn, second, lost, third = file.read_bytes().splitlines()
    assert (torn, json.loads(second)["n"], json.loads(third)["n"]) == (b'{"ts":"20', 2, 3)
    assert json.loads(lost)["count"] == 1


@pytest.mark.skipif(os.name != "posix", reason="Windows does not delete what is open")
@pytest.mark.parametrize("up", [0, 1, 2])
def test_a_folder_that_is_deleted_is_made_again(sink, folder, up):
    sink.write([{"ts": MARCH, "n": 1}])
    [file] = files(folder)
    shutil.rmtree(file.parents[up])
    sink.write([{"ts": MARCH, "n": 2}])
    assert read(file) == [{"ts": MARCH, "n": 2}]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sink.dropped == 0


@pytest.fixture
def blocked(folder):
    """A sink whose folder cannot be made until the file that is in the way is removed."""
    folder.parent.mkdir()
    folder.write_text("in the way", encoding="utf-8")
    return DailySink(folder)


def test_a_gap_is_told_in_front_of_what_follows(blocked, folder, caplog):
    blocked.write([{"ts": MARCH, "n": 1}, {"ts": MARCH, "n": 2}])
    blocked.write([{"ts": MARCH, "n": 3}])
    assert blocked.dropped == 3
    folder.unlink()
    blocked.write([{"ts": MARCH, "n": 4}])
    blocked.write([{"ts": MARCH, "n": 5}])
    [file] = files(folder)
    lost, *rest = read(file)
    ts = datetime.fromisoformat(lost.pop("ts"))
    assert lost == {"v": 1, "kind": "lost", "run": run_id(), "count": 3, "sink": "records"}
    assert timedelta() <= datetime.now(UTC) - ts < timedelta(minutes=1)
    assert [record["n"] for record in rest] == [4, 5]
    assert len(caplog.records) == 1


def test_each_gap_is_told_by_itself(sink, folder, monkeypatch):
    real, is_full = os.write, []

    def write(fd, data):
        if is_full:
            raise OSError(28, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(appending.os, "write", write)
    for n in range(1, 8):
        is_full[:] = [True] * (n in {2, 3, 5})
        sink.write([{"ts": MARCH, "n": n}])
    [file] = files(folder)
    assert [record.get("n") or -record["count"] for record in read(file)] == [1, -2, 4, -1, 6, 7]


def test_closing_says_the_total_once(blocked, folder, caplog):
    for _ in range(3):
        blocked.write([{"ts": MARCH}])
    with caplog.at_level(logging.WARNING, "lmroute.telemetry"):
        caplog.clear()
        blocked.close()
        blocked.close()
    [warning] = caplog.records
    assert warning.getMessage() == f"3 call records could not be written to {folder}"


def test_closing_tells_the_gap_if_that_works_by_then(blocked, folder):
    blocked.write([{"ts": MARCH}])
    folder.unlink()
    blocked.close()
    assert [(record["kind"], record["count"]) for record in everything(folder)] == [("lost", 1)]


def test_closing_says_nothing_when_nothing_was_lost(sink, caplog):
    sink.write([{"ts": MARCH}])
    sink.close()
    assert not caplog.records


def test_what_another_sink_has_lost_is_told_at_once(sink, folder):
    sink.lost(7, "otlp")
    [record] = everything(folder)
    assert (record["kind"], record["count"], record["sink"]) == ("lost", 7, "otlp")


def test_what_another_sink_has_lost_is_told_when_that_works(blocked, folder):
    blocked.lost(7, "otlp")
    blocked.lost(1, "otlp")
    blocked.write([{"ts": MARCH}])
    folder.unlink()
    blocked.write([{"ts": MARCH}])
    *lost, _ = everything(folder)
    assert {record["sink"]: record["count"] for record in lost} == {"otlp": 8, "records": 1}
    assert blocked.dropped == 1


def test_threads_lose_and_tear_nothing(sink, folder):
    def write(who):
        for n in range(50):
            sink.write([{"ts": (MARCH, APRIL)[n % 2], "who": who, "n": n}, {"ts": (MARCH, APRIL)[n % 2]}])

    threads = [threading.Thread(target=write, args=(who,)) for who in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = everything(folder)
    assert len(written) == 600
    for who in range(6):
        assert sorted(record["n"] for record in written if record.get("who") == who) == list(range(50))


class Abandoned:
    """A stream whose end is recorded when the garbage collector finds it."""

    def __init__(self, sink):
        self.itself, self.sink = self, sink

    def __del__(self):
        self.sink.write([{"ts": MARCH, "n": "from a finalizer"}])


def test_a_stream_that_is_collected_while_its_thread_writes_locks_nobody_out(sink, folder, monkeypatch):
    real = os.write

    def write(fd, data):
        gc.collect()
        return real(fd, data)

    monkeypatch.setattr(appending.os, "write", write)
    Abandoned(sink)
    sink.write([{"ts": MARCH, "n": 1}])
    assert [record["n"] for record in everything(folder)] == ["from a finalizer", 1]


def forks(test):
    warned_of = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # the point
    return pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")(warned_of(test))


def in_a_child(work):
    process = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    process.start()
    process.join(30)
    assert process.exitcode == 0


@forks
def test_a_forked_child_writes_a_file_of_its_own(sink, folder):
    sink.write([{"ts": MARCH, "n": 1}])
    in_a_child(lambda: sink.write([{"ts": MARCH, "n": 2, "pid": os.getpid()}]))
    sink.write([{"ts": MARCH, "n": 3}])
    assert sorted([record["n"] for record in read(file)] for file in files(folder)) == [[1, 3], [2]]
    for file in files(folder):
        pids = {record.get("pid", os.getpid()) for record in read(file)}
        assert pids == {int(file.name.split("-")[-2])}


@forks
def test_a_folder_that_is_read_only_fails_no_call(sink, folder):
    folder.mkdir(parents=True)
    folder.chmod(0o500)

    def child():
        if os.geteuid() == 0:
            os.setuid(65534)  # nothing is read-only for the administrator
        sink.write([{"ts": MARCH}, {"ts": MARCH}])
        assert sink.dropped == 2

    try:
        in_a_child(child)
    finally:
        folder.chmod(0o700)
    assert files(folder) == []


@forks
def test_a_child_forked_while_a_thread_writes_is_not_locked_out(sink, folder, monkeypatch):
    real, inside, go_on = os.write, threading.Event(), threading.Event()
    parent = os.getpid()

    def write(fd, data):
        if os.getpid() == parent:
            inside.set()
            assert go_on.wait(30)
        return real(fd, data)

    monkeypatch.setattr(appending.os, "write", write)
    thread = threading.Thread(target=sink.write, args=([{"ts": MARCH, "n": 1}],))
    thread.start()
    try:
        assert inside.wait(30)
        in_a_child(lambda: sink.write([{"ts": MARCH, "n": 2}]))
    finally:
        go_on.set()
        thread.join()
    assert sorted(record["n"] for record in everything(folder)) == [1, 2]


@forks
def test_what_the_parent_has_lost_the_child_does_not_tell_too(blocked, folder):
    blocked.write([{"ts": MARCH}])
    folder.unlink()
    in_a_child(lambda: blocked.write([{"ts": MARCH, "dropped": blocked.dropped}]))
    assert everything(folder) == [{"ts": MARCH, "dropped": 0}]


def days_in(folder):
    return [day.name for day in sorted(folder.iterdir())]


def pruned():
    for thread in threading.enumerate():
        if thread.name == "lmroute prune":
            thread.join()


def test_days_that_are_too_old_are_removed_once_a_day(folder, monkeypatch):
    today = datetime.now(UTC).date()
    old, kept = (str(today - timedelta(days=days)) for days in (31, 30))
    sink = DailySink(folder, keep_days=30)
    for n, later in enumerate((0, 0, 1)):
        for day in (old, kept):
            (folder / day).mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(daily, "_today", lambda later=later: today + timedelta(days=later))
        sink.write([{"ts": str(today + timedelta(days=n))}])
        pruned()
        gone = {0: {old}, 1: set(), 2: {old, kept}}[n]
        assert {old, kept} - set(days_in(folder)) == gone
    sink.close()


def test_nothing_is_removed_unless_it_is_asked_for(sink, folder):
    (folder / "2001-01-01").mkdir(parents=True)
    sink.write([{}])
    pruned()
    assert "2001-01-01" in days_in(folder)


@given(
    st.lists(st.integers(-1, 90) | st.integers(90, 400), max_size=25),
    st.lists(st.integers(1, 3), min_size=1, max_size=12),
)
def test_whatever_a_disk_takes_what_is_there_and_what_is_told_to_be_lost_add_up(room, sizes):
    """Each number is what one system call takes; -1: it is refused."""
    real, left = os.write, list(room)

    def write(fd, data):
        fits = left.pop(0) if left else len(data)
        if fits < 0:
            raise OSError(28, "No space left on device")
        return real(fd, data[:fits])

    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        sink = DailySink(Path(name))
        patch.setattr(appending.os, "write", write)
        given = 0
        for size in sizes:
            sink.write([{"ts": MARCH, "n": given + n} for n in range(size)])
            given += size
        left.clear()
        sink.close()
        there, lost = [], 0
        for file in files(Path(name)):
            for line in file.read_bytes().splitlines():
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if not isinstance(record, dict):
                    continue
                there += [record["n"]] if "n" in record else []
                lost += record.get("count", 0)
    assert there == sorted(set(there))
    assert len(there) + lost == given
    assert lost == sink.dropped
