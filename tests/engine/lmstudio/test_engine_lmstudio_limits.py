"""L17, L18, L22, L23: windows, many calls at once, calls that are given up, and wires that break."""

import asyncio
import re
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from dspy import lm15

from lmroute.emulator.backends.script import Line
from lmroute.emulator.backends.scripted import ScriptedModel
from lmroute.emulator.catalog import Model
from lmroute.emulator.control.remote import Remote
from lmroute.emulator.faults import Faults
from lmroute.emulator.machine.instances import LoadConfig
from lmroute.emulator.settings import Loaded, Settings
from lmroute.emulator.versions import NATIVE_V0, NEWEST
from lmroute.engine.children import AsyncProviderEngine
from lmroute.engine.live import Live
from lmroute.engine.live.learnt import Learnt
from lmroute.engine.provider import Provider, Providers
from lmroute.engine.verdicts import PromptTooLongError, classify
from lmroute.model import AUTO, Candidate, Failure, Rule, Selector

CHAT = "/v1/chat/completions"
TERN = "rookery/tern-3b-instruct"
TINY = Model("a/tiny", context_length=20)
LONG = "tell me a story of a heron, " * 20
STORY = Line(re.compile("story"), "and then " * 60)


OVER = "a " * 45
"""By lmroute's estimate it may fit into the tiny window, by the server's count it does not."""


def test_l17_an_overflow_is_one_in_the_words_of_every_release(mode, make, lmstudio, shared, release, asked):  # noqa: PLR0917
    with pytest.raises(lm15.ContextLengthError) as caught:
        asked(mode.provider(lmstudio(shared(release, models=(TINY,)).url)), make.ask(OVER, model=AUTO))
    assert not isinstance(caught.value, PromptTooLongError)


@pytest.mark.parametrize("wording", ["E10", "E11", "E12", "E14"])
def test_l17_and_in_every_other_known_wording(mode, make, lmstudio, shared, asked, wording):  # noqa: PLR0917
    emulated = shared(NEWEST, models=(TINY,), faults=Faults(overflow=wording))
    with pytest.raises(lm15.ContextLengthError) as caught:
        asked(mode.provider(lmstudio(emulated.url)), make.ask(OVER, model=AUTO))
    assert not isinstance(caught.value, PromptTooLongError)


def test_l17_the_larger_window_answers(router_over, make, lmstudio, shared, release, asked, outcomes):  # noqa: PLR0917
    """The window is learnt, and the small one not asked; 0.3.5 tells none, and has to refuse each time."""
    small, large = lmstudio(shared(release, models=(TINY,)).url), lmstudio(shared(release).url)
    engine = router_over(small, replace(large, id="large"))
    for _ in range(2):
        told = outcomes(asked(engine, make.ask(LONG)))
        assert told == ([None] if release.has(NATIVE_V0) else ["context_length", None])


def test_l17_it_does_so_where_the_rule_lets_nobody_fall_back(mode, make, lmstudio, shared, asked, outcomes):  # noqa: PLR0917
    """To look whether it fits is no attempt; a window that was not known yet, or not lately, is looked up first."""
    small, large = lmstudio(shared(NEWEST, models=(TINY,)).url), replace(lmstudio(shared(NEWEST).url), id="large")
    rule, live = Rule("strict", (Selector(),), fallback_on=frozenset()), Live()
    engine = mode.router_type.of(make.stack(small, large, rules=(rule,)), live, Providers(live.learnt))
    try:
        assert outcomes(asked(engine, make.ask(LONG))) == [None]
    finally:
        mode.close(engine)


@pytest.fixture
def never_kept(monkeypatch):
    """Whatever is told is stale at once, as if seconds had passed between any two calls."""
    monkeypatch.setattr("lmroute.engine.stock._TOLD_S", 0.0)
    monkeypatch.setattr("lmroute.engine.stock._OURS_S", 0.0)


@pytest.mark.usefixtures("never_kept")
def test_l17_a_window_that_refused_is_looked_at_again(router_over, make, lmstudio, emulate, asked):
    emulated = emulate(NEWEST, loaded=(Loaded(TERN, config=LoadConfig(context_length=100)),))
    engine = router_over(lmstudio(emulated.url))
    for _ in range(2):
        with pytest.raises(lm15.ContextLengthError, match=r"140 tokens, and the window of .* is 100"):
            asked(engine, make.ask(LONG))
    emulated.unload(TERN)
    emulated.load(TERN, context_length=4096)
    assert asked(engine, make.ask(LONG)).model == TERN


@pytest.mark.usefixtures("never_kept")
def test_l17_a_stale_window_above_the_stated_one_still_counts(router_over, make, lmstudio, shared, asked):
    """If only the stated one were left, nobody would ever look again."""
    engine = router_over(replace(lmstudio(shared(NEWEST).url), context_window=10))
    asked(engine, make.ask("hi"))
    assert asked(engine, make.ask(LONG)).model == TERN


def test_l17_an_overflow_that_the_window_did_not_foretell_makes_it_look(mode, make, lmstudio, emulate, asked):
    emulated, learnt = emulate(NEWEST, loaded=(Loaded(TERN),)), Learnt()
    engine = mode.provider(lmstudio(emulated.url), learnt)
    asked(engine, make.ask("hi", model=AUTO))
    emulated.unload(TERN)
    emulated.load(TERN, context_length=100)
    for kind in (lm15.ContextLengthError, PromptTooLongError):  # the server's word, then what was learnt by it
        with pytest.raises(kind):
            asked(engine, make.ask(LONG, model=AUTO))
    assert learnt.windows == {Candidate("lmstudio", AUTO): 100}


def test_l17_more_tokens_than_there_is_room_for_are_no_overflow(router_over, make, lmstudio, shared, asked):
    """The identical request: at first the window is not known, then it is. The answer alone would be too long."""
    engine = router_over(lmstudio(shared(NEWEST).url))
    request = make.ask("hi", max_tokens=16_000)
    degraded = [asked(engine, request).provider_data["lmroute"]["attempts"][0].get("degraded") for _ in range(2)]
    assert degraded == [None, ["max_tokens 16000 sent as 4095, which is what the prompt leaves of the window"]]


def test_l18_a_window_that_fills_up_falls_back(router_over, make, mode, lmstudio, shared, release, asked, outcomes):  # noqa: PLR0917
    """E13 comes when part of the answer is out: of a stream that is too late for another one."""
    bad = shared(release, models=(TINY,), script=(STORY,), faults=Faults(window_exceeded=True))
    good = shared(release, script=(STORY,))
    engine = router_over(lmstudio(bad.url), replace(lmstudio(good.url), id="other"))
    if asked == mode.complete:
        assert outcomes(asked(engine, make.ask("a story"))) == ["context_length", None]
    else:
        with pytest.raises(lm15.ContextLengthError):
            asked(engine, make.ask("a story"))


class Gate:
    """In front of a server: counts the chats under way; lets in so many together once it is ``closed_for`` them."""

    def __init__(self):
        self.now = self.peak = 0
        self._barrier = None

    def closed_for(self, count):
        self._barrier = asyncio.Barrier(count)

    def around(self, app):
        async def gated(scope, receive, send):
            if scope.get("path") != CHAT:
                await app(scope, receive, send)
                return
            self.now += 1
            self.peak = max(self.peak, self.now)
            if self._barrier:
                async with asyncio.timeout(20):
                    await self._barrier.wait()
            is_over = False

            async def passed_on(message):
                nonlocal is_over
                body = message.get("body")
                if body is not None and not is_over and (b"[DONE]" in body or not message.get("more_body")):
                    is_over = True
                    self.now -= 1  # before it is sent: a client that has it all may ask the next one
                await send(message)

            await app(scope, receive, passed_on)

        return gated


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def calls(mode, asked, at_once):
    """So many calls at once, whole or streamed: ``calls(engine, request, 8)``."""

    async def streamed(engine, request):
        return await lm15.amaterialize_response(engine.stream(request), request)

    def run(engine, request, count):
        if asked != mode.complete:
            one = streamed if mode.name == "async" else asked
            engine = SimpleNamespace(complete=lambda wanted, engine=engine: one(engine, wanted))
        return at_once(engine, request, count)

    return run


CROWDS = {"as it is": ({}, "hi", 4), "fewer": ({"parallel": 2}, "hi", 2), "more than 4": ({"parallel": 8}, "hi", 4)}
CROWDS["big prompts"] = ({}, "word " * 1500, 2)


@pytest.mark.parametrize(("config", "text", "most"), CROWDS.values(), ids=CROWDS)
def test_l18_no_more_at_once_than_it_takes(router_over, make, lmstudio, served, calls, gate, config, text, most):  # noqa: PLR0917
    url = served(Settings(load_config=LoadConfig(**config)), around=gate.around)
    engine = router_over(lmstudio(url))
    calls(engine, make.ask(), 1)
    gate.closed_for(most)
    assert [answer.finish_reason for answer in calls(engine, make.ask(text), 8)] == ["stop"] * 8
    assert gate.peak == most


def test_l18_all_are_answered(router_over, make, lmstudio, served, calls, gate, release):  # noqa: PLR0917
    """Before 0.4 nothing tells how many it takes: they wait in the server's own queue, or by ``concurrency``."""
    url = served(Settings(version=release), around=gate.around)
    engine = router_over(lmstudio(url, concurrency=1))
    assert [answer.text for answer in calls(engine, make.ask("hi"), 6)] == ["You said: hi"] * 6
    assert gate.peak == 1
    assert [answer.text for answer in calls(router_over(lmstudio(url)), make.ask("hi"), 6)] == ["You said: hi"] * 6


class Endless(ScriptedModel):
    """Says one word over and over, until it is stopped."""

    async def generate(self, _prompt):
        while True:
            yield "more "
            await asyncio.sleep(0.001)


def settles(url):
    """Whether the server has nothing to do any more, as soon as it has."""
    for _ in range(2000):
        if all(instance["status"] == "idle" for instance in Remote(url).state()["instances"]):
            return True
        time.sleep(0.005)
    return False


@pytest.fixture
def endless(served, release):
    return served(Settings(version=release), Endless())


def test_l22_a_stream_that_is_closed_ends_the_generation(mode, make, lmstudio, endless):
    events = mode.stream(mode.provider(lmstudio(endless)), make.ask(model=AUTO), stop_after=4)
    assert make.text(events).startswith("more ")
    assert settles(endless)


def test_l22_so_does_a_call_whose_time_is_up(mode, make, lmstudio, endless, asked):
    engine = mode.provider(lmstudio(endless, timeouts=make.patience(total_s=0.15, load_s=0.01)))
    with pytest.raises(lm15.TimeoutError):
        asked(engine, make.ask(model=AUTO))
    assert settles(endless)


def test_l22_so_does_a_task_that_is_cancelled(make, lmstudio, endless):
    engine = AsyncProviderEngine(Provider(lmstudio(endless)))

    async def given_up():
        await asyncio.wait_for(engine.complete(make.ask(model=AUTO)), 0.2)

    with pytest.raises(TimeoutError):
        asyncio.run(given_up())
    assert settles(endless)


BROKEN = {
    "hang": ({"hang": True}, {Failure.TIMEOUT}),
    "drip": ({"drip": 20}, {Failure.TIMEOUT}),
    "reset at once": ({"reset_after_bytes": 0}, {Failure.TRANSPORT}),
    "reset": ({"reset_after_bytes": 40}, {Failure.TRANSPORT}),
    "a page": ({"html_500": True}, {Failure.SERVER}),
    "truncated": ({"truncated_json": True}, {Failure.BAD_REPLY}),
}


@pytest.mark.parametrize(("faults", "failures"), BROKEN.values(), ids=BROKEN)
def test_l23_a_broken_answer(mode, make, lmstudio, shared, release, asked, faults, failures):  # noqa: PLR0917
    emulated = shared(release, faults=Faults(path=CHAT, **faults))
    total_s = 0.3 if failures == {Failure.TIMEOUT} else 60
    engine = mode.provider(lmstudio(emulated.url, timeouts=make.patience(total_s=total_s, load_s=0.01)))
    with pytest.raises(lm15.LM15Error) as caught:
        asked(engine, make.ask(model=AUTO))
    assert classify(caught.value) in failures, caught.value


@pytest.mark.parametrize("faults", [{"reset_after_bytes": 40}, {"truncated_json": True}, {"html_500": True}], ids=str)
def test_l23_a_broken_list_makes_the_next_one_answer(router_over, make, lmstudio, shared, release, asked, faults):  # noqa: PLR0917
    bad = shared(release, faults=Faults(path="/v1/models", **faults))
    engine = router_over(lmstudio(bad.url), replace(lmstudio(shared(release).url), id="other"))
    response = asked(engine, make.ask())
    assert response.provider_data["lmroute"]["provider"] == "other"


def test_l23_connections_that_the_server_closes_are_no_error(mode, make, lmstudio, emulate, release, asked):  # noqa: PLR0917
    """Whether it has closed this one by now or not: nobody notices, and nothing is asked twice."""
    emulated = emulate(release, faults=Faults(keep_alive_s=0.02))
    engine = mode.provider(lmstudio(emulated.url))
    asked(engine, make.ask(model=AUTO))
    for _ in range(3):
        time.sleep(0.04)
        assert asked(engine, make.ask("hi", model=AUTO)).text == "You said: hi"
    chats = [seen for seen in emulated.state()["requests"] if seen["path"] == CHAT]
    assert [seen["status"] for seen in chats] == [200] * 4
