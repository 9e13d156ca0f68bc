"""Children under many hands: event loops, tasks, threads; and the one that is LiteLLM's."""

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from dspy import lm15

from lmroute.engine.children import AsyncProviderEngine, ProviderEngine
from lmroute.engine.provider import Provider
from lmroute.engine.readiness import Readiness
from lmroute.engine.verdicts import classify
from lmroute.model import AUTO, Failure, SecretRef, SecretSource

TERN = "rookery/tern-3b-instruct"


def test_one_async_engine_over_two_event_loops(make, server):
    server.answers(server.http(server.chat()))
    engine = AsyncProviderEngine(Provider(server.profile()))
    for _ in range(2):
        assert asyncio.run(engine.complete(make.ask(model="m"))).text == "hi"
        # The end of the loop closed its connections; asyncio warns of those that are left, which is an error here.
        assert server.settles_at(0)
    assert not engine._built
    assert not engine._keepers


def test_event_loops_in_threads_do_not_meet(make, server):
    server.answers(server.http(server.chat()))
    engine = AsyncProviderEngine(Provider(server.profile()))

    async def several():
        return await asyncio.gather(*(engine.complete(make.ask(model="m")) for _ in range(4)))

    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(asyncio.run, several()) for _ in range(8)]
        assert [r.text for run in runs for r in run.result(30)] == ["hi"] * 32
    assert server.settles_at(0)
    assert not engine._built


def test_many_tasks_on_one_loop(make, lmstudio, emulator):
    async def main():
        engine = AsyncProviderEngine(Provider(lmstudio(emulator)))
        requests = [make.ask(f"question {i}", model=AUTO) for i in range(32)]
        return await asyncio.gather(*map(engine.complete, requests))

    assert [r.text for r in asyncio.run(main())] == [f"You said: question {i}" for i in range(32)]


def test_thirty_two_threads_on_one_engine(make, lmstudio, emulator):
    engine = ProviderEngine(Provider(lmstudio(emulator)))
    start = threading.Barrier(32)

    def ask(i):
        start.wait(20)
        return engine.complete(make.ask(f"question {i}", model=AUTO)).text

    with ThreadPoolExecutor(32) as pool:
        texts = list(pool.map(ask, range(32)))
    engine.close()
    assert texts == [f"You said: question {i}" for i in range(32)]


def test_a_cancelled_call_frees_its_connection(make, server):
    server.answers([server.pause(30)])
    engine = AsyncProviderEngine(Provider(server.profile()))

    async def main():
        task = asyncio.create_task(engine.complete(make.ask(model="m")))
        assert await asyncio.to_thread(server.has_been_asked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.settles_at, 0)

    asyncio.run(main())


@pytest.mark.slow
def test_litellm_reaches_what_only_litellm_knows(mode, make, emulator, monkeypatch):
    monkeypatch.setenv("A_KEY", "sk-whatever")
    key = SecretRef(SecretSource.ENV, ("A_KEY",))
    profile = make.profile(type="litellm", endpoint=f"{emulator}/v1", models=(f"openai/{TERN}",), auth_token=key)
    engine = mode.router(make.stack(profile), {"a": mode.provider(profile)})
    response = mode.complete(engine, make.ask("hello there"))
    assert response.text == "You said: hello there"
    events = mode.stream(engine, make.ask("hello there"))
    assert "".join(e.delta.text for e in events if e.type == "delta") == "You said: hello there"
    gone = replace(profile, endpoint="http://127.0.0.1:9/v1")
    with pytest.raises(lm15.LM15Error) as caught:
        mode.complete(mode.provider(gone), make.ask(model=f"openai/{TERN}"))
    assert classify(caught.value) in {Failure.TRANSPORT, Failure.SERVER}


def test_litellm_needs_no_endpoint(make):
    profile = make.profile(type="litellm", endpoint=None, models=("groq/some-model",))
    place = Readiness(profile).place()
    assert Provider(profile).litellm_options(place) == {"timeout": 120.0}


def test_the_native_path_never_imports_litellm(lmstudio, emulator):
    program = f"""
import sys, lmroute
lm = lmroute.load("provider=[lmstudio] providers.lmstudio.endpoint={emulator}", cache=False)
assert lm("hello there") == ["You said: hello there"]
assert "litellm" not in sys.modules and "openai" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
