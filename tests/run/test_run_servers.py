"""Servers and models that are not what they should be, or stop being it."""

import json
import os
import re
import signal
import sys

import pytest

from lmroute.emulator.backends.script import Line
from lmroute.emulator.running import running
from lmroute.emulator.settings import Settings

# A web server that knows nothing of models.
WEBSITE = """
import http.server

class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<html><body>It works!</body></html>")

    do_POST = do_GET

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""


def test_servers_and_models_that_are_not_what_they_should_be(run, spawn):
    """Each ends with 2 and one message that names what was tried, why it failed, where it is declared, what to do."""
    (run.folder / "no.gguf").write_text("hello", encoding="utf-8")
    _, website = spawn(WEBSITE)
    cases = {
        ("provider=lmstudio", run.nobody()): [
            "lmstudio/auto: transport",
            "connection refused",
            "provider=[lmstudio,embedded]",
        ],
        run.lmstudio(website): ["lmstudio/auto: unavailable", "no JSON, it begins '<html>", "lmstudio.yaml:4:1"],
        ("provider=embedded", "providers.embedded.model_path=no.gguf"): ["no.gguf is not a GGUF file", "model_path"],
        ("provider=embedded",): ["LMROUTE_OFFLINE is set", "or set providers.embedded.model_path=/path/to/model.gguf)"],
        (run.nobody(),): [
            "lmstudio/auto: transport",
            "connection refused",
            "embedded/smollm2",
            "LMROUTE_OFFLINE is set",
        ],
    }
    processes = [run.start(*words, "task.limit=4") for words in cases]
    for process, expected in zip(processes, cases.values(), strict=True):
        done = run.finish(process)
        assert done.code == 2
        assert done.err.startswith("3 of 4 rows got no answer (line ")
        assert "; 1 not asked: no provider answered. Tried " in done.err
        assert [text for text in expected if text not in done.err] == [], done.err
        done.assert_short()
        assert len(done.out.splitlines()) == 1, "nothing to show but what was chosen"


def test_a_server_that_dies_during_a_run_with_nobody_to_take_over(run, hanging):
    server, url = hanging(2)
    process = run.start(*run.lmstudio(url, "task.limit=8"))
    run.wait_for(lambda: len(run.so_far()) == 2, process, "two answers")
    server.kill()
    done = run.finish(process)
    assert done.code == 2
    assert done.err.startswith("3 of 8 rows got no answer (line ")
    assert "; 3 not asked: no provider answered. Tried lmstudio/" in done.err
    assert "declared at" in done.err
    done.assert_short(lines=3)
    assert [bool(line["answer"]) for line in done.results] == [True, True, False, False, False]
    assert "unserved   3 of 5 rows" in done.out


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to a process there")
def test_ctrl_c_ends_a_run_at_once_even_while_a_server_hangs(run, hanging):
    _, url = hanging(2)
    _, other = hanging(2)
    runs = {}
    for address, threads in ((url, 1), (other, 4)):
        folder = f"hydra.run.dir=run{threads}"
        runs[threads] = run.start(*run.lmstudio(address, "task.limit=9", f"task.threads={threads}", folder))
    for threads, process in runs.items():
        folder = run.folder / f"run{threads}"
        calls, results = f"run{threads}/calls.jsonl", f"run{threads}/results.jsonl"
        run.wait_for(
            lambda file=calls: [r["kind"] for r in run.so_far(file)].count("call") == 2, process, "two answers"
        )
        if threads == 1:  # with more, an answer may wait for an earlier row's
            run.wait_for(lambda file=results: len(run.so_far(file)) == 2, process, "two results")
        os.killpg(process.pid, signal.SIGINT)
        done = run.finish(process)
        assert (done.code, done.err) == (130, "interrupted; what was answered is in the run's folder\n")
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        answered = run.so_far(f"run{threads}/results.jsonl")
        assert summary["rows"] == summary["answered"] == len(answered)
        assert threads > 1 or len(answered) == 2


def test_an_answer_that_a_pipe_cannot_spell_is_shown_as_well_as_it_can(run):
    script = (Line(re.compile("note"), '{"item": "寿司", "quantity": 2, "city": "Kraków"}'),)
    with running(Settings(script=script)) as server:
        done = run(*run.lmstudio(server.url, "task=extract", "task.limit=1"), PYTHONIOENCODING="ascii")
    assert (done.code, done.err) == (0, "")
    assert "??, 2, Krak?w" in done.out
    assert done.results[0]["answer"]["item"] == "寿司"
