"""The index of call records: however its lines came to it, it says the same."""

import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from lmroute.errors import LmrouteError
from lmroute.telemetry.index import Damaged, Index, ingest, schema
from lmroute.telemetry.usage.latest import Records, records_of
from lmroute.telemetry.usage.queries import BY, NAMES, series, usage

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2026, 11, 20, 12, tzinfo=UTC)
SERVERS = {"lmstudio": "loopback", "openai": "cloud", "embedded": "embedded"}


def common(call, seconds=0.0, **more):
    ts = (START + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
    return {"v": 1, "ts": ts, "run": "r", "call": call, "stack": "p@1", "rule": "all", **more}


def attempt(call, number, provider="lmstudio", code=None, **more):
    known = {"kind": "attempt", "attempt": number, "provider": provider, "type": provider, "model": "m", "asked": "m"}
    ended = {"locality": SERVERS[provider], "duration": 5.0, "status": "error" if code else "ok", "errorCode": code}
    return common(call) | known | ended | more


def answered(call, provider="lmstudio", attempts=1, **more):
    known = {"kind": "call", "provider": provider, "type": provider, "model": "m", "locality": SERVERS[provider]}
    told = {"duration": 12.5, "first_token": None, "status": "ok", "errorCode": None, "attempts": attempts}
    tokens = {"input_tokens": 10, "output_tokens": 3, "cost_usd": 0.25, "cost_from": "profile"}
    return common(call) | known | told | tokens | {"attributes": {"task": "qa"}} | more


def lost(count, seconds=0.0):
    return {"v": 1, "kind": "lost", "ts": common("", seconds)["ts"], "run": "r", "count": count, "sink": "records"}


def line(record):
    return json.dumps(record).encode() + b"\n"


def append(file, *records):
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as out:
        out.write(b"".join(map(line, records)))


def said(index):
    """All that the index says."""
    whole = usage(index, by=NAMES)
    return whole, usage(index, by=("task", "day", "hour")), series(index)


@pytest.fixture
def index(tmp_path):
    with Index(tmp_path / "usage.sqlite") as index:
        yield index


@pytest.fixture
def events(tmp_path):
    return tmp_path / "events"


def test_a_call_and_its_attempts_are_counted(index, events):
    append(events / "2026-11-20" / "a.jsonl", attempt("c", 1, "lmstudio", "timeout"), attempt("c", 2, "openai"))
    append(events / "2026-11-20" / "a.jsonl", answered("c", "openai", 2))
    told = index.ingest([events])
    assert (told.files, told.lines, told.is_busy, told.rebuilt) == (1, 3, False, "")
    found = usage(index)
    assert (found.totals.calls, found.totals.fallbacks) == (1, 1)
    assert [(each.provider, each.attempts, each.failed, each.saved) for each in found.attempts] == [
        ("lmstudio", 1, 1, 1),
        ("openai", 1, 0, 0),
    ]


def test_what_was_taken_is_not_taken_again(index, events):
    append(events / "a.jsonl", attempt("c", 1), answered("c"))
    index.ingest([events])
    before = said(index)
    assert index.ingest([events]).lines == 0
    os.utime(events / "a.jsonl", (1, 1))  # looks changed, and is not
    assert index.ingest([events]).lines == 0
    assert said(index) == before


def test_the_events_of_all_programs_are_the_default(index):
    append(Path(os.environ["LMROUTE_STATE_HOME"]) / "events" / "2026-11-20" / "h-1-1.jsonl", answered("c"))
    assert index.ingest().lines == 1


def test_a_call_in_two_files_counts_once(index, events, tmp_path):
    for file in (events / "a.jsonl", tmp_path / "outputs" / "1" / "calls.jsonl"):
        append(file, attempt("c", 1), answered("c"), lost(3))
    index.ingest([events, tmp_path / "outputs"])
    found = usage(index)
    assert (found.totals.calls, found.attempts[0].attempts, found.lost) == (1, 1, {"records": 3})


def test_of_a_run_only_its_records_are_read(index, tmp_path):
    append(tmp_path / "outputs" / "1" / "calls.jsonl", answered("c"))
    (tmp_path / "outputs" / "1" / "results.jsonl").write_text('{"row": 1}\n')
    index.ingest([tmp_path / "outputs"])
    assert usage(index).totals.calls == 1
    assert usage(index).left_out == {}


def test_an_unfinished_line_is_waited_for(index, events):
    whole = line(answered("c"))
    append(events / "a.jsonl", answered("b"))
    for part, calls, left_out in ((whole[:40], 1, {"unfinished": 1}), (whole[40:], 2, {})):
        with (events / "a.jsonl").open("ab") as out:
            out.write(part)
        index.ingest([events])
        assert usage(index).totals.calls == calls
        assert usage(index).left_out == left_out


@pytest.mark.parametrize("keep_length", [True, False])
def test_a_file_that_is_another_one_now_is_read_from_its_beginning(index, events, keep_length):
    append(events / "a.jsonl", answered("old-call"))
    (events / "a.jsonl").write_bytes((events / "a.jsonl").read_bytes() + b"torn\n")
    index.ingest([events])
    (events / "a.jsonl").unlink()
    append(events / "a.jsonl", answered("new-call"), *([] if keep_length else [answered("c")] * 3))
    if keep_length:
        (events / "a.jsonl").write_bytes((events / "a.jsonl").read_bytes() + b"nrot\n")
    os.utime(events / "a.jsonl", (9, 9))
    index.ingest([events])
    found = usage(index)
    assert found.totals.calls == (2 if keep_length else 3), "what was read of the old one happened"
    assert found.left_out == ({"torn": 1} if keep_length else {}), "the lines of the file as it is"


def test_a_file_that_cannot_be_read_is_named_and_stops_nobody(index, events, monkeypatch):
    append(events / "a.jsonl", answered("c"))
    append(events / "b.jsonl", answered("d"))
    pieces = ingest.files.pieces

    def refused(path, start):
        if path.endswith("a.jsonl"):
            raise PermissionError(13, "no")
        return pieces(path, start)

    with monkeypatch.context() as patch:
        patch.setattr(ingest.files, "pieces", refused)
        told = index.ingest([events])
    assert [Path(path).name for path in told.unreadable] == ["a.jsonl"]
    assert usage(index).totals.calls == 1
    index.ingest([events])
    assert usage(index).totals.calls == 2


@pytest.mark.parametrize("size", [1, 7, 100, 1000])
def test_a_file_is_read_in_pieces_of_whole_lines(index, events, monkeypatch, size):
    monkeypatch.setattr(ingest.files, "_PIECE", size)
    for number in range(5):
        append(events / "a.jsonl", attempt(f"c{number}", 1), answered(f"c{number}"))
    index.ingest([events])
    assert (usage(index).totals.calls, usage(index).left_out) == (5, {})
    for number in range(5):
        found = records_of(index, f"c{number}")
        assert (found.call, found.attempts) == (answered(f"c{number}"), (attempt(f"c{number}", 1),))


def test_a_record_that_is_not_where_it_was_is_none(index, events):
    append(events / "a.jsonl", attempt("c", 1), answered("c"))
    index.ingest([events])
    whole = (events / "a.jsonl").read_bytes()
    for other in (whole.replace(b'"c"', b'"d"'), whole[5:], b""):
        (events / "a.jsonl").write_bytes(other)
        assert records_of(index, "c") == Records(None, (), (events / "a.jsonl").resolve())
    (events / "a.jsonl").unlink()
    assert records_of(index, "c") == Records(None, (), (events / "a.jsonl").resolve())


def test_all_questions_of_a_moment_see_the_same(tmp_path, events):
    append(events / "a.jsonl", answered("c"))
    with Index(tmp_path / "i.sqlite") as index, Index(tmp_path / "i.sqlite") as other:
        other.ingest([events])
        with index.moment():
            assert usage(index).totals.calls == 1
            append(events / "a.jsonl", answered("d"))
            other.ingest([events])
            assert usage(index).totals.calls == 1
        assert usage(index).totals.calls == 2


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a file's name is text")
def test_a_file_whose_name_is_no_text_stops_nobody(index, events):
    append(events / "a.jsonl", answered("c"))
    append(events / os.fsdecode(b"\xff.jsonl"), answered("d"))
    assert len(index.ingest([events]).unreadable) == 1
    assert usage(index).totals.calls == 1


HOSTILE = [
    (b"no json", "torn"),
    (b'{"v": 1, "kind": "call", "call": "c"', "torn"),
    (b'["a", "list"]', "torn"),
    (b'{"kind": "call"}', "torn"),
    (line(answered("c", duration=1.0)).replace(b"1.0", b"NaN").strip(), "torn"),
    (line(answered("c") | {"v": 2}), "version 2"),
    (line(answered("c") | {"v": [1]}), "version ?"),
    (line(answered("c") | {"v": "9" * 500}), f"version {'9' * 20}"),
    (line(answered("c") | {"kind": "dream"}), "misshapen"),
    (line(answered("")), "misshapen"),
    (line(answered(7)), "misshapen"),
    (line(answered("c" * 5000)), "misshapen"),
    (line(answered("c", provider="lmstudio") | {"provider": 7}), "misshapen"),
    (line(answered("c") | {"model": ["m"]}), "misshapen"),
    (line(answered("c", status="fine")), "misshapen"),
    (line(answered("c", status=True)), "misshapen"),
    (line(answered("c", ts="yesterday")), "misshapen"),
    (line(answered("c", ts=12)), "misshapen"),
    (line(answered("c", ts="9999-12-31T23:59:59-23:59")), "misshapen"),
    (line(answered("c", ts="0001-01-01T00:00:00")), "misshapen"),
    (line(attempt("c", 0)), "misshapen"),
    (line(attempt("c", 10**30)), "misshapen"),
    (line(attempt("c", True)), "misshapen"),
    (line(lost("many")), "misshapen"),
]


@pytest.mark.parametrize(("bad", "what"), HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_record_is_counted_and_stops_nobody(index, events, bad, what):
    append(events / "a.jsonl", answered("before"))
    with (events / "a.jsonl").open("ab") as out:
        out.write(bad.strip() + b"\n \n")
    append(events / "a.jsonl", answered("after"))
    index.ingest([events])
    found = usage(index)
    assert found.totals.calls == 2
    assert found.left_out == {what: 1}


@pytest.mark.parametrize("number", [10**30, -5, "12", True, [1], {}, 1e300, 2**63])
def test_an_absurd_number_is_an_unknown_one(index, events, number):
    names = ("duration", "first_token", "attempts", "input_tokens", "output_tokens", "cost_usd")
    append(events / "a.jsonl", answered("c") | dict.fromkeys(names, number))
    index.ingest([events])
    of = usage(index).totals
    assert (of.calls, of.p50_ms, of.input_tokens, of.untold, of.cost_usd) == (1, None, None, 1, None)


def test_absurd_numbers_do_not_overflow_what_adds_them_up(index, events):
    most = {"input_tokens": 10**10, "output_tokens": 10**10, "cost_usd": 10**4, "duration": 10**11}
    append(events / "a.jsonl", *(answered(f"c{n}") | most for n in range(2000)))
    index.ingest([events])
    assert usage(index).totals.input_tokens == 2000 * 10**10
    assert usage(index).totals.cost_usd == 2000 * 10**4


WORDS = st.one_of(st.none(), st.text(max_size=5), st.integers(), st.booleans(), st.lists(st.integers(), max_size=2))
NAMED = (
    "v", "kind", "ts", "call", "run", "attempt", "provider", "model", "asked", "rule", "status", "errorCode",
    "attributes", "duration", "first_token", "attempts", "input_tokens", "cost_usd", "cost_from", "count", "sink",
)  # fmt: skip


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([answered("c"), attempt("c", 1), lost(1)]),
            st.dictionaries(st.sampled_from(NAMED), WORDS | st.floats(), max_size=3),
        ),
        max_size=8,
    ),
    st.binary(max_size=40),
)
def test_nothing_in_a_file_is_fatal(tmp_path_factory, changed, rubbish):
    file = tmp_path_factory.mktemp("any") / "a.jsonl"
    file.write_bytes(b"".join(line(record | changes) for record, changes in changed) + rubbish + b"\n")
    append(file, answered("the last"))
    with Index() as index:
        index.ingest([file])
        said(index)
        assert index.rows("SELECT count(*) FROM calls WHERE call = 'the last'") == [(1,)]


CALL = st.tuples(
    st.integers(0, 200),
    st.sampled_from(sorted(SERVERS)),
    st.none() | st.sampled_from(sorted(SERVERS)),
    st.sampled_from(["timeout", "transport"]),
    st.sampled_from(["ok", "error", "cancelled"]),
    st.floats(0, 1e6),
)


def lines_of(number, call):
    """A call: it is answered or not by the first candidate, or by the second after the first."""
    seconds, first, second, code, status, ms = call
    name, at = f"call{number}", {"ts": common("", seconds)["ts"]}
    ended = None if status == "ok" else code if status == "error" else "cancelled"
    last = {"status": status, "errorCode": ended}
    tries = [attempt(name, 1, first, code) | at] if second else []
    tries.append(attempt(name, len(tries) + 1, second or first) | last | at)
    by = answered(name, second or first, len(tries), duration=ms) | last | at
    return [*tries, by if status == "ok" else by | {"provider": None, "model": None, "locality": None}]


@st.composite
def histories(draw):
    """Lines, and ways in which they come: to which files, cut where, taken when, interrupted when."""
    calls = draw(st.lists(CALL, min_size=1, max_size=8))
    good = [line(record) for number, call in enumerate(calls) for record in lines_of(number, call)]
    rubbish = st.sampled_from([b"torn\n", b'{"v": 3}\n', line(lost(2, 5)), line(lost(1, 70))])
    bad = draw(st.lists(rubbish, max_size=3, unique=True))
    lines = draw(st.permutations(good + bad))
    again = draw(st.lists(st.sampled_from(good), max_size=5))
    count = len(lines) + len(again)
    taken = st.none() | st.none() | st.none() | st.integers(0, 6)
    steps = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60), taken), min_size=count, max_size=count))
    return lines, again, steps


class Killed(BaseException):
    """The process is gone."""


def interrupted(index_file, folder, after):
    """Take what there is, and be gone after so many lines."""
    left = [after]
    take = ingest.Ingester._take_line

    def take_line(self, *line):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        take(self, *line)

    with pytest.MonkeyPatch.context() as patch, Index(index_file) as index:
        patch.setattr(ingest.Ingester, "_take_line", take_line)
        patch.setattr(ingest, "_ENOUGH", 2)
        with suppress(Killed):
            index.ingest([folder])


@given(histories())
@settings(max_examples=50)
def test_however_the_lines_come_the_totals_are_the_same(tmp_path_factory, history):
    lines, again, steps = history
    folder = tmp_path_factory.mktemp("history")
    (folder / "once").mkdir()
    (folder / "once" / "a.jsonl").write_bytes(b"".join(lines))
    index_file, parts = folder / "usage.sqlite", folder / "parts"
    parts.mkdir()
    # A file ends at any byte for a while, so each has what is not written to it yet.
    for whole, (file, cut, killed_after) in zip([*lines, *again], steps, strict=True):
        with (parts / f"{file}.jsonl").open("ab") as out:
            out.write(whole[:cut])
        if killed_after is not None:
            interrupted(index_file, parts, killed_after)
        with (parts / f"{file}.jsonl").open("ab") as out:
            out.write(whole[cut:])
    with Index() as once, Index(index_file) as index:
        once.ingest([folder / "once"])
        index.ingest([parts])
        assert said(index) == said(once)


def test_who_comes_second_asks_what_is_there(tmp_path, events):
    append(events / "a.jsonl", answered("c"))
    with Index(tmp_path / "i.sqlite") as one, Index(tmp_path / "i.sqlite") as two:
        one.ingest([events])
        append(events / "a.jsonl", answered("d"))
        with one._lock():
            told = two.ingest([events])
        assert (told.is_busy, told.lines) == (True, 0)
        assert usage(two).totals.calls == 1
        assert two.ingest([events]).lines == 1


def test_who_waits_for_the_first_takes_what_is_new(tmp_path, events):
    append(events / "a.jsonl", answered("c"))
    with Index(tmp_path / "i.sqlite") as one, Index(tmp_path / "i.sqlite") as two:
        lock = FileLock(one._lock().lock_file, thread_local=False)
        lock.acquire()
        timer = threading.Timer(0.05, lock.release)
        try:
            timer.start()
            told = two.ingest([events], wait_s=30)
        finally:
            timer.join()
        assert (told.is_busy, told.lines) == (False, 1)


@pytest.mark.parametrize("make", [answered, lambda call: attempt(call, 1), lambda call: lost(3)])
@pytest.mark.parametrize("ts", ["9999-12-31T23:59:59.999+00:00", "2026-11-22T00:00:00.001+00:00"])
def test_a_record_of_a_time_to_come_is_none(index, events, make, ts):
    now = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
    append(events / "a.jsonl", answered("c"), make("late") | {"ts": ts}, make("soon") | {"ts": "2026-11-22T00:00:00Z"})
    index.ingest([events], now=now)
    told = usage(index)
    assert told.left_out == {"misshapen": 1}
    taken = [index.rows(f"SELECT count(*) FROM {table}") for table in ("calls", "attempts", "lost")]
    assert sum(count for ((count,),) in taken) == 2


def test_ingesters_in_threads_beside_a_writer_lose_nothing(tmp_path, events):
    errors = []

    def take():
        try:
            with Index(tmp_path / "i.sqlite") as index:
                for _ in range(30):
                    index.ingest([events])
                    usage(index)
        except Exception as error:  # noqa: BLE001 - told in the main thread
            errors.append(error)

    threads = [threading.Thread(target=take) for _ in range(3)]
    events.mkdir()
    try:
        for thread in threads:
            thread.start()
        for number in range(200):
            append(events / f"{number % 3}.jsonl", attempt(f"c{number}", 1), answered(f"c{number}"))
    finally:
        for thread in threads:
            thread.join()
    assert errors == []
    with Index(tmp_path / "i.sqlite") as index:
        index.ingest([events])
        assert usage(index).totals.calls == 200
        assert index.rows("PRAGMA integrity_check") == [("ok",)]


def test_an_index_that_several_make_at_once_is_one(tmp_path, events):
    append(events / "a.jsonl", answered("c"))
    found = []

    def make(file, together):
        together.wait()
        with Index(file) as index:
            index.ingest([events])
            found.append(index.rows("SELECT count(*) FROM left_out"))

    for number in range(10):
        together = threading.Barrier(4)
        work = (tmp_path / f"{number}.sqlite", together)
        threads = [threading.Thread(target=make, args=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [[(0,)]] * 40


INGESTER = """
import sys, time
from pathlib import Path
from lmroute.telemetry.index import Index, ingest
ingest._ENOUGH = 500
until = time.monotonic() + float(sys.argv[3])
while time.monotonic() < until:
    with Index(Path(sys.argv[1])) as index:
        index.ingest([Path(sys.argv[2])])
"""


@pytest.mark.slow
def test_ingesters_that_are_killed_at_random_leave_an_index_that_can_go_on(tmp_path, events):
    dice = random.Random(6)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for number in range(8):
        append(events / f"{number}.jsonl", *(answered(f"{number}-{n}") for n in range(3000)))
    command = [sys.executable, "-c", INGESTER, str(tmp_path / "i.sqlite"), str(events), "20"]
    for _ in range(4):
        pair = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE) for _ in range(2)]
        time.sleep(0.4 + dice.random() * 0.5)
        for process in pair:
            process.kill()
            assert process.communicate()[1] == b""
    with Index(tmp_path / "i.sqlite") as index:
        index.ingest([events])
        found = usage(index)
        assert (found.totals.calls, found.left_out) == (24_000, {})
        assert index.rows("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("content", [b"no database at all" * 100, "foreign", "other tables"])
def test_a_file_that_is_no_index_of_ours_is_made_anew(tmp_path, events, content):
    file = tmp_path / "usage.sqlite"
    append(events / "a.jsonl", answered("c"))
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        with Index(file) as index:
            index.ingest([events])
        connection = sqlite3.connect(file)
        if content == "foreign":
            connection.execute("PRAGMA user_version=99")
        else:
            connection.execute("DROP TABLE calls")
        connection.commit()
        connection.close()
    with Index(file) as index:
        told = index.ingest([events])
        assert usage(index).totals.calls == 1
    assert str(file) in told.rebuilt
    assert "made anew" in told.rebuilt
    assert "\n" not in told.rebuilt
    with Index(file) as index:
        assert index.ingest([events]).rebuilt == ""


def test_damage_that_a_question_meets_is_told_and_mended(tmp_path, events):
    append(events / "a.jsonl", *(answered(f"c{n}") for n in range(500)))
    file = tmp_path / "usage.sqlite"
    with Index(file) as index:
        index.ingest([events])
    data = bytearray(file.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)  # all pages but the first, which says what it is
    file.write_bytes(data)
    with Index(file) as index:
        with pytest.raises(Damaged) as raised:
            usage(index)
        index.rebuild(raised.value)
        index.ingest([events])
        assert usage(index).totals.calls == 500


def test_an_index_that_can_be_neither_opened_nor_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LmrouteError, match=r"usage\.sqlite: the usage index cannot be opened"):
        Index(tmp_path / "file" / "usage.sqlite")


def test_the_file_is_its_owners(tmp_path):
    with Index(tmp_path / "new" / "usage.sqlite") as index:
        index.ingest([])
    if os.name == "posix":
        assert {p.stat().st_mode & 0o077 for p in (tmp_path / "new").iterdir()} == {0}
        assert (tmp_path / "new").stat().st_mode & 0o077 == 0


def test_what_is_old_and_in_no_file_goes(index, events):
    day = 86_400
    for name, at in (("old", 0), ("kept", 0), ("young", 40 * day)):
        ts = {"ts": common("", at)["ts"]}
        append(events / f"{name}.jsonl", attempt(name, 1) | ts, answered(name) | ts)
    append(events / "old.jsonl", lost(1))
    (events / "old.jsonl").write_bytes((events / "old.jsonl").read_bytes() + b"torn\n")
    now = START.timestamp() + 41 * day
    index.ingest([events], now=now)
    (events / "old.jsonl").unlink()
    (events / "young.jsonl").unlink()
    index.ingest([events], keep_days=None, now=now)
    assert usage(index).totals.calls == 3
    index.ingest([events], keep_days=30, now=now)
    found = usage(index)
    assert (found.totals.calls, found.attempts[0].attempts, found.lost, found.left_out) == (2, 2, {}, {})
    assert {name for (name,) in index.rows("SELECT call FROM calls")} == {"kept", "young"}
    assert index.rows("SELECT count(*) FROM files") == [(2,)]


def test_a_private_index_is_nobody_elses(tmp_path, events, monkeypatch):
    append(events / "a.jsonl", answered("c"))
    monkeypatch.chdir(tmp_path)
    with Index() as index, Index() as other:
        index.ingest([events])
        other.ingest([])
        assert (usage(index).totals.calls, usage(other).totals.calls) == (1, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["events"]


def test_each_way_to_tell_calls_apart_is_a_column_or_a_time(index):
    columns = [row[1] for row in index.rows("PRAGMA table_info(dims)")]
    assert [*columns[1:-1]] == [name.replace("errorCode", "error_code") for name in NAMES]
    assert set(BY) - set(NAMES) == {"day", "hour"}
    assert schema.VERSION == 3, "another one makes everybody's index anew"
