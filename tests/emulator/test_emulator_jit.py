"""L12: models that requests load: how long it takes, how long they stay, and what they push out."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from lmroute.emulator.backends import Finish
from lmroute.emulator.catalog import SCRIPTED, Model
from lmroute.emulator.settings import Loaded, Settings

TERN, HERON, WREN = (model.key for model in SCRIPTED[:3])
COLD = Settings(clock="manual", load_seconds=10, loaded=())
PAIR = tuple(map(Model.named, ["first", "second"]))


class Waiting:
    """A backend that says one word, and ends only once somebody has asked something."""

    def __init__(self):
        self.goes_on = asyncio.Event()

    async def generate(self, prompt):
        yield "word"
        if prompt.messages:
            self.goes_on.set()
        await self.goes_on.wait()
        yield Finish("stop", 1, 1)

    async def aclose(self):
        pass


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as pool:
        yield pool


def ids(client):
    return [instance["id"] for instance in client.state()["instances"]]


@pytest.mark.parametrize("stream", [False, True])
def test_l12_a_cold_model_answers_once_it_is_loaded(emulate, pool, stream):
    client = emulate(COLD)

    asked = pool.submit(client.ask, model=HERON, stream=stream)
    client.wait_for(lambda state: state["waiting"] == 1)
    client.advance(9.9)
    early = client.state()
    client.advance(0.1)

    assert (early["waiting"], early["loading"], early["instances"]) == (1, [HERON], [])
    assert asked.result(10).status_code == 200
    assert ids(client) == [HERON]


def test_l12_requests_share_a_load(emulate, pool):
    client = emulate(COLD)

    asked = [pool.submit(client.ask, model=HERON) for _ in range(3)]
    client.wait_for(lambda state: len(state["requests"]) == 3 and state["waiting"])
    client.advance(10)

    assert [reply.result(10).json()["model"] for reply in asked] == [HERON] * 3
    assert ids(client) == [HERON]


def test_l12_a_load_goes_on_when_its_client_goes_away(emulate):
    client = emulate(COLD)
    with pytest.raises(Exception, match="timed out"):
        client.post("/v1/chat/completions", json={"model": HERON, "messages": []}, timeout=0.2)
    client.advance(10)

    assert ids(client) == [HERON]


def test_l12_it_leaves_after_idling_and_an_explicit_one_never(emulate):
    client = emulate(Settings(clock="manual", ttl_s=30))
    client.ask(model=HERON)
    client.post("/api/v1/models/load", json={"model": TERN})

    client.advance(29)
    before = ids(client)
    client.advance(10_000_000)

    assert before == [TERN, HERON, f"{TERN}:2"]
    assert ids(client) == [TERN, f"{TERN}:2"]


def test_l12_responses_take_no_ttl(emulate):
    client = emulate(Settings(clock="manual", loaded=()))
    client.post("/v1/responses", json={"model": HERON, "input": "hello", "ttl": 5})

    assert client.state()["instances"][0]["ttl_s"] == 3600


def evicted(client, stream):
    """What the client of ``first`` gets when a request for ``second`` evicts it."""
    body = {"model": "first", "messages": [], "stream": stream}
    with client.stream("POST", "/v1/chat/completions", json=body) as response:
        return response.status_code, b"".join(response.iter_raw()).decode()


def test_l12_an_eviction_kills_what_is_being_answered(emulate, pool):
    client = emulate(Settings(models=PAIR, loaded=()), backend=Waiting())
    whole, stream = (pool.submit(evicted, client, stream) for stream in (False, True))
    client.wait_for(lambda state: state["instances"] and state["instances"][0]["queued"] == 2)

    client.ask(model="second")
    status, body = whole.result(10)
    started, events = stream.result(10)

    assert (status, body) == (400, '{"error":"Model unloaded."}')
    assert started == 200
    assert events.endswith(
        'event: error\ndata: {"error":{"message":"Model unloaded."},"message":"Model unloaded."}\n\n'
    )
    assert ids(client) == ["second"]


def test_l12_an_eviction_may_let_answers_finish(emulate, pool):
    backend = Waiting()
    client = emulate(Settings(models=PAIR, loaded=(), evict_kills=False), backend=backend)
    whole = pool.submit(evicted, client, False)
    client.wait_for(lambda state: state["instances"] and state["instances"][0]["status"] == "generating")

    client.ask(model="second")

    assert whole.result(10)[0] == 200
    assert ids(client) == ["second"]


def test_l12_of_two_that_are_loaded_at_once_the_later_one_stays(emulate, pool):
    client = emulate(Settings(models=PAIR, loaded=(), clock="manual", load_seconds=5))
    for waiting, name in enumerate(("first", "second"), start=1):
        pool.submit(client.ask, model=name)
        client.wait_for(lambda state, waiting=waiting: state["waiting"] == waiting)
    client.advance(5)

    assert ids(client) == ["second"]


def test_l12_a_model_makes_room_before_the_next_one_is_loaded(emulate, pool):
    client = emulate(Settings(models=PAIR, loaded=(), clock="manual", load_seconds=5))
    pool.submit(client.ask, model="first")
    client.wait_for(lambda state: state["waiting"])
    client.advance(5)
    before = ids(client)
    pool.submit(client.ask, model="second")
    state = client.wait_for(lambda state: state["waiting"])
    client.advance(5)

    assert (before, state["instances"], state["loading"]) == (["first"], [], ["second"])


def test_l12_several_may_stay_when_eviction_is_off(emulate):
    client = emulate(Settings(models=PAIR, loaded=(), keep_last_jit=False))
    client.ask(model="first")
    client.ask(model="second")

    assert ids(client) == ["first", "second"]


def test_l12_a_load_that_fails_is_a_400_about_the_model(emulate):
    client = emulate(Settings(loaded=()))
    client.set_faults(load_failure=True)

    reply = client.ask(model=HERON)

    error = reply.json()["error"]
    assert (reply.status_code, error["type"], error["param"]) == (400, "invalid_request_error", "model")
    assert error["message"] == f'Failed to load model "{HERON}". Error: Failed to load model.'
    assert ids(client) == []


def test_l12_an_embedding_model_is_loaded_beside_a_chat_model(emulate):
    client = emulate(Settings(loaded=(Loaded(TERN),)))

    assert client.post("/v1/embeddings", json={"model": WREN, "input": "x"}).status_code == 200
    assert ids(client) == [TERN, WREN]
