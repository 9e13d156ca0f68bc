"""The client's side of LM Studio's contract, L01 to L24: each release, sync and async, whole and streamed.

Which test holds which line:

| | |
|---|---|
| L01, L02, L03, L04, L11, L16 | `test_engine_lmstudio_server.py`: who it is, what it has, which model answers, tokens |
| L05 to L10 | `test_engine_lmstudio_chat.py`: answers, whole and streamed, tools, schemas, reasoning |
| L12, L13, L14 | `test_engine_lmstudio_memory.py`, and two models of one host in `test_engine_switching.py` |
| L17, L18, L22, L23 | `test_engine_lmstudio_limits.py`: windows, many calls at once, calls given up, broken wires |

No call that DSPy makes through lmroute meets the rest, which `tests/emulator` holds: L15, downloads, is
`lmroute models download` (`test_providers_downloads.py`, `test_cli_models.py`); L19, embeddings, L20, `/v1/responses`,
and L21, `/api/v1/chat`, are routes that the client does not use, on purpose; L24 stands in for a program that it does
not run. Of L01 it needs that there is a greeting, not its exact bytes.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from dspy import lm15

from lmroute.emulator.app import create_app
from lmroute.emulator.backends.scripted import ScriptedModel
from lmroute.emulator.running import in_thread, running
from lmroute.emulator.settings import Settings
from lmroute.emulator.transport.sockets import bound, url_of
from lmroute.emulator.versions import PROFILES
from lmroute.engine.live import Live
from lmroute.engine.provider import Providers


@pytest.fixture(params=PROFILES.values(), ids=PROFILES)
def release(request):
    """Everything for each release that can be imitated."""
    return request.param


@pytest.fixture(params=["whole", "streamed"])
def asked(request, mode):
    """A call, whole or streamed: ``asked(engine, request) -> response``."""
    if request.param == "whole":
        return mode.complete
    return lambda engine, wanted: lm15.materialize_response(iter(mode.stream(engine, wanted)), wanted)


@pytest.fixture(scope="session")
def shared():
    """One emulator for each settings, for tests that change nothing of it: ``shared(release, jit=False)``."""
    known, stacks = {}, []

    def get(release, **settings):
        wanted = Settings(version=release, **settings)
        if wanted not in known:
            stacks.append(ExitStack())
            known[wanted] = stacks[-1].enter_context(running(wanted))
        return known[wanted]

    yield get
    with ThreadPoolExecutor(16) as pool:  # one after the other they would take some tenths of a second each
        list(pool.map(ExitStack.close, stacks))


@pytest.fixture
def emulate():
    """An emulator of this test's own: ``emulate(release, jit=False) -> emulator``."""
    with ExitStack() as stack:
        yield lambda release, **settings: stack.enter_context(running(Settings(version=release, **settings)))


@pytest.fixture
def served():
    """The URL of an emulator with another backend, or behind something: ``served(settings, backend, around=...)``."""
    with ExitStack() as stack:

        def start(settings, backend=None, around=lambda app: app):
            listener = stack.enter_context(bound("127.0.0.1", 0))
            app = create_app(settings, backend or ScriptedModel(settings.script))
            stack.enter_context(in_thread(around(app), listener))
            return url_of(listener)

        yield start


@pytest.fixture
def router_over(mode, make):
    """A router over real children, in the order of their profiles: ``router_over(profile, profile)``."""
    made = []

    def build(*profiles):
        live = Live()
        made.append(mode.router_type.of(make.stack(*profiles), live, Providers(live.learnt)))
        return made[-1]

    yield build
    for engine in made:
        mode.close(engine)


@pytest.fixture
def outcomes():
    """What became of each attempt of a response: error codes, and ``None`` for the one that answered."""
    return lambda response: [attempt["errorCode"] for attempt in response.provider_data["lmroute"]["attempts"]]
