"""L18: requests that share an instance."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from lmroute.emulator.backends import Finish
from lmroute.emulator.machine.instances import LoadConfig
from lmroute.emulator.settings import Settings


class Gate:
    """A backend whose answers wait for a request with the text ``open``, and that fills the window on ``fill``."""

    def __init__(self):
        self.opened = asyncio.Event()
        self.order = []

    async def generate(self, prompt):
        text = prompt.messages[-1]["content"]
        self.order.append(text)
        yield "word"
        if text == "fill":
            yield Finish("length", 1, prompt.context_length - 1)
            return
        if text == "open":
            self.opened.set()
        await self.opened.wait()
        yield Finish("stop", 1, 1)

    async def aclose(self):
        pass


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as pool:
        yield pool


def ask(client, text, **fields):
    return client.ask(messages=[{"role": "user", "content": text}], **fields)


def queued(number):
    return lambda state: state["instances"][0]["queued"] == number


@pytest.mark.parametrize("parallel", [1, 2, 3])
def test_l18_so_many_at_once_and_the_rest_wait_in_order(emulate, pool, parallel):
    backend = Gate()
    client = emulate(Settings(load_config=LoadConfig(parallel=parallel)), backend)
    asked = []
    for number in range(parallel + 2):
        asked.append(pool.submit(ask, client, str(number)))
        client.wait_for(queued(number + 1))
    state = client.wait_for(lambda state: len(backend.order) == parallel)
    client.post("/lmroute-emulator/load", json={"model": state["instances"][0]["model"], "identifier": "other"})

    ask(client, "open", model="other")

    assert state["instances"][0]["status"] == "generating"
    assert [reply.result(10).status_code for reply in asked] == [200] * (parallel + 2)
    assert [text for text in backend.order if text != "open"] == [str(number) for number in range(parallel + 2)]
    assert client.state()["instances"][0]["status"] == "idle"


@pytest.mark.parametrize("stream", [False, True])
def test_l18_a_full_window_ends_everything_on_its_instance(emulate, pool, stream):
    backend = Gate()
    client = emulate(backend=backend)
    client.set_faults(window_exceeded=True)
    loaded = client.control("POST", "load", model=client.state()["instances"][0]["model"], identifier="calm")
    noisy = loaded["instances"][0]["id"]
    calm = pool.submit(ask, client, "calm", model="calm")
    others = [pool.submit(ask, client, str(number), model=noisy, stream=stream) for number in range(3)]
    client.wait_for(lambda state: len(backend.order) == 4)

    full = ask(client, "fill", model=noisy)
    ended = [other.result(10) for other in others]
    calm_waits = not calm.done()
    ask(client, "open", model=noisy)

    assert (full.status_code, full.json()) == (400, {"error": "Context size has been exceeded."})
    assert all("Context size has been exceeded." in reply.text for reply in ended)
    assert [reply.status_code for reply in ended] == [200 if stream else 400] * 3
    assert calm_waits
    assert calm.result(10).status_code == 200


def test_l18_a_full_window_is_a_plain_end_otherwise(emulate):
    reply = ask(emulate(backend=Gate()), "fill")

    assert (reply.status_code, reply.json()["choices"][0]["finish_reason"]) == (200, "length")
