"""The situations of ``situations/*.yaml``, played on loopback, and what ``lmroute validate --live`` says of each."""

import argparse
import json
import re
import shlex
import socket
import threading
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lmroute.cli import emulator as verb
from lmroute.cli import main
from lmroute.emulator.running import running
from lmroute.providers.probe import surroundings

ROOT = Path(__file__).parents[2]
WRITTEN_PORT, WRITTEN_ADDRESS = "1234", "192.168.1.20"
TOKENS = {"KNOWN": "sk-lm-Kn0wnKey:abcdefghij0123456789", "LIMITED": "sk-lm-L1mited0:abcdefghij0123456789"}
VARIABLES = ("LM_API_TOKEN", "LMSTUDIO_API_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY")
VARIABLES += ("no_proxy", "GITHUB_ACTIONS", "LMROUTE_FORMAT")


@pytest.fixture(scope="session")
def emulated():
    """``emulated(options of lmroute emulator) -> port``; equal ones share a server, for nobody changes anything."""
    parser, ports = argparse.ArgumentParser(), {}
    verb.add_arguments(parser)
    with ExitStack() as stack, pytest.MonkeyPatch.context() as environment:
        for name, token in TOKENS.items():
            environment.setenv(name, token)

        def port(options):
            if options not in ports:
                settings = verb._settings(parser.parse_args(shlex.split(options)))
                ports[options] = stack.enter_context(running(settings)).url.rpartition(":")[2]
            return ports[options]

        yield port


@contextmanager
def answering(answers):
    """A server with these answers by path, ``{status, type, body}``; ``*`` is any other path. Its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer = answers.get(self.path) or answers.get("*") or {"status": 404, "type": "text/plain", "body": "no"}
            body = answer["body"] if isinstance(answer["body"], str) else json.dumps(answer["body"])
            self.send_response(answer.get("status", 200))
            self.send_header("Content-Type", answer.get("type", "application/json"))
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield str(server.server_port)
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def nobody():
    """A port that is taken and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield str(taken.getsockname()[1])


def own_address():
    """An address of this machine on its network; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return probe.getsockname()[0]


def machine(folder, told):
    """A machine as the situation tells of it: ``container``, ``wsl``, the ``port`` of LM Studio's own settings."""
    mark, settings = folder / "containerenv", folder / ".lmstudio" / ".internal" / "http-server-config.json"
    if told.get("container"):
        mark.touch()
    if "port" in told:
        settings.parent.mkdir(parents=True)
        settings.write_text(json.dumps({"port": told["port"], "networkInterface": "127.0.0.1"}), encoding="utf-8")
    release = "5.15.0-microsoft-standard-WSL2" if told.get("wsl") else "6.1.0"
    return surroundings.Surroundings((mark,), release, folder)


@pytest.fixture
def play(emulated, tmp_path, monkeypatch, capsys):
    """``play(situation) -> exit code and output``; as printed where the server has LM Studio's port."""

    def played(situation):
        with ExitStack() as stack:
            if "emulator" in situation:
                port = emulated(situation["emulator"] or "")
            elif "answers" in situation:
                port = stack.enter_context(answering(situation["answers"]))
            else:
                port = stack.enter_context(nobody())
            address = own_address() if WRITTEN_ADDRESS in situation["command"] else WRITTEN_ADDRESS
            if address.startswith("127.") or not address:
                pytest.skip("this machine has no address on a network")
            for name in VARIABLES:
                monkeypatch.delenv(name, raising=False)
            for name, value in situation.get("env", {}).items():
                monkeypatch.setenv(name, TOKENS.get(value, value))
            monkeypatch.setattr(surroundings, "HERE", machine(tmp_path, situation.get("machine", {})))
            monkeypatch.chdir(ROOT)
            program, *words = shlex.split(situation["command"])
            assert program == "lmroute"
            here = {f":{WRITTEN_PORT}": f":{port}", WRITTEN_ADDRESS: address}
            endpoint = "providers.lmstudio.endpoint="
            if not any(word.startswith(endpoint) for word in words):
                words.append(f"{endpoint}http://127.0.0.1:{WRITTEN_PORT}")
            code = main([replaced(word, here) for word in words])
            out = capsys.readouterr().out
        back = {f":{port}": f":{WRITTEN_PORT}", f"port {port}": f"port {WRITTEN_PORT}", address: WRITTEN_ADDRESS}
        # Where the server is the default, it is the shipped file that says so.
        place = "<command line> providers.lmstudio.endpoint=http://127.0.0.1:1234: "
        return code, replaced(out, back).replace(place, "conf/provider/lmstudio.yaml:6:11: ")

    return played


def replaced(text, words):
    pattern = "|".join(re.escape(old) + r"\b" for old in words)
    return re.sub(pattern, lambda found: words[found[0]], text)
