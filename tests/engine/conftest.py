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
os.environ["LMROUTE_STATE_HOME"] = str(_HOME / "state")
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import asyncio
import contextvars
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from types import SimpleNamespace

import dspy
import pytest
from dspy import lm15

from lmroute.emulator.running import running
from lmroute.engine.children import AsyncProviderEngine, ProviderEngine
from lmroute.engine.live import hosts
from lmroute.engine.live.pauses import Pause
from lmroute.engine.provider import Provider
from lmroute.engine.routing_engine import AsyncRoutingEngine, RoutingEngine
from lmroute.model import (
    AUTO,
    Capabilities,
    JsonMode,
    Locality,
    Policy,
    Profile,
    Rule,
    Selector,
    Stack,
    TaskSpec,
    Timeouts,
)
from lmroute.providers.inventory import NATIVE

from .raw_server import RawServer


@pytest.fixture(autouse=True)
def _hosts_of_its_own(monkeypatch):
    """Or what one test's calls have loaded would count as loaded in the next one, on hosts of the same name."""
    monkeypatch.setattr(hosts, "_ours", hosts.Hosts())


@pytest.fixture(autouse=True)
def _nobodys_environment(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "LM_API_TOKEN", "LMSTUDIO_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def ask(text="hello", *, model="lmroute/test", system=None, tools=(), **config):
    """A request as DSPy hands it to an engine."""
    message = lm15.Message.user(text)
    return lm15.Request(model=model, messages=(message,), system=system, tools=tools, config=lm15.Config(**config))


def text_of(events):
    """The text that a stream's events make."""
    return "".join(event.delta.text for event in events if event.type == "delta")


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


def stack(*profiles, rules=None, fallback_on=None, deadline_s=300.0, policy=None, **fields):
    """A stack of these profiles; ``policy`` holds more fields of its policy."""
    rules = rules or (Rule("everybody", use=(Selector(),), fallback_on=fallback_on),)
    made = Policy("test", rules, deadline_s=deadline_s, **(policy or {}))
    return Stack({p.id: p for p in profiles}, made, TaskSpec("ask", question="?"), **fields)


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
    return SimpleNamespace(
        ask=ask, answer=answer, text=text_of, profile=profile, stack=stack, sink=KeepingSink, patience=Timeouts
    )


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

    def provider(self, profile, learnt=None):
        return self._keep(ProviderEngine(Provider(profile, learnt)))

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

    def provider(self, profile, learnt=None):
        return self._keep(AsyncProviderEngine(Provider(profile, learnt)))

    def run(self, coroutine):
        # A context of now: the runner's own is that of its first run, without what was said since.
        return self._runner.run(coroutine, context=contextvars.copy_context())

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


class Server(RawServer):
    """A raw server that knows how a profile describes it."""

    def profile(self, **fields):
        """A profile of this server. What ends in ``_s`` is a clock, anything else a field of the profile."""
        clocks = {name: fields.pop(name) for name in list(fields) if name.endswith("_s")}
        if fields.get("type") in NATIVE and self.lists is None:
            self.lists = {}  # it tells nothing of its models; scripts are for what it is asked to do
        return profile(**{"endpoint": self.url, "timeouts": Timeouts(**clocks), **fields})


@pytest.fixture
def server():
    """A raw server: ``server.answers(server.http(server.chat()))``, then what ``server.received``."""
    made = Server()
    yield made
    made.close()


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


class Nesting:
    """A child that makes another call when it is asked for the first time, and so is busy with the outer one."""

    def __init__(self, name, inner):
        self.name, self.inner, self.asked = name, inner, []
        self.found = None
        """What the inner call came to: its response or its error."""

    def complete(self, request):
        self.asked.append(request)
        if len(self.asked) == 1:
            try:
                self.found = self.inner()
            except lm15.LM15Error as error:
                self.found = error
        return answer(f"from {self.name}", f"{self.name}-model")


class AsyncNesting(Nesting):
    async def complete(self, request):
        self.asked.append(request)
        if len(self.asked) == 1:
            try:
                self.found = await self.inner()
            except lm15.LM15Error as error:
                self.found = error
        return answer(f"from {self.name}", f"{self.name}-model")


@pytest.fixture
def nesting(mode):
    """The kind of child that calls once more while it is asked."""
    return AsyncNesting if mode.name == "async" else Nesting


@pytest.fixture
def at_once(mode):
    """Makes so many calls of an engine at the same time: ``at_once(engine, request, 8) -> responses and errors``."""

    def run(engine, request, count):
        if mode.name == "async":

            async def everybody():
                return await asyncio.gather(*(engine.complete(request) for _ in range(count)), return_exceptions=True)

            return mode.run(everybody())
        with ThreadPoolExecutor(count) as pool:
            barrier = threading.Barrier(count)

            def one(context):
                barrier.wait()
                return context.run(engine.complete, request)

            calls = [pool.submit(one, contextvars.copy_context()) for _ in range(count)]
            return [call.exception() or call.result() for call in calls]

    return run


class Clock:
    """The engine's clock. Pauses put it forward and do not last; a test can, too."""

    def __init__(self):
        self.ahead, self.pauses = 0.0, []

    def monotonic(self):
        return time.monotonic() + self.ahead

    def forward(self, seconds):
        self.ahead += seconds

    def passes(self, pause):
        self.pauses.append(pause.until - self.monotonic())
        self.forward(self.pauses[-1])


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    block, passed = Pause.block, Pause.passed

    async def apassed(pause):
        return made.passes(pause) if pause.future is None else await passed(pause)

    for module in ("call", "choice"):
        monkeypatch.setattr(f"lmroute.engine.{module}.time", made)
    monkeypatch.setattr(Pause, "block", lambda pause: made.passes(pause) if pause.future is None else block(pause))
    monkeypatch.setattr(Pause, "passed", apassed)
    return made


@pytest.fixture
def route(mode, make):
    """A router over scripted children: ``route(a=script, b=script) -> (engine, children, sink)``."""

    def build(stack=None, **scripts):
        children = {
            name: mode.child(*(s if isinstance(s, tuple) else (s,)), model=f"{name}-model")
            for name, s in scripts.items()
        }
        stack = stack or make.stack(*(make.profile(name) for name in scripts))
        sink = make.sink()
        return mode.router(stack, children, sink=sink), children, sink

    return build


@pytest.fixture(scope="session")
def emulator():
    """A default emulator that no test changes: tern is loaded, heron would be on request."""
    with running() as made:
        yield made.url


@pytest.fixture
def lmstudio(make):
    """A profile of an emulator: ``lmstudio(url, models=...)``."""

    def of(url, **fields):
        return make.profile("lmstudio", **{"type": "lmstudio", "endpoint": url, "models": (AUTO,), **fields})

    return of
