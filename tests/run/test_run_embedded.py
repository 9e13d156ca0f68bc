"""The model that needs no server, as a run uses it."""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
PATIENCE_S = 60.0


def servers_of(runner):
    """Process ids of the embedded servers that a runner's cache knows of."""
    notes = (runner.folder / "cache" / "run").glob("*.json")
    return [json.loads(note.read_text(encoding="utf-8"))["pid"] for note in notes]


def is_gone(pid):
    state = Path(f"/proc/{pid}/stat")
    try:
        os.kill(pid, 0)
        return state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def test_on_a_bare_machine_the_embedded_model_answers_and_the_summary_says_why(embedded):
    words = ("provider=[lmstudio,embedded]", "routing=local_first", embedded.nobody(), "task.limit=4")
    first, second = (embedded.finish(process) for process in [embedded.start(*words) for _ in range(2)])
    assert (first.code, first.err, second.code) == (0, "", 0)
    assert "answered   embedded/smollm2-135m-instruct 4\n" in first.out
    failed = r"^failed     lmstudio (once|\d times): transport: .*: connection refused$"
    assert re.search(failed, first.out, re.MULTILINE)
    assert first.summary["fallbacks"][0]["provider"] == "lmstudio"
    kinds = [record["kind"] for record in first.calls]
    assert kinds[:3] == ["attempt", "attempt", "call"]
    assert kinds.count("call") == 4, "it is asked until it is known to be down, and passed over then"
    assert first.answers == second.answers, "two at once, the same answers"


def test_a_server_that_dies_during_a_run_is_taken_over_from(embedded, hanging):
    server, url = hanging(3)
    process = embedded.start("provider=[lmstudio,embedded]", f"providers.lmstudio.endpoint={url}", "task.limit=6")
    embedded.wait_for(lambda: len(embedded.so_far()) == 3, process, "three answers")
    server.kill()
    done = embedded.finish(process)
    assert (done.code, done.err) == (0, "")
    assert [line["provider"] for line in done.results] == ["lmstudio"] * 3 + ["embedded"] * 3
    assert "answered   lmstudio/" in done.out
    assert ", embedded/smollm2-135m-instruct 3\n" in done.out
    assert "failed     lmstudio" in done.out
    assert (done.summary["answered"], done.summary["unserved"]) == (6, 0)


def test_a_sweep_with_the_embedded_model(embedded):
    done = embedded("-m", "provider=embedded", "task=sentiment,extract", "adapter=compact,json", "task.limit=1")
    assert done.code == 0
    assert [folder.name for folder in done.folders] == ["0", "1", "2", "3"]
    assert done.providers == [["embedded"]] * 4


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to a process there")
def test_ctrl_c_leaves_no_embedded_server_behind(embedded):
    process = embedded.start("provider=embedded")
    embedded.wait_for(lambda: len(embedded.so_far()) >= 2, process, "two answers")
    [pid] = servers_of(embedded)
    assert not is_gone(pid)
    os.killpg(process.pid, signal.SIGINT)
    done = embedded.finish(process)
    assert (done.code, done.err) == (130, "interrupted; what was answered is in the run's folder\n")
    [summary] = embedded.folder.glob("outputs/*/*/summary.json")
    assert json.loads(summary.read_text(encoding="utf-8"))["answered"] == len(embedded.so_far()) >= 2
    end = time.monotonic() + PATIENCE_S
    while not is_gone(pid):
        assert time.monotonic() < end, "the server outlived its run"
        time.sleep(0.05)
