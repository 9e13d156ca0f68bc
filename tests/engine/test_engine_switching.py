"""One model switch at a time on an LM Studio host, none while another model answers; and no waiting for nothing."""

import asyncio
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from dspy import lm15

import lmroute
from lmroute.emulator.backends.script import Line
from lmroute.emulator.catalog import SCRIPTED
from lmroute.emulator.running import running
from lmroute.emulator.settings import Settings
from lmroute.emulator.versions import PROFILES
from lmroute.engine.live import Live
from lmroute.engine.live.hosts import Hosts
from lmroute.engine.live.learnt import Learnt
from lmroute.engine.provider import Providers
from lmroute.engine.routing_engine import AsyncRoutingEngine, RoutingEngine
from lmroute.model import AUTO, Failure

HOST = "http://127.0.0.1:1234"


class Host:
    """A child for one host, which keeps a log of the calls that are under way together, by model."""

    def __init__(self, mode, make):
        self.together, self._now, self._lock = [], [], threading.Lock()
        self._make, self.fails = make, set()
        self.complete = self._acomplete if mode.name == "async" else self._complete

    def _begin(self, model):
        with self._lock:
            self._now.append(model)
            self.together.append(tuple(self._now))

    def _end(self, model):
        with self._lock:
            self._now.remove(model)
        if model in self.fails:
            raise lm15.ServerError("model has crashed")
        return self._make.answer(model=model)

    def _complete(self, request):
        self._begin(request.model)
        threading.Event().wait(0.005)
        return self._end(request.model)

    async def _acomplete(self, request):
        self._begin(request.model)
        await asyncio.sleep(0.005)
        return self._end(request.model)


@pytest.fixture
def host(mode, make):
    return Host(mode, make)


def engine_stack(make, *models, type_="lmstudio", deadline_s=60.0):
    profile = make.profile("lm", type=type_, endpoint=HOST, models=models)
    return make.stack(profile, deadline_s=deadline_s)


def test_calls_to_a_cold_model_wait_until_the_first_has_loaded_it(mode, make, host, at_once):
    engine = mode.router(engine_stack(make, "tern"), {"lm": host})
    assert all(answer.model == "tern" for answer in at_once(engine, make.ask(), 8))
    assert host.together[:2] == [("tern",), ("tern",)]  # the first was over before the second began
    assert len(host.together) == 8


def test_those_who_waited_while_it_was_loaded_are_not_kept_apart(mode, make, at_once):
    """Three calls to a cold model: the first one alone, and then the other two have to meet."""

    class Meeting:
        def __init__(self):
            self.asked, self.here = 0, threading.Barrier(2, timeout=10)

        def complete(self, request):
            self.asked += 1
            if self.asked == 1:
                time.sleep(0.1)  # for the others to come and wait; if they are late, nothing is shown
            else:
                self.here.wait()
            return make.answer()

    class AsyncMeeting:
        def __init__(self):
            self.asked, self.here = 0, asyncio.Barrier(2)

        async def complete(self, request):
            self.asked += 1
            if self.asked == 1:
                await asyncio.sleep(0.1)
            else:
                await asyncio.wait_for(self.here.wait(), 10)
            return make.answer()

    child = AsyncMeeting() if mode.name == "async" else Meeting()
    engine = mode.router(engine_stack(make, "tern"), {"lm": child})
    assert [answer.text for answer in at_once(engine, make.ask(), 3)] == ["hi"] * 3


@pytest.mark.parametrize("model", ["tern", AUTO])
def test_a_cold_model_is_asked_alone(mode, make, nesting, model):
    engine = None
    child = nesting("lm", lambda: engine.complete(make.ask()))
    engine = mode.router(engine_stack(make, model, deadline_s=0.2), {"lm": child})
    assert mode.complete(engine, make.ask()).text == "from lm"
    assert "localhost:1234 was busy until the deadline (models are switched one by one" in str(child.found)
    assert len(child.asked) == 1


@pytest.mark.parametrize("is_given", [False, True])
def test_two_engines_share_a_host_unless_each_is_given_its_own(mode, make, nesting, is_given):
    hosts = [Hosts() if is_given else None for _ in range(2)]
    lives = [Live(Learnt(own_hosts=own)) for own in hosts]
    engine_b = mode.router(engine_stack(make, "heron", deadline_s=0.2), {"lm": mode.child("b")}, live=lives[1])
    child = nesting("lm", lambda: engine_b.complete(make.ask()))
    engine_a = mode.router(engine_stack(make, "tern"), {"lm": child}, live=lives[0])
    mode.complete(engine_a, make.ask())
    assert isinstance(child.found, lm15.Response if is_given else lm15.TimeoutError)
    assert mode.complete(engine_b, make.ask()).text == "b"


@pytest.mark.parametrize(("fallback_on", "deadline_s"), [(None, 60), (frozenset({Failure.SERVER}), 0.2)])
def test_a_turn_that_does_not_come_leaves_time_for_others(mode, make, nesting, fallback_on, deadline_s):
    """The host loads a model for another call; a second server is idle, and is asked in its place if it may be."""
    engine = None
    child, idle = nesting("lm", lambda: engine.complete(make.ask())), mode.child("from idle")
    clocks = make.patience(first_token_s=0.03, load_s=0.05)
    lm = make.profile("lm", type="lmstudio", endpoint=HOST, models=("tern",), timeouts=clocks)
    stack = make.stack(lm, make.profile("idle"), deadline_s=deadline_s, fallback_on=fallback_on)
    engine = mode.router(stack, {"lm": child, "idle": idle})
    mode.complete(engine, make.ask())
    if fallback_on is not None:
        assert "busy until the deadline" in str(child.found)
        return
    assert child.found.text == "from idle"
    waited, answered = child.found.provider_data["lmroute"]["attempts"]
    assert (waited["errorCode"], answered["status"]) == ("timeout", "ok")
    assert "localhost:1234 was busy for 0.08 s, and others can be asked" in waited["message"]


@pytest.mark.parametrize(("type_", "model"), [("openai_compatible", AUTO), ("openai_compatible", "tern")])
def test_nothing_waits_where_there_is_nothing_to_switch(mode, make, nesting, type_, model):
    engine = None
    child = nesting("lm", lambda: engine.complete(make.ask()))
    engine = mode.router(engine_stack(make, model, type_=type_, deadline_s=0.2), {"lm": child})
    mode.complete(engine, make.ask())
    assert child.found.text == "from lm"


def test_a_model_that_answered_is_asked_freely_until_it_fails(mode, make, nesting):
    """Loaded by a first call, asked twice at once, and alone again after it crashed."""
    engine = None
    child = nesting("lm", lambda: engine.complete(make.ask()))
    plain = mode.child("loaded")
    crashed = mode.child(lm15.ServerError("model has crashed"))
    children = {"lm": plain}
    engine = mode.router(engine_stack(make, "tern", deadline_s=0.2), children)
    mode.complete(engine, make.ask())
    children["lm"] = child
    mode.complete(engine, make.ask())
    assert child.found.text == "from lm"
    children["lm"] = crashed
    with pytest.raises(lm15.ServerError):
        mode.complete(engine, make.ask())
    children["lm"] = again = nesting("lm", lambda: engine.complete(make.ask()))
    mode.complete(engine, make.ask())
    assert isinstance(again.found, lm15.TimeoutError)


def test_another_model_takes_the_place_of_the_first(mode, make, nesting):
    engine = None
    children = {"lm": mode.child("hi")}
    engine = mode.router(engine_stack(make, "tern", "heron", deadline_s=0.2), children)
    mode.complete(engine, make.ask())  # tern is loaded
    children["lm"] = mode.child(lambda request: lm15.TransportError("gone") if request.model == "tern" else "heron")
    assert mode.complete(engine, make.ask()).text == "heron"
    children["lm"] = child = nesting("lm", lambda: engine.complete(make.ask()))
    mode.complete(engine, make.ask())
    assert "switched one by one" in str(child.found)


def test_a_stream_shares_the_host_from_its_first_token_on(mode, make):
    engine = mode.router(engine_stack(make, "tern", deadline_s=0.3), {"lm": mode.child("hi")})
    if mode.name == "sync":
        stream = engine.stream(make.ask())
        next(stream)
        assert engine.complete(make.ask()).text == "hi"
        stream.close()
        return

    async def main():
        stream = engine.stream(make.ask())
        await anext(stream)
        assert (await engine.complete(make.ask())).text == "hi"
        await stream.aclose()

    mode.run(main())


def test_a_wait_for_ones_own_stream_says_what_holds_the_host(mode, make):
    engine = mode.router(engine_stack(make, "tern"), {"lm": mode.child("hi")})
    other = mode.router(engine_stack(make, "heron", deadline_s=0.2), {"lm": mode.child("hi")})
    found = "a stream that this program has neither read to its end nor closed"
    if mode.name == "sync":
        stream = engine.stream(make.ask())
        next(stream)
        with pytest.raises(lm15.TimeoutError, match=found):
            other.complete(make.ask())
        stream.close()
    else:

        async def main():
            stream = engine.stream(make.ask())
            await anext(stream)
            with pytest.raises(lm15.TimeoutError, match=found):
                await other.complete(make.ask())
            await stream.aclose()

        mode.run(main())
    assert mode.complete(other, make.ask()).text == "hi"


def test_cold_models_of_one_host_are_never_asked_together(mode, make, host, at_once):
    """Two providers on one host, each with a model of its own that is not loaded: no two switches at a time."""
    profiles = [make.profile(name, type="lmstudio", endpoint=HOST, models=(name,)) for name in ("tern", "heron")]
    engine = mode.router(make.stack(*profiles), dict.fromkeys(("tern", "heron"), host))
    host.fails = {"tern"}  # so that each call asks both, one after the other, and tern never counts as loaded
    answers = at_once(engine, make.ask(), 6)
    assert {answer.model for answer in answers} == {"heron"}
    assert not any(models.count("tern") > 1 for models in host.together)


TERN, HERON = (model.key for model in SCRIPTED[:2])
LONG = Line(re.compile(""), "A word said over and over. " * 60)
"""An answer that takes a while, so that calls do meet."""


@pytest.fixture(scope="module", params=PROFILES.values(), ids=PROFILES)
def jit(request):
    """An emulator with nothing loaded, which loads what it is asked for and kills what it evicts."""
    with running(Settings(version=request.param, models=SCRIPTED[:2], loaded=(), script=(LONG,))) as made:
        yield made.url


def one_live(stacks):
    """Engines that share what they know."""
    live = Live()
    providers = Providers(live.learnt)
    for stack in stacks:
        yield RoutingEngine.of(stack, live, providers), AsyncRoutingEngine.of(stack, live, providers)


def several_lms(stacks):
    """LMs that know nothing of each other."""
    for stack in stacks:
        engine = lmroute.build(stack).engine
        yield engine, engine.twin


@pytest.mark.parametrize("engines", [one_live, several_lms])
def test_no_generation_is_killed(make, jit, engines):
    """Threads and event loops, whole answers and streams, two models: LM Studio would kill what it evicts.

    That both call the host by another name, in two LMs, changes nothing.
    """
    urls = (jit, jit.replace("127.0.0.1", "localhost"))
    stacks = [
        make.stack(make.profile(model[8:12], type="lmstudio", endpoint=url, models=(model,)))
        for model, url in zip((TERN, HERON), urls, strict=True)
    ]
    pairs = list(engines(stacks))
    request = make.ask("Say it.", model="lmroute/test")

    def in_thread(number):
        engine = pairs[number % 2][0]
        if number % 3:
            return [engine.complete(request).text for _ in range(3)]
        return [make.text(engine.stream(request)) for _ in range(3)]

    async def several(number):
        async def one(engine):
            return (await engine.complete(request)).text

        return await asyncio.gather(*(one(pairs[(number + i) % 2][1]) for i in range(4)))

    try:
        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(in_thread, number) for number in range(6)]
            jobs += [pool.submit(lambda number: asyncio.run(several(number)), number) for number in range(2)]
            texts = [text for job in jobs for text in job.result(120)]
    finally:
        for engine, _ in pairs:
            engine.close()
    assert set(texts) == {LONG.reply}
    assert len(texts) == 6 * 3 + 2 * 4
