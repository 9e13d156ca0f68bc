"""Where records, spans and metrics go, and what watches and remembers: none of it gets a key but to log in with it."""

import asyncio
import json
import logging
import threading
import time
import urllib.request
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.parse import quote

import pytest
from dspy.utils.exceptions import DSPyError

from lmroute.emulator.running import running
from lmroute.emulator.settings import Settings, Token
from lmroute.engine.resolver import build, statuses
from lmroute.model import Secret, SecretRef, SecretSource
from lmroute.secrets import resolve
from lmroute.telemetry.sinks.sink import JsonlSink

from .gossip import ERRORS
from .house import KEYS

KINDS = ("env", "file", "command", "keyring")
REPLIES = {
    "takes it": lambda _: (200, {}, b""),
    "refuses the key": lambda key: (401, {"WWW-Authenticate": key}, f"bad token {key}".encode()),
    "breaks": lambda key: (400, {f"X-{quote(key, safe='')}": key}, json.dumps({"error": key}).encode()),
    "redirects": lambda key: (302, {"Location": f"http://u:{quote(key, safe='')}@127.0.0.1:9/{key}?k={key}"}, b""),
}


@pytest.fixture
def collector():
    """A collector: ``url``, ``bodies`` it got with all but one header, ``keys``; ``reply`` says what it answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            key = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            del self.headers["Authorization"]
            server.keys.append(key)
            server.bodies.append(self.path.encode() + bytes(self.headers) + sent)
            status, headers, body = server.reply(key)
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.keys, server.bodies, server.url = [], [], f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Broken:
    """A stranger's sink that tells all it got when it raises."""

    def write(self, lines):
        raise RuntimeError(f"cannot take {list(lines)}")


@pytest.fixture
def recorded(house, stacks, gossip, collector, heard):
    """Make calls that every sink is told of, one that is answered and one that is not, and look for what they got."""

    def record(kind):
        stack = stacks(
            kind,
            "telemetry=otlp",
            "telemetry.capture_content=true",
            f"+telemetry.otlp.auth_token={{file: '{house.vault / 'otlp'}'}}",
        )
        object.__setattr__(stack.telemetry.otlp, "endpoint", collector.url)  # only now is it known
        own = house.work / f"{kind}.jsonl"
        lm = build(stack, sink=JsonlSink(own), cache=False)
        for says in (gossip.says, ERRORS["OpenAI's 401"]):
            gossip.says, before = says, gossip.says
            with suppress(DSPyError):
                lm(f"is {KEYS[kind]} a good key?")
            gossip.says = before
        lm.engine.close()
        assert "a good key?" in own.read_text(encoding="utf-8")
        house.search({"collector": b"\n".join(collector.bodies), "log": heard()})

    return record


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_every_sink(recorded, collector, reply):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the otlp extra is not installed")
    collector.reply = reply
    for kind in ("env", "command"):
        recorded(kind)
    assert set(collector.keys) == {KEYS["otlp"]}
    assert b"a good key?" in b"".join(collector.bodies)


def test_a_sink_that_raises_with_all_it_got(house, stacks, gossip, heard):
    lm = build(stacks("env", "telemetry.capture_content=true"), sink=Broken(), cache=False)
    lm(KEYS["env"])
    lm.engine.close()
    assert "cannot take" in heard()
    house.search({"log": heard()})


@pytest.mark.parametrize("says", ["OpenAI's 401", "LM Studio's 401", "a redirect's path"])
def test_what_watches_the_servers(house, stacks, gossip, heard, says):
    """The files that processes share, the statuses, and what the router learns from both."""
    gossip.is_well, gossip.says = False, ERRORS[says]
    seen = {}
    for kind in KINDS:
        lm = build(stacks(kind, "health=watch", "health.interval_s=1"), cache=False)
        with suppress(Exception):
            lm("hello")
        ends, shared = time.monotonic() + 10, house.rooms / "state" / "health"
        while len(list(shared.glob("*.json"))) <= len(seen) and time.monotonic() < ends:
            time.sleep(0.01)
        assert all(status.message for status in statuses(lm).values())
        seen[kind] = repr(statuses(lm)) + repr(lm.engine.routing.live.__dict__)
        lm.engine.close()
    assert len(list(shared.glob("*.json"))) == len(KINDS)
    house.search({**seen, "log": heard()})


def test_what_the_emulator_shows(house, heard):
    token = Token(Secret(KEYS["file"]))
    with running(Settings(tokens=(token,))) as server:
        for path in (f"/v1/{quote(KEYS['env'])}", f"/v1/models?key={KEYS['env']}", "/v1/models"):
            for key in (KEYS["file"], KEYS["env"], f"{KEYS['file']}x"):
                asked = urllib.request.Request(server.url + path, headers={"Authorization": f"Bearer {key}"})
                with suppress(HTTPError):
                    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked).read()
        pages = {
            name: urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{server.url}{name}").read()
            for name in ("/lmroute-emulator", "/lmroute-emulator/state")
        }
    assert b"/v1/models" in pages["/lmroute-emulator"]
    house.search({**pages, "log": heard()})


@pytest.mark.parametrize("kind", KINDS)
def test_secrets_themselves(house, told, kind):
    ref = {
        "env": SecretRef(SecretSource.ENV, ("LMROUTE_SENTINEL",)),
        "file": SecretRef(SecretSource.FILE, (str(house.vault / "file"),)),
        "command": SecretRef(SecretSource.COMMAND, ("cat", str(house.vault / "command"))),
        "keyring": SecretRef(SecretSource.KEYRING, ("sentinel",)),
    }[kind]
    secret = resolve(ref)
    assert secret.reveal() == KEYS[kind]
    house.search({"secret": told.of_object(secret), "reference": told.of_object(ref)})


@pytest.mark.parametrize("kind", ["env", "file", "command"])
def test_secrets_that_are_refused(house, told, kind, monkeypatch):
    """A second line, or a command that fails when it has printed the key."""
    monkeypatch.setenv("LMROUTE_SENTINEL", f"{KEYS['env']}\nmore")
    script = f"import sys; print(open({str(house.vault / 'command')!r}).read()); sys.exit(1)"
    ref = {
        "env": SecretRef(SecretSource.ENV, ("LMROUTE_SENTINEL",)),
        "file": SecretRef(SecretSource.FILE, (str(house.keep("two-lines", f"{KEYS['file']}\nmore")),)),
        "command": SecretRef(SecretSource.COMMAND, ("python", "-S", "-E", "-c", script)),
    }[kind]
    with pytest.raises(Exception, match=r"more than one line|exit code") as raised:
        resolve(ref)
    house.search({"error": told.of_error(raised.value)})


def test_any_librarys_log_lines(house, heard, stacks):
    """Those who log whole requests, as clients do at DEBUG."""
    lm = build(stacks("env"), cache=False)
    lm("hello")
    headers = {"Authorization": f"Bearer {KEYS['env']}", "X-Api-Key": KEYS["command"]}
    for name in ("httpx", "LiteLLM", "dspy", "urllib3", "lmroute.engine", "somebody"):
        log = logging.getLogger(name)
        log.debug("sending %s", headers)
        log.debug("request: %(Authorization)s", headers)
        log.warning("key=%r", KEYS["env"], extra={"headers": headers})
        try:
            raise ValueError(KEYS["env"])
        except ValueError:
            log.exception("it failed", stack_info=True)
    lm.engine.close()
    assert "it failed" in heard()
    house.search({"log": heard()})


def test_a_call_that_is_cancelled(house, stacks, gossip, told, heard):
    """Its answer is on the way when the task is cancelled, and when the loop ends."""
    gossip.says = lambda _: time.sleep(0.3) or b""

    async def cancel(lm):
        task = asyncio.ensure_future(lm.acall("hello"))
        await asyncio.sleep(0.1)
        task.cancel()
        await task

    seen = {}
    for kind in KINDS:
        lm = build(stacks(kind), cache=False)
        with pytest.raises(asyncio.CancelledError) as raised:
            asyncio.run(cancel(lm))
        seen[kind] = told.of_error(raised.value)
        lm.engine.close()
    house.search({**seen, "log": heard()})
