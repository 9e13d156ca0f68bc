"""Spendings in a file: exact over threads, processes and forks, private, and never at a call's expense."""

import logging
import multiprocessing
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmroute.routing.budget import Spent
from lmroute.telemetry import ledger as ledger_module
from lmroute.telemetry.ledger import Ledger

ROOT = Path(__file__).resolve().parents[2]
HOUR, NEXT, DAY, RUN = "hour 2026-03-01T10Z", "hour 2026-03-01T11Z", "day 2026-03-01Z", "run r1"
posix_only = pytest.mark.skipif(os.name != "posix", reason="Windows has no such mode bits")


def forks(test):
    warned_of = pytest.mark.filterwarnings(
        "ignore:.*multi-threaded, use of fork:DeprecationWarning"
    )  # that is the point
    return pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")(warned_of(test))


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened(tmp_path, clock):
    """Make ledgers of one file in a folder that does not exist yet."""
    made = []

    def make(path=tmp_path / "deep" / "down" / "budgets.db"):
        made.append(Ledger(path, clock=clock))
        return made[-1]

    yield make
    for ledger in made:
        ledger.close()


def rows(path):
    connection = sqlite3.connect(path)
    try:
        return sorted(connection.execute("SELECT budget, window, tokens, nano_usd FROM spent"))
    finally:
        connection.close()


def in_threads(count, work):
    start = threading.Barrier(count)

    def run(who):
        start.wait()
        work(who)

    threads = [threading.Thread(target=run, args=(who,)) for who in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_budgets_and_windows_are_apart(opened):
    ledger = opened()
    ledger.add("a", HOUR, 10, 0.5)
    ledger.add("a", NEXT, 1, 0.0)
    ledger.add("b", HOUR, 100, 0.0)
    ledger.add("a", HOUR, 5, 0.25)
    assert ledger.spent("a", HOUR) == Spent(15, 0.75)
    assert ledger.spent("a", NEXT) == Spent(1, 0.0)
    assert ledger.spent("b", HOUR) == Spent(100, 0.0)
    assert ledger.spent("b", DAY) == Spent()
    assert rows(ledger.path) == [("a", HOUR, 15, 750_000_000), ("a", NEXT, 1, 0), ("b", HOUR, 100, 0)]


def test_what_was_spent_survives_its_process(opened):
    first = opened()
    first.add("a", DAY, 7, 0.000_000_15)
    first.close()
    assert opened().spent("a", DAY) == Spent(7, 0.000_000_15)
    first.add("a", DAY, 1, 0.0)  # closed is opened again
    assert first.spent("a", DAY).tokens == 8


def test_others_spendings_are_seen_after_a_second_and_ones_own_at_once(opened, clock):
    mine, other = opened(), opened()
    assert mine.spent("a", HOUR) == Spent()
    other.add("a", HOUR, 10, 1.0)
    clock.now += 0.9
    assert mine.spent("a", HOUR) == Spent()
    clock.now += 0.2
    assert mine.spent("a", HOUR) == Spent(10, 1.0)
    other.add("a", HOUR, 10, 1.0)
    mine.add("a", HOUR, 1, 0.0)
    assert mine.spent("a", HOUR) == Spent(21, 2.0)


def test_a_sum_is_not_read_again_within_a_second(opened, clock, monkeypatch):
    ledger = opened()
    ledger.add("a", HOUR, 1, 0.0)
    monkeypatch.setattr(ledger, "_connected", lambda: pytest.fail("the file was asked"))
    for _ in range(10):
        clock.now += 0.09
        assert ledger.spent("a", HOUR).tokens == 1


def test_a_runs_window_is_never_written(opened):
    ledger = opened()
    ledger.add("a", RUN, 10, 0.5)
    ledger.add("a", "run r2", 1, 0.0)
    assert ledger.spent("a", RUN) == Spent(10, 0.5)
    assert not ledger.path.parent.exists()
    ledger.close()
    assert ledger.spent("a", RUN) == Spent(10, 0.5)


@posix_only
def test_only_the_owner_can_read_it(opened):
    ledger = opened()
    previous = os.umask(0)
    try:
        ledger.add("a", HOUR, 1, 0.0)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(ledger.path.parent.stat().st_mode) == 0o700
    files = list(ledger.path.parent.iterdir())
    assert len(files) == 3  # with its write-ahead log and that one's index
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_old_windows_are_pruned_when_a_new_one_begins(opened):
    ledger = opened()
    for window in (HOUR, NEXT):
        ledger.add("a", window, 1, 0.0)
    ledger.close()
    connection = sqlite3.connect(ledger.path)
    connection.execute("UPDATE spent SET at = at - 8 * 86400 WHERE window = ?", (HOUR,))
    connection.execute("UPDATE spent SET at = at - 6 * 86400 WHERE window = ?", (NEXT,))
    connection.commit()
    connection.close()
    ledger.add("a", NEXT, 1, 0.0)
    assert [row[1] for row in rows(ledger.path)] == [HOUR, NEXT]
    ledger.add("a", DAY, 1, 0.0)
    assert [row[1] for row in rows(ledger.path)] == [DAY, NEXT]


@settings(max_examples=20)
@given(amounts=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 10**6), st.integers(0, 10**6)), max_size=12))
def test_sums_are_exact_in_any_order(amounts):
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "budgets.db")
        for budget, tokens, micro in amounts:
            ledger.add(budget, HOUR, tokens, micro / 1e6)
        expected = [
            (b, HOUR, sum(t for n, t, _ in amounts if n == b), sum(m for n, _, m in amounts if n == b) * 1000)
            for b in sorted({b for b, _, _ in amounts})
        ]
        ledger.close()
        assert not amounts or rows(ledger.path) == expected


def test_threads_lose_nothing(opened):
    ledger, other = opened(), opened()

    def work(who):
        for _ in range(50):
            (ledger, other)[who % 2].add("a", HOUR, 1, 0.000_001)
            (ledger, other)[who % 2].spent("a", HOUR)

    in_threads(8, work)
    assert rows(ledger.path) == [("a", HOUR, 400, 400_000)]


SPENDER = """
import sys
from pathlib import Path
from lmroute.telemetry.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
sys.stdin.readline()
for n in range(100):
    ledger.add("a", "hour 2026-03-01T10Z", 3, 0.1)
    ledger.spent("a", "hour 2026-03-01T10Z")
ledger.close()
"""


def test_processes_lose_nothing(tmp_path):
    """All at once, and all of them the first to open it."""
    path = tmp_path / "budgets.db"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    spenders = [
        subprocess.Popen([sys.executable, "-c", SPENDER, path], stdin=subprocess.PIPE, env=environment)
        for _ in range(4)
    ]
    for spender in spenders:
        spender.stdin.write(b"go\n")
        spender.stdin.flush()
    for spender in spenders:
        spender.stdin.close()
    assert [spender.wait(timeout=60) for spender in spenders] == [0] * 4
    assert rows(path) == [("a", HOUR, 1200, 40_000_000_000)]


@forks
def test_over_a_fork_parent_and_child_both_go_on(opened, clock):
    ledger = opened()
    ledger.add("a", HOUR, 1, 0.0)
    ledger.add("a", RUN, 1, 0.0)

    def child(answers):
        assert ledger._connection is None  # SQLite forbids even to close one that came over a fork
        ledger.add("a", HOUR, 10, 0.0)
        answers.put((ledger.spent("a", HOUR).tokens, ledger.spent("a", RUN).tokens))

    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=child, args=(answers,), daemon=True)
    process.start()
    assert answers.get(timeout=30) == (11, 1)
    process.join()
    ledger.add("a", HOUR, 100, 0.0)
    assert ledger.spent("a", HOUR).tokens == 111
    check = sqlite3.connect(ledger.path)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


@forks
def test_what_the_parent_could_not_write_yet_the_child_does_not_write_too(tmp_path, opened, clock):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    ledger = opened(tmp_path / "file" / "budgets.db")
    ledger.add("a", HOUR, 1, 0.0)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=lambda: answers.put(ledger.spent("a", HOUR).tokens), daemon=True)
    process.start()
    assert answers.get(timeout=30) == 0
    process.join()
    assert ledger.spent("a", HOUR).tokens == 1


@forks
def test_a_fork_while_threads_spend_leaves_the_child_a_ledger_that_works(opened):
    ledger = opened()
    stop = threading.Event()

    def spend():
        while not stop.is_set():
            ledger.add("busy", HOUR, 1, 0.0)

    threads = [threading.Thread(target=spend) for _ in range(2)]
    for thread in threads:
        thread.start()
    context = multiprocessing.get_context("fork")
    spending = {"target": ledger.add, "args": ("child", HOUR, 1, 0.0)}
    children = [context.Process(**spending, daemon=True) for _ in range(5)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
    stop.set()
    for thread in threads:
        thread.join()
    assert [child.exitcode for child in children] == [0] * 5
    assert ("child", HOUR, 5, 0) in rows(ledger.path)


def warned(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "lmroute.telemetry"]


def test_what_cannot_be_written_is_counted_said_once_and_written_when_it_can_be(tmp_path, opened, clock, caplog):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    ledger = opened(tmp_path / "file" / "budgets.db")
    with caplog.at_level(logging.WARNING, "lmroute.telemetry"):
        for _ in range(3):
            ledger.add("a", HOUR, 10, 0.5)
            clock.now += 60
        assert ledger.spent("a", HOUR) == Spent(30, 1.5)
        [message] = warned(caplog)
        assert str(ledger.path) in message
        assert "budgets cannot be kept" in message
        (tmp_path / "file").unlink()
        clock.now += 60
        ledger.add("a", HOUR, 1, 0.0)
        assert ledger.spent("a", HOUR) == Spent(31, 1.5)
    assert rows(ledger.path) == [("a", HOUR, 31, 1_500_000_000)]
    assert len(warned(caplog)) == 1


def test_a_file_that_fails_is_left_alone_for_a_while(opened, clock, monkeypatch):
    ledger, tries = opened(), []

    def refuse(path):
        tries.append(clock.now)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(ledger_module, "_open", refuse)
    for _ in range(100):
        ledger.add("a", HOUR, 1, 0.0)
        ledger.spent("a", HOUR)
        clock.now += 0.1
    assert len(tries) <= 3
    assert ledger.spent("a", HOUR).tokens == 100
    monkeypatch.undo()
    ledger.close()  # the last chance to write it, whenever the next try would have been
    assert rows(ledger.path) == [("a", HOUR, 100, 0)]


def test_a_damaged_file_fails_no_call_and_may_be_deleted(opened, clock, caplog):
    ledger = opened()
    ledger.path.parent.mkdir(parents=True)
    ledger.path.write_bytes(b"this is no database\n" * 500)
    with caplog.at_level(logging.WARNING, "lmroute.telemetry"):
        ledger.add("a", HOUR, 10, 0.0)
        assert ledger.spent("a", HOUR).tokens == 10
    [message] = warned(caplog)
    assert "not a database" in message
    assert "may be deleted" in message
    assert ledger.path.read_bytes().startswith(b"this is no database")
    ledger.path.unlink()
    clock.now += 60
    ledger.add("a", HOUR, 1, 0.0)
    assert rows(ledger.path) == [("a", HOUR, 11, 0)]


def test_a_file_of_another_kind_of_database_is_left_as_it_is(opened, caplog):
    ledger = opened()
    ledger.path.parent.mkdir(parents=True)
    other = sqlite3.connect(ledger.path)
    other.execute("CREATE TABLE spent (something TEXT)")
    other.close()
    with caplog.at_level(logging.WARNING, "lmroute.telemetry"):
        ledger.add("a", HOUR, 10, 0.0)
    assert ledger.spent("a", HOUR).tokens == 10
    assert len(warned(caplog)) == 1


@pytest.mark.parametrize("value", ["'abc'", "NULL", "x'ff'", "9e999"])
@pytest.mark.parametrize("column", ["tokens", "nano_usd"])
def test_a_file_with_other_values_fails_no_call(opened, caplog, column, value):
    ledger = opened()
    ledger.path.parent.mkdir(parents=True)
    connection = sqlite3.connect(ledger.path)
    connection.execute("CREATE TABLE spent (budget, window, tokens, nano_usd, at, PRIMARY KEY (budget, window))")
    connection.execute("INSERT INTO spent VALUES ('a', ?, 1, 1, 1)", (HOUR,))
    connection.execute(f"UPDATE spent SET {column} = {value}")
    connection.commit()
    connection.close()
    with caplog.at_level(logging.WARNING, "lmroute.telemetry"):
        assert ledger.spent("a", HOUR) == Spent()
        ledger.add("a", HOUR, 5, 0.5)
        assert ledger.spent("a", HOUR) == Spent(5, 0.5)
    [message] = warned(caplog)
    assert "budgets cannot be kept" in message


@pytest.mark.parametrize(("tokens", "usd"), [(1, 1e15), (1, float("inf")), (2**70, 0.0)])
def test_absurd_amounts_are_kept_as_the_most_that_fits(opened, caplog, tokens, usd):
    ledger = opened()
    for _ in range(2):
        ledger.add("a", HOUR, tokens, usd)
    spent = ledger.spent("a", HOUR)
    assert spent.tokens > 2**62 or spent.usd > 9e9
    assert opened().spent("a", HOUR) == spent
    assert warned(caplog) == []


def test_a_file_that_somebody_has_locked_delays_no_call_for_long(opened, clock, caplog, monkeypatch):
    monkeypatch.setattr(ledger_module, "_BUSY_S", 0.05)
    ledger = opened()
    ledger.add("a", HOUR, 1, 0.0)
    ledger.close()
    holder = sqlite3.connect(ledger.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with caplog.at_level(logging.WARNING, "lmroute.telemetry"):
        ledger.add("a", HOUR, 2, 0.0)
        ledger.add("a", HOUR, 3, 0.0)
    assert ledger.spent("a", HOUR).tokens >= 5
    [message] = warned(caplog)
    assert "locked" in message
    holder.execute("COMMIT")
    holder.close()
    clock.now += 60
    assert ledger.spent("a", HOUR).tokens == 6
    ledger.close()
    assert rows(ledger.path) == [("a", HOUR, 6, 0)]


def test_a_file_that_somebody_is_just_making_is_waited_for(opened, monkeypatch, caplog):
    """Changing the journal mode is the one thing for which SQLite itself does not wait."""
    ledger = opened()
    ledger.path.parent.mkdir(parents=True)
    maker = sqlite3.connect(ledger.path, isolation_level=None)
    maker.execute("CREATE TABLE other (something TEXT)")
    maker.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(ledger_module.time, "sleep", lambda _: maker.in_transaction and maker.execute("COMMIT"))
    ledger.add("a", HOUR, 1, 0.0)
    maker.close()
    assert warned(caplog) == []
    assert rows(ledger.path) == [("a", HOUR, 1, 0)]


# Root may write anywhere, so it turns into nobody first.
UNPRIVILEGED = """
import logging, os, sys
from pathlib import Path
from lmroute.telemetry.ledger import Ledger
logging.basicConfig(level=logging.WARNING)
if os.geteuid() == 0:
    os.setgid(65534), os.setuid(65534)
ledger = Ledger(Path(sys.argv[1]))
for n in range(3):
    ledger.add("a", "hour 2026-03-01T10Z", 10, 0.5)
print(ledger.spent("a", "hour 2026-03-01T10Z"))
ledger.close()
"""


@posix_only
@pytest.mark.parametrize("exists", [False, True], ids=["folder", "file"])
def test_what_is_read_only_fails_no_call(exists):
    folder = Path(tempfile.mkdtemp())  # not tmp_path, whose parents nobody may enter
    try:
        path = folder / "budgets.db"
        if exists:
            ledger = Ledger(path)
            ledger.add("a", HOUR, 1, 0.0)
            ledger.close()
            path.chmod(0o444)
        folder.chmod(0o555)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, path], env=environment, capture_output=True, text=True, check=True
        )
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)
    assert done.stdout.strip() == str(Spent(30, 1.5))
    assert done.stderr.count("budgets cannot be kept") == 1
    assert "Traceback" not in done.stderr


def test_a_finalizer_that_adds_while_its_thread_writes_loses_nothing(opened, monkeypatch, caplog):
    """Garbage may be collected anywhere, and a stream that nobody holds any more is counted then."""
    ledger, real = opened(), ledger_module._add

    def interrupted(*args):
        monkeypatch.setattr(ledger_module, "_add", real)
        ledger.add("a", HOUR, 100, 1.0)
        ledger.add("late", HOUR, 7, 0.0)
        return real(*args)

    monkeypatch.setattr(ledger_module, "_add", interrupted)
    ledger.add("a", HOUR, 1, 0.5)
    assert warned(caplog) == []
    assert ledger.spent("a", HOUR) == Spent(101, 1.5)
    ledger.close()
    assert rows(ledger.path) == [("a", HOUR, 101, 1_500_000_000), ("late", HOUR, 7, 0)]
