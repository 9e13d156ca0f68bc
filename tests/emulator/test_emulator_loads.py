"""L13 and L14: load and unload over ``/api/v1``."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lmroute.emulator.catalog import SCRIPTED
from lmroute.emulator.settings import Settings

TERN, HERON, WREN = (model.key for model in SCRIPTED[:3])


def load(client, **body):
    return client.post("/api/v1/models/load", json={"model": HERON, **body})


def unload(client, instance_id):
    return client.post("/api/v1/models/unload", json={"instance_id": instance_id})


def ids(client):
    return [instance["id"] for instance in client.state()["instances"]]


def test_l13_every_load_makes_another_copy(emulate):
    client = emulate()

    loaded = [load(client, model=name).json()["instance_id"] for name in (HERON, HERON.upper(), f"{HERON}@q4_k_m")]

    assert loaded == [HERON, f"{HERON}:2", f"{HERON}:3"]
    assert ids(client) == [TERN, *loaded]
    assert [client.ask(model=name).json()["model"] for name in (f"{HERON}:2", HERON)] == [f"{HERON}:2", HERON]


def test_l13_a_free_number_is_taken_again(emulate):
    client = emulate()
    for _ in range(3):
        load(client)
    unload(client, f"{HERON}:2")

    assert load(client).json()["instance_id"] == f"{HERON}:2"


def test_l13_what_was_loaded_is_told_and_echoed_on_demand(emulate):
    client = emulate()

    plain, echoed = load(client), load(client, context_length=2048, echo_load_config=True, flash_attention=False)

    head = {"type": "llm", "instance_id": HERON, "load_time_seconds": 0.0, "status": "loaded"}
    assert (plain.status_code, plain.json()) == (200, head)
    assert echoed.json()["load_config"] == {
        "context_length": 2048,
        "eval_batch_size": 512,
        "flash_attention": False,
        "offload_kv_cache_to_gpu": True,
    }
    assert [i["context_length"] for i in client.state()["instances"]] == [4096, 4096, 2048]


def test_l13_experts_are_echoed_when_they_were_asked_for(emulate):
    assert load(emulate(), num_experts=4, echo_load_config=True).json()["load_config"]["num_experts"] == 4


def test_l13_an_embedding_model_has_its_own_type(emulate):
    body = load(emulate(), model=WREN, echo_load_config=True).json()

    assert (body["type"], body["load_config"]) == ("embedding", {"context_length": 2048})


def test_l13_a_window_is_never_larger_than_the_model_can(emulate):
    body = load(emulate(), context_length=10**9, echo_load_config=True).json()

    assert body["load_config"]["context_length"] == SCRIPTED[1].max_context_length


def test_l13_it_blocks_until_the_model_is_loaded(emulate):
    client = emulate(Settings(clock="manual", load_seconds=7.5))
    with ThreadPoolExecutor() as pool:
        loading = pool.submit(load, client)
        client.wait_for(lambda state: state["waiting"] == 1)
        client.advance(7)
        early = loading.done()
        client.advance(0.5)

    assert not early
    assert loading.result().json()["load_time_seconds"] == 7.5


@pytest.mark.parametrize("key", ["ttl", "parallel", "gpu", "identifier"])
def test_l13_unknown_keys_are_refused(client, key):
    reply = load(client, **{key: 1})

    assert reply.status_code == 400
    message = f"Unrecognized key(s) in object: '{key}'"
    assert reply.json() == {"error": {"message": message, "type": "invalid_request", "code": "unrecognized_keys"}}


def test_l13_the_model_is_required(client):
    reply = client.post("/api/v1/models/load", json={})

    assert (reply.status_code, reply.json()["error"]) == (
        400,
        {
            "message": '"model" is required',
            "type": "invalid_request",
            "code": "missing_required_parameter",
            "param": "model",
        },
    )


@pytest.mark.parametrize(
    "value", [{"context_length": "many"}, {"context_length": 0}, {"context_length": True}, {"flash_attention": 1}]
)
def test_l13_values_of_another_kind_are_refused_by_name(client, value):
    error = load(client, **value).json()["error"]

    assert (error["param"], error["type"]) == (next(iter(value)), "invalid_request")


def test_l13_an_unknown_model_is_404(client):
    reply = load(client, model="nobody/nothing")

    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")


def refused_load(reply):
    error = reply.json()["error"]
    assert (reply.status_code, error["type"]) == (500, "model_load_failed")
    return error["message"]


def test_l13_what_does_not_fit_into_memory_is_stopped_by_the_guardrail(emulate):
    client = emulate(Settings(memory_bytes=SCRIPTED[0].size_bytes + 1))

    message = refused_load(load(client))

    assert message.startswith(f"Failed to load LLM '{HERON}': Error: Model loading was stopped due to insufficient")
    assert ids(client) == [TERN]
    unload(client, TERN)
    assert load(client, model=WREN).status_code == 200


def test_l13_a_load_can_be_told_to_fail_once(emulate):
    client = emulate()
    client.set_faults(load_failure=True, times=1, path="/api/v1/models/load")

    refused_load(load(client))

    assert load(client).status_code == 200


def test_l14_unloading_goes_by_the_id_of_an_instance(emulate):
    client = emulate()
    load(client)
    load(client)

    reply = unload(client, HERON)

    assert (reply.status_code, reply.json()) == (200, {"instance_id": HERON})
    assert ids(client) == [TERN, f"{HERON}:2"]
    assert client.ask(model=HERON).json()["model"] == f"{HERON}:2"


@pytest.mark.parametrize("name", [HERON, TERN.upper(), f"{TERN}@q4_k_m", f"{TERN}:2"])
def test_l14_an_id_that_is_not_loaded_is_404(client, name):
    reply = unload(client, name)

    assert (reply.status_code, reply.json()["error"]["type"]) == (404, "model_not_found")


def test_l14_later_requests_follow_the_rules_of_resolution(emulate):
    client = emulate(Settings(jit=False))
    unload(client, TERN)

    reply = client.ask(model=TERN)

    assert (reply.status_code, reply.json()["error"]["code"]) == (400, None)
    assert reply.json()["error"]["message"].startswith("No models loaded.")


def test_l14_unknown_keys_are_refused(client):
    reply = client.post("/api/v1/models/unload", json={"instance_id": TERN, "model": TERN})

    assert reply.json()["error"]["code"] == "unrecognized_keys"
