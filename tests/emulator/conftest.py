"""A real emulator on a loopback port, and clients that keep to it."""

from __future__ import annotations

import time
from contextlib import ExitStack

import httpx
import pytest

from lmroute.emulator.app import create_app
from lmroute.emulator.backends.scripted import ScriptedModel
from lmroute.emulator.running import in_thread, running
from lmroute.emulator.settings import Settings
from lmroute.emulator.transport.sockets import bound, url_of

HELLO = [{"role": "user", "content": "hello there"}]


class Client(httpx.Client):
    """An HTTP client of one emulator that knows how to ask."""

    def ask(self, **fields):
        return self.post("/v1/chat/completions", json={"messages": HELLO, **fields})

    def stream_bytes(self, **fields):
        body = {"messages": HELLO, "stream": True, **fields}
        with self.stream("POST", "/v1/chat/completions", json=body) as response:
            return response.status_code, response.headers, b"".join(response.iter_raw())

    def control(self, method, action, **fields):
        reply = self.request(method, f"/lmroute-emulator/{action}", json=fields or None)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def advance(self, seconds):
        return self.control("POST", "clock", advance_s=seconds)

    def set_faults(self, **faults):
        return self.control("PUT", "faults", **faults)

    def state(self):
        return self.control("GET", "state")

    def wait_for(self, what):
        """The state as soon as ``what(state)`` holds; nothing is waited for but another thread of this process."""
        for _ in range(2000):
            if what(state := self.state()):
                return state
            time.sleep(0.002)
        raise AssertionError(f"never: {state}")


def client_of(url):
    return Client(base_url=url, trust_env=False, timeout=20)


@pytest.fixture(scope="session")
def connect():
    """Makes clients: ``connect(url)``."""
    return client_of


@pytest.fixture(scope="session")
def shared():
    """One emulator a settings for the whole session, for tests that load nothing: ``shared(settings) -> client``."""
    clients = {}
    with ExitStack() as stack:

        def get(settings):
            if settings not in clients:
                url = stack.enter_context(running(settings)).url
                clients[settings] = stack.enter_context(client_of(url))
            return clients[settings]

        yield get


@pytest.fixture(scope="session")
def client(shared):
    """The client of an emulator with default settings, which no test changes."""
    return shared(Settings())


@pytest.fixture
def emulate():
    """Starts an emulator for one test: ``emulate(settings, backend=...) -> client``."""
    with ExitStack() as stack:

        def start(settings=None, backend=None):
            settings = settings or Settings()
            listener = stack.enter_context(bound("127.0.0.1", 0))
            app = create_app(settings, backend or ScriptedModel(settings.script))
            stack.enter_context(in_thread(app, listener))
            return stack.enter_context(client_of(url_of(listener)))

        yield start
