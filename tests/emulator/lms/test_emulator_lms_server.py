"""L24: `server`, `daemon`, `version`, `log`; and what is no command."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from httpx import get

from lmroute.emulator.catalog import SCRIPTED
from lmroute.emulator.control.remote import Remote
from lmroute.emulator.lms import log
from lmroute.emulator.lms.address import VARIABLE
from lmroute.emulator.running import running

TERN = SCRIPTED[0].key


def test_the_server_runs(lms, seen):
    run = lms()

    status = seen(run("server", "status", "--json"), "lms_server_status")
    daemon = seen(run("daemon", "status", "--json"), "lms_daemon_status")
    assert status == {"running": True, "port": int(os.environ[VARIABLE].rpartition(":")[2])}
    assert daemon == {"status": "running", "pid": os.getpid(), "isDaemon": True}
    assert run("server", "start")[0] == 0
    assert run("server", "stop")[0] == 1
    assert run("server", "status", "--json")[0] == 0  # so it was not stopped


def test_nothing_runs(lms, seen):
    run, away = lms(), ("--port", "1")  # no server may have that port

    assert seen(run("server", "status", "--json", *away), "lms_server_status") == {"running": False}
    assert seen(run("daemon", "status", "--json", *away), "lms_daemon_status") == {"status": "not-running"}
    assert [run(*words)[0] for words in (("server", "stop", *away), ("server", "start", "-p", "1"))] == [1, 1]
    code, out, told = run("ps", "--json", *away)
    assert (code, out) == (1, "")
    assert "no emulator answers at http://127.0.0.1:1; start it with: lmroute emulator" in told


def test_the_version_is_a_commit_and_asks_nobody(lms, monkeypatch, seen):
    run = lms()
    monkeypatch.setenv(VARIABLE, "http://127.0.0.1:1")

    version = seen(run("version", "--json"), "lms_version")["version"]
    assert (len(version), int(version, 16) > 0) == (7, True)


def test_the_log_has_a_record_for_every_request_from_now_on(emulate, valid):
    client = emulate()
    client.get("/v1/models")
    looks = iter([(), ("/v1/models", "/api/v1/models"), (), [f"/{number}" for number in range(60)]])

    def ask_meanwhile(_seconds):
        for path in next(looks):
            client.get(path)

    stream = log.records(Remote(str(client.base_url)), ask_meanwhile)
    found = [next(stream) for _ in range(52)]

    for record in found:
        valid(record, "lms_log_record")
    texts = [record["data"]["content"].partition("] Received request: ")[2] for record in found]
    assert texts == [f"GET to {path}" for path in ("/v1/models", "/api/v1/models", *(f"/{n}" for n in range(10, 60)))]


def test_the_log_goes_on_after_a_reset(emulate):
    client = emulate()
    for _ in range(3):
        client.get("/v1/models")

    def reset_and_ask(_seconds):
        remote.reset()
        client.get("/after")

    remote = Remote(str(client.base_url))
    record = next(log.records(remote, reset_and_ask))

    assert record["data"]["content"].endswith("GET to /after")


def test_the_log_ends_when_the_emulator_does():
    with running() as emulator:
        stream = log.records(Remote(emulator.url), lambda _: None)
        get(f"{emulator.url}/v1/models")

    assert list(stream) == []


def test_there_is_no_log_of_the_model(lms):
    assert lms()("log", "stream") == (1, "", "Error: the emulator keeps no log of its model; say --source server\n")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent another way there")
@pytest.mark.slow
def test_ctrl_c_ends_the_log(emulate):
    client = emulate()
    command = [sys.executable, "-m", "lmroute.emulator.lms", "log", "stream", "-s", "server", "--json"]
    environment = {**os.environ, VARIABLE: str(client.base_url)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as streaming:
        try:
            while not select.select([streaming.stdout], [], [], 0.2)[0]:
                client.get("/v1/models")
            line = streaming.stdout.readline()
        finally:
            streaming.send_signal(signal.SIGINT)

    assert json.loads(line)["data"]["content"].endswith("Received request: GET to /v1/models")
    assert streaming.returncode == 130


class LikeLMStudio(BaseHTTPRequestHandler):
    """The real server's answer to a path that it does not know."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"error":"Unexpected endpoint or method. (GET /lmroute-emulator/state)"}')

    def log_message(self, *arguments):
        pass


def test_another_program_is_not_taken_for_an_emulator(lms):
    run = lms()
    with HTTPServer(("127.0.0.1", 0), LikeLMStudio) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        try:
            away = ("--host", "127.0.0.1", "--port", str(other.server_port))
            code, _, told = run("ps", *away)
            status = run("server", "status", "--json", *away)
        finally:
            other.shutdown()
            thread.join()

    assert code == 1
    assert "is not lmroute's emulator" in told
    assert status[:2] == (0, '{"running":false}\n')


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["server", "start", "-p", "abc"],
            "error: option '-p, --port <port>' argument 'abc' is invalid. Not a number\n",
        ),
        (
            ["load", "x", "-c", "-1"],
            "error: option '-c, --context-length <length>' argument '-1' is invalid. Not a number\n",
        ),
        (["load", "x", "--gpu", "max"], "error: unrecognized arguments: --gpu max\n"),
        (["unload", "x", "--all"], "Error: give an identifier or --all, not both\n"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_1(lms, words, told):
    assert lms()(*words) == (1, "", told)


def test_a_variable_that_holds_no_url_is_told(lms, monkeypatch):
    run = lms()
    monkeypatch.setenv(VARIABLE, "localhost:1234")

    code, _, told = run("ps")
    assert code == 1
    assert f"environment variable {VARIABLE} holds no URL" in told
