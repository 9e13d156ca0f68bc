"""Lines in a file: complete, private, from many threads and processes, and never at a call's expense."""

import errno
import json
import logging
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lmroute import redact
from lmroute.telemetry.sinks import appending
from lmroute.telemetry.sinks.sink import JsonlSink, NoSink, Tee

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def sink(tmp_path):
    """A sink in a folder that does not exist yet."""
    sink = JsonlSink(tmp_path / "deep" / "down" / "calls.jsonl")
    yield sink
    sink.close()


def lines(sink):
    text = sink.path.read_bytes().decode()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines() if line]


def test_records_become_lines_in_their_order(sink):
    sink.write([{"a": 1}, {"b": "é\n\u2028"}])
    sink.write(iter([{"c": None}]))
    assert sink.path.read_bytes().count(b"\n") == 3
    assert [json.loads(line) for line in sink.path.read_bytes().split(b"\n")[:-1]] == [
        {"a": 1},
        {"b": "é\n\u2028"},
        {"c": None},
    ]


def test_nothing_is_opened_before_the_first_record(sink):
    assert not sink.path.parent.exists()
    sink.close()
    assert not sink.path.parent.exists()


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such mode bits")
def test_only_the_owner_can_read_them(sink):
    previous = os.umask(0)
    try:
        sink.write([{}])
    finally:
        os.umask(previous)
    assert stat.S_IMODE(sink.path.stat().st_mode) == 0o600


def test_closed_is_opened_again_by_the_next_record(sink):
    sink.write([{"n": 1}])
    sink.close()
    sink.close()
    sink.write([{"n": 2}])
    assert lines(sink) == [{"n": 1}, {"n": 2}]


def test_a_second_sink_of_the_same_file_appends(sink):
    sink.write([{"n": 1}])
    other = JsonlSink(sink.path)
    other.write([{"n": 2}])
    other.close()
    sink.write([{"n": 3}])
    assert [line["n"] for line in lines(sink)] == [1, 2, 3]


def test_secrets_do_not_get_into_the_file(sink):
    awkward = 'se"cret\\of-a-test'
    redact.remember(awkward)
    sink.write([{"message": f"{awkward} and sk-abcdefgh12345678", "also": "first line\nsk-abcdefgh12345678"}])
    assert lines(sink) == [{"message": "*** and ***", "also": "first line\n***"}]


def test_half_a_character_is_written_as_a_question_mark(sink):
    sink.write([{"message": "broken \ud800 emoji"}])
    assert lines(sink) == [{"message": "broken ? emoji"}]


def test_threads_lose_and_tear_nothing(sink):
    threads = [
        threading.Thread(
            target=lambda who=who: [sink.write([{"who": who, "n": n}, {"pad": "x" * 500}]) for n in range(50)]
        )
        for who in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = lines(sink)
    assert len(written) == 800
    for who in range(8):
        assert [line["n"] for line in written if line.get("who") == who] == list(range(50))


def test_threads_open_it_once(sink, monkeypatch):
    opened, real = [], os.open

    def slowly(*args):
        opened.append(args)
        time.sleep(0.05)  # so that another thread comes along meanwhile
        return real(*args)

    monkeypatch.setattr(appending.os, "open", slowly)
    threads = [threading.Thread(target=sink.write, args=([{}],)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1
    assert len(lines(sink)) == 4


WRITER = """
import sys
from pathlib import Path
from lmroute.telemetry.sinks.sink import JsonlSink
sink = JsonlSink(Path(sys.argv[1]))
sys.stdin.readline()
for n in range(100):
    sink.write([{"who": sys.argv[2], "n": n, "pad": "x" * 3000}])
"""


@pytest.mark.skipif(os.name != "posix", reason="only POSIX promises that appending is atomic between processes")
def test_processes_lose_and_tear_nothing(tmp_path):
    path = tmp_path / "calls.jsonl"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, path, str(who)], stdin=subprocess.PIPE, env=environment)
        for who in range(4)
    ]
    for writer in writers:
        writer.stdin.write(b"go\n")
        writer.stdin.close()
    assert [writer.wait(timeout=60) for writer in writers] == [0] * 4
    written = lines(JsonlSink(path))
    assert len(written) == 400
    for who in range(4):
        assert [line["n"] for line in written if line["who"] == str(who)] == list(range(100))


@pytest.fixture
def blocked(tmp_path):
    """A sink whose folder cannot be made: a file is in the way."""
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    return JsonlSink(tmp_path / "file" / "calls.jsonl")


def test_what_cannot_be_written_is_counted_and_said_once(blocked, caplog):
    with caplog.at_level(logging.WARNING, "lmroute.telemetry"):
        blocked.write([{}, {}])
        blocked.write([{}])
    assert blocked.dropped == 3
    [warning] = caplog.records
    assert "call records cannot be written to" in warning.getMessage()
    assert str(blocked.path) in warning.getMessage()


def test_threads_that_cannot_write_are_counted_exactly_and_said_once(blocked, caplog):
    start = threading.Barrier(8)

    def write():
        start.wait()
        for _ in range(50):
            blocked.write([{}])

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blocked.dropped == 400
    assert len(caplog.records) == 1


@pytest.mark.parametrize("record", [{"a": object()}, {"a": {1, 2}}, {("a",): 1}])
def test_a_record_that_json_cannot_hold_fails_no_call(sink, caplog, record):
    sink.write([record])
    sink.write([{"fine": True}])
    assert sink.dropped == 1
    lost, fine = lines(sink)
    assert (lost["kind"], lost["count"], lost["sink"], fine) == ("lost", 1, "file", {"fine": True})


def test_a_record_that_contains_itself_fails_no_call(sink):
    record = {}
    record["self"] = record
    sink.write([record])
    assert sink.dropped == 1


def test_a_full_disk_tears_only_what_it_says(sink, monkeypatch, caplog):
    """The system writes what fits and says how much that was."""
    real, room = os.write, [5, 0, 0, 1000]

    def write(fd, data):
        if not (fits := room.pop(0)):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data[:fits])

    monkeypatch.setattr(appending.os, "write", write)
    for n in range(3):
        sink.write([{"n": n}])
    assert sink.dropped == 2
    assert "No space left" in caplog.text
    torn, lost, fine = sink.path.read_bytes().splitlines()
    assert (torn, json.loads(lost)["count"], fine) == (b'{"n":', 2, b'{"n":2}')


def test_lines_that_did_get_in_are_not_counted_as_lost(sink, monkeypatch):
    real, room = os.write, [14, 1000, 1000]
    monkeypatch.setattr(appending.os, "write", lambda fd, data: real(fd, data[: room.pop(0)]))
    sink.write([{"n": 1}, {"n": 2}, {"n": 3}])
    sink.write([{"n": 4}])
    assert sink.dropped == 2
    first, torn, lost, last = sink.path.read_bytes().splitlines()
    assert (first, torn, json.loads(lost)["count"], last) == (b'{"n":1}', b'{"n":2', 2, b'{"n":4}')


def test_after_a_line_that_somebody_was_killed_in_the_next_has_its_own(sink):
    sink.path.parent.mkdir(parents=True)
    sink.path.write_bytes(b'{"n":1}\n{"n"')
    sink.write([{"n": 2}])
    sink.write([{"n": 3}])
    assert sink.path.read_bytes().splitlines() == [b'{"n":1}', b'{"n"', b'{"n":2}', b'{"n":3}']


def test_a_file_that_was_deleted_is_made_again(sink):
    sink.write([{"n": 1}])
    shutil.rmtree(sink.path.parent.parent)
    sink.write([{"n": 2}])
    assert lines(sink) == [{"n": 2}]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_without_any_room(caplog):
    sink = JsonlSink(Path("/dev/full"))
    sink.write([{"n": 1}])
    sink.close()
    assert sink.dropped == 1
    assert "No space left" in caplog.text


def test_no_sink_takes_everything():
    assert NoSink().write([{"a": object()}]) is None


def test_a_path_may_be_a_text(tmp_path):
    sink = JsonlSink(str(tmp_path / "deep" / "calls.jsonl"))
    sink.write([{"n": 1}])
    sink.close()
    assert lines(sink) == [{"n": 1}]


def test_a_stream_that_is_collected_while_its_thread_writes_locks_nobody_out(sink, monkeypatch):
    real, left = os.write, [{"n": "from a finalizer"}]

    def write(fd, data):
        if left:
            sink.write([left.pop()])
        return real(fd, data)

    monkeypatch.setattr(appending.os, "write", write)
    sink.write([{"n": 1}])
    assert [line["n"] for line in lines(sink)] == ["from a finalizer", 1]


class Kept:
    """A sink that keeps everything, and may be broken."""

    def __init__(self, name="", said=None):
        self.name, self.said = name, said if said is not None else []
        self.lines = []

    def write(self, lines):
        if self.name == "broken":
            raise RuntimeError("no sk-abcdefgh12345678 today")
        self.lines.append(lines)

    def flush(self):
        return self.name != "slow"

    def close(self):
        self.said.append(self.name)
        if self.name == "broken":
            raise OSError("cannot be closed")


def test_all_get_the_same_records_whatever_happens_to_one(caplog):
    before, broken, after, made = Kept(), Kept("broken"), Kept(), []
    tee = Tee([before, broken, NoSink(), after])
    for n in range(2):
        tee.write(made.append(n) or {"n": n} for _ in range(1))
    assert [list(records) for records in before.lines] == [[{"n": 0}], [{"n": 1}]] == list(map(list, after.lines))
    assert made == [0, 1]
    [warning] = caplog.records
    assert warning.getMessage() == "the sink Kept failed: RuntimeError: no *** today; the calls themselves go on"


def test_all_are_closed_whatever_happens_to_one_the_last_first():
    said = []
    Tee([Kept("first", said), Kept("broken", said), NoSink(), Kept("last", said)]).close()
    assert said == ["last", "broken", "first"]


def test_all_have_finished_only_if_each_has():
    assert Tee([Kept(), NoSink()]).flush()
    assert not Tee([Kept("slow"), Kept()]).flush()
