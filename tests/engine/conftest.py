"""Scripted children, a scripted raw server, and every engine in its sync and its async form."""
# ruff: noqa: E402 - the environment comes first

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Before DSPy is imported: a cache of its own, no price table from the network, nobody's own configuration.
_HOME = Path(tempfile.mkdtemp(prefix="lmroute-engine-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ["DSPY_CACHEDIR"] = str(_HOME / "cache")
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import asyncio
import json
import select
import socket
import struct
import threading
import time
from collections import deque
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass
from types import SimpleNamespace

import dspy
import pytest
from dspy import lm15

from lmroute.engine.children import AsyncProviderEngine, ProviderEngine
from lmroute.engine.provider import Provider
from lmroute.engine.routing_engine import AsyncRoutingEngine, RoutingEngine
from lmroute.model import Capabilities, JsonMode, Locality, Policy, Profile, Rule, Selector, Stack, TaskSpec, Timeouts


@pytest.fixture(autouse=True)
def _nobodys_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(tmp_path / "nobody"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "LM_API_TOKEN", "LMSTUDIO_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


# ── requests, answers, configurations ──────────────────────────────────────────────────────────────────────────


def ask(text="hello", *, model="lmroute/test", system=None, tools=(), **config):
    """A request as DSPy hands it to an engine."""
    message = lm15.Message.user(text)
    return lm15.Request(model=model, messages=(message,), system=system, tools=tools, config=lm15.Config(**config))


def answer(text="hi", model="answering", **fields):
    fields = {"finish_reason": "stop", "usage": lm15.Usage(input_tokens=3, output_tokens=2), **fields}
    return lm15.Response(id="r1", model=model, message=lm15.Message.assistant(text), **fields)


def profile(id="a", **fields):  # noqa: A002 - the field's name
    fields = {
        "type": "openai_compatible",
        "endpoint": "http://127.0.0.1:9",
        "models": ("m",),
        "locality": Locality.LOOPBACK,
        "capabilities": Capabilities(tools=True, vision=True, reasoning=True, json_mode=JsonMode.JSON_SCHEMA),
        **fields,
    }
    return Profile(id=id, **fields)


def stack(*profiles, rules=None, fallback_on=None, deadline_s=300.0, **fields):
    rules = rules or (Rule("everybody", use=(Selector(),), fallback_on=fallback_on),)
    policy = Policy("test", rules, deadline_s=deadline_s)
    return Stack({p.id: p for p in profiles}, policy, TaskSpec("ask", question="?"), **fields)


class KeepingSink:
    """A sink that keeps what it gets."""

    def __init__(self):
        self.lines = []

    def write(self, lines):
        self.lines += lines

    def kinds(self):
        return [line["kind"] for line in self.lines]


@pytest.fixture(scope="session")
def make():
    """Makes what tests are made of: ``make.ask()``, ``make.stack(make.profile("a"))`` ..."""
    return SimpleNamespace(ask=ask, answer=answer, profile=profile, stack=stack, sink=KeepingSink, patience=Timeouts)


# ── scripted children, sync and async ──────────────────────────────────────────────────────────────────────────


class Child:
    """An engine that does what its script says; the last line repeats. A line is

    a text or a ``Response`` (the answer), an exception (raised), a list of stream events and exceptions, or a function
    of the request that returns one of these.
    """

    def __init__(self, *script, model="answering"):
        self.script = deque(script or ("hi",))
        self.model = model
        self.asked = []
        self.streams = 0
        """Streams that were begun and not closed."""

    def _line(self, request):
        self.asked.append(request)
        line = self.script.popleft() if len(self.script) > 1 else self.script[0]
        line = line(request) if callable(line) else line
        if isinstance(line, BaseException):
            raise line
        return answer(line, self.model) if isinstance(line, str) else line

    def _events(self, request):
        line = self._line(request)
        return line if isinstance(line, list) else list(lm15.response_to_events(line))

    def close(self):
        self.closed = True


class SyncChild(Child):
    def complete(self, request):
        return self._line(request)

    def stream(self, request):
        self.streams += 1
        try:
            for event in self._events(request):
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            self.streams -= 1


class AsyncChild(Child):
    async def complete(self, request):
        await asyncio.sleep(0)
        return self._line(request)

    async def stream(self, request):
        self.streams += 1
        try:
            for event in self._events(request):
                await asyncio.sleep(0)
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            self.streams -= 1

    async def aclose(self):
        self.close()


class SyncMode:
    name = "sync"
    child = SyncChild
    router_type = RoutingEngine

    def __enter__(self):
        self._opened = []
        return self

    def __exit__(self, *failure):
        for engine in self._opened:
            engine.close()

    def router(self, stack, children, **options):
        return self._keep(self.router_type(stack, children, **options))

    def provider(self, profile, windows=None):
        return self._keep(ProviderEngine(Provider(profile, {} if windows is None else windows)))

    def _keep(self, engine):
        self._opened.append(engine)
        return engine

    def complete(self, engine, request):
        return engine.complete(request)

    def stream(self, engine, request, *, stop_after=None):
        """The events of a stream; only so many when ``stop_after`` says so, and the stream is closed then."""
        events = []
        with closing(engine.stream(request)) as source:
            for event in source:
                events.append(event)
                if len(events) == stop_after:
                    break
        return events

    def close(self, engine):
        engine.close()


class AsyncMode(SyncMode):
    name = "async"
    child = AsyncChild
    router_type = AsyncRoutingEngine

    def __enter__(self):
        self._runner = asyncio.Runner()
        return super().__enter__()

    def __exit__(self, *failure):
        for engine in self._opened:
            self.close(engine)
        self._runner.close()

    def provider(self, profile, windows=None):
        return self._keep(AsyncProviderEngine(Provider(profile, {} if windows is None else windows)))

    def run(self, coroutine):
        return self._runner.run(coroutine)

    def complete(self, engine, request):
        return self.run(engine.complete(request))

    def stream(self, engine, request, *, stop_after=None):
        async def collect():
            events = []
            async with aclosing(engine.stream(request)) as source:
                async for event in source:
                    events.append(event)
                    if len(events) == stop_after:
                        break
            return events

        return self.run(collect())

    def close(self, engine):
        self.run(engine.aclose())


@pytest.fixture(params=[SyncMode, AsyncMode], ids=lambda mode: mode.name)
def mode(request):
    """Everything twice: over synchronous engines and over asynchronous ones."""
    with request.param() as made:
        yield made


# ── a raw server ───────────────────────────────────────────────────────────────────────────────────────────────


class Pause(float):
    """A step of an answer: say nothing for so many seconds, or until the client goes away."""


CLOSE, RESET = object(), object()


@dataclass
class Received:
    method: str
    path: str
    headers: list
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    def header(self, name):
        """The only header of that name; a list when it is not the only one."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return found[0] if len(found) == 1 else found


def http(body, status="200 OK", kind="application/json", *headers):
    """A whole HTTP answer."""
    body = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def chat(text="hi", model="m", **fields):
    """The body of a good answer of ``/v1/chat/completions``."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return {"id": "c1", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage, **fields}


def chunk(text=None, finish=None, model="m"):
    delta = {} if text is None else {"content": text}
    return {"id": "c1", "model": model, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def sse(*frames):
    """The bytes of server-sent events; a text is sent as it stands."""
    return b"".join(
        (frame if isinstance(frame, str) else f"data: {json.dumps(frame)}").encode() + b"\n\n" for frame in frames
    )


SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def event_stream(*frames):
    """A whole answer that is an event stream."""
    return [SSE_HEAD, sse(*frames), CLOSE]


GOOD_STREAM = event_stream(chunk("he"), chunk("llo"), chunk(finish="stop"), "data: [DONE]")


def eventually(holds):
    ends = time.monotonic() + 5
    while not holds() and time.monotonic() < ends:
        time.sleep(0.005)
    return holds()


class RawServer:
    """Answers each request with the next script of bytes, pauses, CLOSE and RESET; the last one repeats."""

    http, chat, chunk, sse, event_stream = map(staticmethod, (http, chat, chunk, sse, event_stream))
    sse_head, good_stream, pause, CLOSE, RESET = SSE_HEAD, GOOD_STREAM, Pause, CLOSE, RESET

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.scripts = deque()
        self.received = []
        self.accepted = 0
        self._ended = threading.Event()
        self._threads = []
        self._open = set()
        self._lock = threading.Lock()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def answers(self, *scripts):
        """What the next requests get: for each a list of steps, or bytes."""
        self.scripts = deque([script] if isinstance(script, bytes) else list(script) for script in scripts)

    def profile(self, **fields):
        """A profile of this server. What ends in ``_s`` is a clock, anything else a field of the profile."""
        clocks = {name: fields.pop(name) for name in list(fields) if name.endswith("_s")}
        return profile(**{"endpoint": self.url, "timeouts": Timeouts(**clocks), **fields})

    def connections(self):
        with self._lock:
            return len(self._open)

    def settles_at(self, count):
        """Whether the number of open connections gets there, within a generous time."""
        return eventually(lambda: self.connections() == count)

    def has_been_asked(self):
        """Whether a request comes in, within a generous time."""
        return eventually(lambda: bool(self.received))

    def close(self):
        self._ended.set()
        # Closing alone does not wake a thread that accepts.
        with socket.create_connection(self._listener.getsockname()):
            pass
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):  # it ended by itself just now
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self):
        while not self._ended.is_set():
            connection, _ = self._listener.accept()
            if self._ended.is_set():
                connection.close()
                return
            with self._lock:
                self.accepted += 1
                self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection):
        try:
            with connection:
                while (request := self._read(connection)) is not None:
                    self.received.append(request)
                    with self._lock:
                        script = self.scripts.popleft() if len(self.scripts) > 1 else self.scripts[0]
                    if not all(self._do(connection, step) for step in script):
                        return
        except OSError:
            pass  # the client went away
        finally:
            with self._lock:
                self._open.discard(connection)

    def _do(self, connection, step):
        if isinstance(step, Pause):
            return not self._someone_left(connection, step)
        if step is CLOSE:
            return False
        if step is RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        connection.sendall(step)
        return True

    def _someone_left(self, connection, seconds):
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0 and not self._ended.is_set():
            readable, _, _ = select.select([connection], [], [], min(left, 0.05))
            if readable and not connection.recv(1, socket.MSG_PEEK):
                return True
        return self._ended.is_set()

    def _read(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := self._some(connection)):
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        start, *lines = head.decode().split("\r\n")
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]
        length = next((int(value) for key, value in headers if key.lower() == "content-length"), 0)
        while len(body) < length:
            if not (more := self._some(connection)):
                return None
            body += more
        method, path, _ = start.split(" ")
        return Received(method, path, headers, body)

    def _some(self, connection):
        while not self._ended.is_set():
            readable, _, _ = select.select([connection], [], [], 0.05)
            if readable:
                return connection.recv(65536)
        return b""


@pytest.fixture
def server():
    made = RawServer()
    yield made
    made.close()


# ── a DSPy LM ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def scripted_lm():
    """An LM over one scripted provider: ``scripted_lm(*script) -> lm``, with ``lm.sink`` and ``lm.child`` at hand.

    The synchronous and the asynchronous child take their lines from the same script.
    """

    def build(*script, stack_=None, **options):
        made, sink = stack_ or stack(profile()), KeepingSink()
        child, async_child = SyncChild(*script), AsyncChild(*script)
        async_child.script, async_child.asked = child.script, child.asked
        engine = RoutingEngine(made, dict.fromkeys(made.providers, child), sink=sink)
        async_engine = AsyncRoutingEngine(made, dict.fromkeys(made.providers, async_child), sink=sink)
        options = {"num_retries": 0, "cache": False, **options}
        lm = dspy.LM(f"lmroute/{engine.routing.name}", engine=engine, async_engine=async_engine, **options)
        lm.sink, lm.child = sink, child
        return lm

    return build
