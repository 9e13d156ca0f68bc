"""Calls to a server that tells everybody the key: none of it is in errors, answers, records, logs or copies."""

import asyncio
import warnings
from contextlib import aclosing, closing

import pytest
from dspy import lm15

from lmroute.engine.resolver import build, load

from .gossip import CHATS, ERRORS, NO_KEY, STREAMS
from .house import KEYS

KINDS = ("env", "file", "command", "keyring")
REQUEST = lm15.Request(model="any", messages=(lm15.Message.user("hello"),))


def complete(lm):
    return lm("hello")


def acomplete(lm):
    return asyncio.run(lm.acall("hello"))


def stream(lm):
    with closing(lm.engine.stream(REQUEST)) as events:
        return list(events)


def astream(lm):
    async def collect():
        async with aclosing(lm.engine.twin.stream(REQUEST)) as events:
            return [event async for event in events]

    return asyncio.run(collect())


def outcome(told, way, lm):
    """All that can be seen of a call, however it ended. No variable here holds a key."""
    try:
        answer = way(lm)
    except Exception as error:  # noqa: BLE001 - each of them is looked at
        return told.of_error(error)
    return told.of_object(answer)


@pytest.fixture
def called(house, stacks, gossip, told, heard):
    """Make calls with each kind of reference, and look for keys in all that they leave: ``called(says, *ways)``."""

    def call(says, *ways, cache=False):
        seen = {}
        for kind in KINDS:
            gossip.says = says
            gossip.keys.clear()
            lm = build(stacks(kind), cache=cache)
            try:
                with warnings.catch_warnings(record=True) as warned:
                    warnings.simplefilter("always")
                    seen |= {f"{kind}, {way.__name__}": outcome(told, way, lm) for way in ways}
                # Without that, nothing was tried.
                assert {key for key in gossip.keys if key != NO_KEY} == {KEYS[kind]}
                seen |= {f"{kind}, LM": told.of_lm(lm), f"{kind}, all objects": told.of_all_below(lm)}
                seen[f"{kind}, warnings"] = "\n".join(str(w.message) for w in warned)
            finally:
                lm.engine.close()
        house.search({**seen, "log": heard()})

    return call


@pytest.mark.parametrize("says", ERRORS.values(), ids=ERRORS)
def test_answers_that_are_errors(called, says):
    called(says, complete, acomplete)


@pytest.mark.parametrize("says", CHATS.values(), ids=CHATS)
def test_answers_that_dspy_keeps(dspy_cache, called, says):
    called(says, complete, acomplete, cache=True)


@pytest.mark.parametrize("says", [*STREAMS.values(), ERRORS["OpenAI's 401"]], ids=[*STREAMS, "401"])
def test_streams(called, says):
    called(says, stream, astream)


@pytest.mark.slow
@pytest.mark.parametrize("says", ["OpenAI's 401", "late in a message", "code and type", "an answer's metadata"])
@pytest.mark.usefixtures("dspy_cache", "no_proxies")
def test_litellm(house, gossip, told, heard, says):
    """Another library's requests, responses and exceptions."""
    house.configure(
        "provider/other",
        "# @package providers.other\nid: other\ntype: litellm\nmodels: [openai/tern-3b]\nlocality: loopback\n"
        f"endpoint: {gossip.url}/v1\nauth_token: {{env: LMROUTE_SENTINEL}}\ntags: [local]\n",
    )
    gossip.says = {**ERRORS, **CHATS}[says]
    lm = load(["provider=[other]", "health=off"])
    try:
        seen = {"sync": outcome(told, complete, lm)}  # its asynchronous client outlives the loop, and is not ours
        assert KEYS["env"] in gossip.keys
        house.search({**seen, "LM": told.of_lm(lm), "log": heard()})
    finally:
        lm.engine.close()
