"""Sockets, threads, and clients that go away."""

import asyncio
import gc
import json
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from lmroute.emulator.app import create_app
from lmroute.emulator.backends import Finish
from lmroute.emulator.catalog import SCRIPTED, Model
from lmroute.emulator.faults import NONE
from lmroute.emulator.machine.state import State
from lmroute.emulator.running import in_thread, running
from lmroute.emulator.settings import Settings
from lmroute.emulator.transport.sockets import bound, url_of
from lmroute.errors import LmrouteError

CHAT = "/v1/chat/completions"


def get(url):
    return httpx.get(url, trust_env=False)


def test_it_answers_inside_the_block_and_not_after():
    before = threading.enumerate()
    with running() as emulator:
        assert get(f"{emulator.url}/lmstudio-greeting").json() == {"lmstudio": True}

    with pytest.raises(httpx.ConnectError):
        get(f"{emulator.url}/lmstudio-greeting")
    assert threading.enumerate() == before


def test_two_run_side_by_side():
    with running(Settings(models=(Model("a"),))) as one, running(Settings(models=(Model("b"),))) as other:
        urls = [one.url, other.url]
        keys = [get(f"{url}/v1/models").json()["data"][0]["id"] for url in urls]

    assert keys == ["a", "b"]


def test_the_port_is_free_again_and_can_be_asked_for():
    with running() as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(LmrouteError, match=f"port {port} on 127.0.0.1 is in use.*--port 0"), running(port=port):
            pass
    with running(port=port) as again:
        assert again.url == first.url


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", "::", ""])
def test_only_this_machine_is_served(host):
    with pytest.raises(LmrouteError, match="this machine only"), bound(host, 0):
        pass


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_told(port):
    with pytest.raises(LmrouteError, match="cannot be had"), bound("127.0.0.1", port):
        pass


def test_localhost_is_the_ipv4_address():
    with bound("localhost", 0) as listener:
        assert url_of(listener).startswith("http://127.0.0.1:")


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 on this machine")
def test_an_ipv6_address_is_bracketed():
    try:
        with bound("::1", 0) as listener:
            assert url_of(listener).startswith("http://[::1]:")
    except LmrouteError:
        pytest.skip("no IPv6 loopback address here")


class Endless:
    """A backend that talks until it is stopped, and tells when it was."""

    def __init__(self):
        self.talking = threading.Event()
        self.stopped = threading.Event()
        self.closed = threading.Event()

    async def generate(self, prompt):
        try:
            while True:
                self.talking.set()
                yield "word "
                await asyncio.sleep(0.001)
        finally:
            self.stopped.set()
        yield Finish("stop", 0, 0)

    async def aclose(self):
        self.closed.set()


def leave(client, stream):
    """Ask, and hang up at once."""
    host, port = client.base_url.host, client.base_url.port
    body = json.dumps({"messages": [], "stream": stream}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, port), timeout=5) as connection:
        connection.sendall(head.encode() + body)


def test_a_stream_stops_when_its_client_goes_away(emulate):
    backend = Endless()

    with emulate(backend=backend).stream("POST", CHAT, json={"messages": [], "stream": True}) as response:
        next(response.iter_raw())

    assert backend.stopped.wait(5)


def test_a_whole_answer_stops_when_its_client_goes_away(emulate):
    backend = Endless()
    client = emulate(backend=backend)

    with pytest.raises(httpx.ReadTimeout):
        client.post(CHAT, json={"messages": []}, timeout=0.2)

    assert backend.talking.is_set()
    assert backend.stopped.wait(5)


def test_clients_that_go_away_give_their_places_back(emulate):
    backend = Endless()
    client = emulate(backend=backend)

    for _ in range(8):  # twice as many as are answered at once
        leave(client, stream=True)
    with client.stream("POST", CHAT, json={"messages": [], "stream": True}) as response:
        first = next(response.iter_raw())

    assert first.startswith(b"data: ")


def test_stopping_cuts_an_endless_answer_off(caplog):
    backend, heard = Endless(), []

    def listen(url):
        with httpx.stream("POST", url + CHAT, json={"messages": [], "stream": True}, trust_env=False) as response:
            heard.extend(response.iter_raw())

    with bound("127.0.0.1", 0) as listener, ThreadPoolExecutor() as pool:
        with in_thread(create_app(Settings(), backend), listener):
            listening = pool.submit(listen, url_of(listener))
            assert backend.talking.wait(5)
        error = listening.exception(timeout=10)

    assert isinstance(error, httpx.RemoteProtocolError)
    assert backend.stopped.is_set()
    assert backend.closed.is_set()
    assert caplog.text == ""


@pytest.mark.parametrize("missing", ["uvicorn", "starlette"])
def test_a_missing_extra_is_told_with_its_name(missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from lmroute.errors import MissingExtra\n"
        "try: import lmroute.emulator.running\n"
        "except MissingExtra as error: print(error)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "the emulator needs an optional dependency: pip install 'lmroute[ui]'\n"


def leave_before_the_body(url, path):
    """Announce a body that never comes, and hang up as soon as the server waits for it."""
    address = httpx.URL(url)
    head = f"POST {path} HTTP/1.1\r\nHost: {address.host}\r\nContent-Length: 99999999999\r\n"
    with socket.create_connection((address.host, address.port), timeout=5) as connection:
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(b"{")


def test_a_client_that_goes_away_before_its_body_came_is_no_crash(caplog):
    with running() as emulator:
        for path in ("/lmroute-emulator/reset", CHAT, "/v1/messages", "/v1/responses", "/api/v1/models/load"):
            leave_before_the_body(emulator.url, path)

    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_load_that_waits_when_the_emulator_stops_ends_in_silence(caplog):
    with ThreadPoolExecutor() as pool, running(Settings(clock="manual", load_seconds=5)) as emulator:
        loading = pool.submit(emulator.load, SCRIPTED[1].key)
        while not emulator.state()["waiting"]:
            time.sleep(0.002)

    assert isinstance(loading.exception(10), LmrouteError)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("gives_up", [True, False])
def test_a_load_that_nobody_waits_for_any_more_fails_in_silence(gives_up, caplog):
    async def live():
        state = State(Settings(clock="manual", load_seconds=5))
        waiting = state.start_for_request(SCRIPTED[1], NONE)
        await asyncio.sleep(0)
        if gives_up:
            waiting.cancel()
            await asyncio.sleep(0)
        state.cancel_loads()
        for _ in range(3):
            await asyncio.sleep(0)
        del waiting
        gc.collect()  # this is when asyncio tells of errors that nobody saw

    asyncio.run(live())

    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
