"""Days that are too old go, and nothing else does."""

import threading
from datetime import date

import pytest

from lmroute.telemetry.sinks.pruning import prune

TODAY = date(2026, 3, 31)


@pytest.fixture
def day(tmp_path):
    """Make a folder with a file of records in it."""

    def make(name):
        folder = tmp_path / "events" / name
        folder.mkdir(parents=True)
        (folder / "host-1-x.jsonl").write_text("{}\n", encoding="utf-8")
        return folder

    return make


def test_only_what_is_older_goes(day, tmp_path):
    kept = [day(name) for name in ("2026-03-24", "2026-03-31", "2026-04-01", "9999-12-31")]
    old = [day(name) for name in ("2025-12-31", "2026-03-23")]
    assert prune(tmp_path / "events", 7, TODAY) == old
    assert [folder.exists() for folder in old + kept] == [False] * 2 + [True] * 4
    assert all((folder / "host-1-x.jsonl").exists() for folder in kept)


@pytest.mark.parametrize("name", ["notes", "2020-01", "2020-13-01", "20200101", "2020-01-01.old", "x2020-01-01"])
def test_a_folder_that_is_no_days_stays(day, tmp_path, name):
    folder = day(name)
    assert prune(tmp_path / "events", 7, TODAY) == []
    assert (folder / "host-1-x.jsonl").exists()


def test_a_file_called_like_a_day_stays(tmp_path):
    (tmp_path / "2020-01-01").write_text("mine", encoding="utf-8")
    assert prune(tmp_path, 7, TODAY) == []
    assert (tmp_path / "2020-01-01").read_text(encoding="utf-8") == "mine"


def test_what_somebody_else_has_put_into_a_day_stays(day, tmp_path):
    folder = day("2020-01-01")
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    (folder / "below.jsonl").mkdir()
    (folder / "below.jsonl" / "a.jsonl").write_text("mine", encoding="utf-8")
    assert prune(tmp_path / "events", 7, TODAY) == []
    assert sorted(path.name for path in folder.rglob("*")) == ["a.jsonl", "below.jsonl", "notes.txt"]


def test_nothing_is_removed_through_a_link(day, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.jsonl").write_text("mine", encoding="utf-8")
    folder = day("2020-01-01")
    try:
        (folder / "b.jsonl").symlink_to(elsewhere / "a.jsonl")
        (folder.parent / "2020-01-02").symlink_to(elsewhere, target_is_directory=True)
    except OSError:
        pytest.skip("this system lets nobody make links")
    prune(tmp_path / "events", 7, TODAY)
    assert (elsewhere / "a.jsonl").read_text(encoding="utf-8") == "mine"
    assert (folder / "b.jsonl").is_symlink()


def test_a_folder_that_does_not_exist_has_nothing_to_remove(tmp_path):
    assert prune(tmp_path / "none", 7, TODAY) == []


def test_several_may_do_it_at_once(day, tmp_path):
    for number in range(1, 29):
        folder = day(f"2020-02-{number:02}")
        for n in range(5):
            (folder / f"host-{n}-y.jsonl").write_text("{}\n", encoding="utf-8")
    start, failed = threading.Barrier(4), []

    def work():
        start.wait()
        try:
            prune(tmp_path / "events", 7, TODAY)
        except Exception as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert list((tmp_path / "events").iterdir()) == []
