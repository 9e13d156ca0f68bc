"""L12 to L15: loading on demand, loading and unloading by hand, downloading."""

import pytest

from lmroute.providers import contract

from .endpoint import LONG, said

NOBODY = "nobody/has-this-model-7b"
LOAD, UNLOAD, DOWNLOAD = "/api/v1/models/load", "/api/v1/models/unload", "/api/v1/models/download"


def load(server, **fields):
    reply = server.post(LOAD, fields)
    assert reply.status_code == 200, reply.text
    assert contract.problems("load", reply.json()) == []
    return reply.json()


def unload(server, name):
    reply = server.post(UNLOAD, {"instance_id": name})
    assert (reply.status_code, reply.json()) == (200, {"instance_id": name})
    assert contract.problems("unload", reply.json()) == []


def cold(server):
    """Names of chat models that are not in memory."""
    return [model["name"] for model in server.chats if not model["loaded"]]


def loaded_cold(server, name, **fields):
    """Ask for a model that is not in memory, on an emulator's manual clock, and let it load."""
    with server.meanwhile(lambda: server.ask(model=name, **fields)) as done:
        server.until(lambda: server.state["loading"])
        assert name not in server.loaded
        server.advance(5)
        reply = done()
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.needs("fault")
@pytest.mark.stage("clock")
def test_l12_a_cold_model_loads_before_the_first_byte(server):
    first, *_ = cold(server)
    assert loaded_cold(server, first)["model"] == first
    assert server.loaded == [first]


@pytest.mark.needs("fault")
@pytest.mark.stage("clock")
def test_l12_the_next_cold_model_evicts_the_one_before_and_not_what_was_loaded_by_hand(server):
    first, second, third = cold(server)[:3]
    loaded_cold(server, first)
    with server.meanwhile(lambda: server.post("/lmroute-emulator/load", {"model": third})) as done:
        server.until(lambda: server.state["loading"])
        server.advance(5)
        done()
    loaded_cold(server, second)
    assert sorted(server.loaded) == sorted([second, third])


@pytest.mark.needs("fault")
@pytest.mark.stage("clock")
@pytest.mark.parametrize(("ttl", "lives_s"), [(60, 60), (None, 3600), ("abc", 3600), (-5, 3600)])
def test_l12_a_model_that_a_request_loaded_goes_after_its_ttl(server, ttl, lives_s):
    first, *_ = cold(server)
    loaded_cold(server, first, ttl=ttl)
    server.advance(lives_s - 1)
    assert server.loaded == [first]
    server.advance(2)
    assert server.loaded == []


@pytest.mark.needs("fault")
@pytest.mark.stage("clock")
def test_l12_eviction_kills_what_is_under_way(server):
    first, second = cold(server)[:2]
    loaded_cold(server, first)
    server.faults(drip=5000)
    with server.meanwhile(lambda: server.ask_stream(model=first, messages=LONG, max_tokens=3000)) as done:
        server.until(lambda: server.answering[-1:] == [200] and len(server.answering) == 2)
        server.faults()
        loaded_cold(server, second)
        event, told = done().events[-1]
    assert event == "error"
    assert contract.problems("error", told) == []
    assert "unloaded" in said(told).lower()


@pytest.mark.needs("generate", "load")
def test_l12_a_request_loads_a_cold_model(server, seen):
    if server.loaded is None:
        pytest.skip("the server has no way to tell what is loaded")
    names = cold(server)
    if not names:
        pytest.skip("every chat model is loaded")
    reply = server.ask(model=names[-1], ttl=60, max_tokens=1)
    if reply.status_code != 200:
        assert contract.problems("error", reply.json()) == []
        seen(f"it did not load: {said(reply.json())}")
        return
    assert reply.json()["model"] in server.loaded
    seen("loaded on demand" if names[-1] in server.loaded else "JIT loading is off: another model answered")


@pytest.mark.level("v1")
@pytest.mark.needs("load")
def test_l13_every_load_makes_another_copy_and_l14_each_is_unloaded_by_its_id(server):
    name = server.chats[-1]["name"]
    copies = [load(server, model=name, context_length=2048)["instance_id"] for _ in range(2)]
    try:
        assert len(set(copies)) == 2
        assert copies[-1].startswith(f"{name}:")
        assert set(copies) <= set(server.loaded)
    finally:
        for copy in copies:
            unload(server, copy)
    assert not set(copies) & set(server.loaded)


@pytest.mark.level("v1")
@pytest.mark.needs("load")
def test_l13_what_it_was_loaded_with_is_told_when_asked_for(server):
    name = server.chats[-1]["name"]
    told = load(server, model=name, context_length=2048, echo_load_config=True)
    try:
        assert told["load_config"]["context_length"] == 2048
        listed = {copy["id"]: copy for m in server.body("/api/v1/models")["models"] for copy in m["loaded_instances"]}
        assert listed[told["instance_id"]]["config"]["context_length"] == 2048
        assert "remaining_ttl_seconds" not in listed[told["instance_id"]]
    finally:
        unload(server, told["instance_id"])


@pytest.mark.level("v1")
@pytest.mark.needs("load")
@pytest.mark.parametrize("key", ["ttl", "nonsense"])
def test_l13_unknown_keys_are_refused(server, key):
    reply = server.post(LOAD, {"model": NOBODY, key: 60})
    assert reply.status_code == 400
    assert contract.problems("error", reply.json()) == []
    error = reply.json()["error"]
    assert (error["code"], error["type"]) == ("unrecognized_keys", "invalid_request")
    assert error["message"] == f"Unrecognized key(s) in object: '{key}'"


@pytest.mark.level("v1")
def test_l13_a_model_is_needed(server):
    reply = server.post(LOAD, {})
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "missing_required_parameter", "model")


@pytest.mark.level("v1")
@pytest.mark.needs("load")
def test_l13_an_unknown_model_is_not_found(server, seen):
    reply = server.post(LOAD, {"model": NOBODY})
    assert reply.status_code == 404
    assert "model_not_found" in {reply.json()["error"].get("code"), reply.json()["error"]["type"]}
    seen(said(reply.json()).replace(NOBODY, "…"))


@pytest.mark.level("v1")
@pytest.mark.needs("fault")
def test_l13_a_load_that_fails_says_so(server):
    server.faults(load_failure=True)
    reply = server.post(LOAD, {"model": cold(server)[0]})
    assert (reply.status_code, reply.json()["error"]["type"]) == (500, "model_load_failed")
    assert contract.problems("error", reply.json()) == []


@pytest.mark.needs("fault")
def test_l13_a_load_on_demand_that_fails_is_a_refusal(server):
    server.faults(load_failure=True)
    reply = server.ask(model=next(model["name"] for model in server.chats if model["name"] not in server.loaded))
    assert reply.status_code in {400, 404}
    assert said(reply.json()).startswith("Failed to load model")


@pytest.mark.level("v1")
@pytest.mark.needs("load")
def test_l14_an_unknown_copy(server, seen):
    reply = server.post(UNLOAD, {"instance_id": f"{NOBODY}:7"})
    assert "error" in reply.json()
    assert contract.problems("error", reply.json()) == []
    seen(f"unloading what is not there: status {reply.status_code}")


@pytest.mark.level("v1")
@pytest.mark.needs("fault")
@pytest.mark.stage("two")
def test_l14_after_an_unload_the_rest_answers(server):
    first, second = server.loaded
    unload(server, first)
    assert server.ask(model=NOBODY).json()["model"] == second


@pytest.mark.level("v1")
@pytest.mark.needs("download")
def test_l15_what_is_there_is_not_downloaded_again(server):
    reply = server.post(DOWNLOAD, {"model": server.chats[0]["name"]})
    assert (reply.status_code, reply.json()) == (200, {"status": "already_downloaded"})
    assert contract.problems("download", reply.json()) == []


@pytest.mark.level("v1")
def test_l15_an_unknown_job_is_said_to_be_unknown(server, seen):
    reply = server.http.get(f"{DOWNLOAD}/status/job_0000000000")
    assert contract.problems("error", reply.json()) == []
    assert "job_not_found" in {reply.json()["error"].get("code"), reply.json()["error"]["type"]}
    seen(f"an unknown job: status {reply.status_code}")


@pytest.mark.level("v1")
@pytest.mark.needs("fault")
@pytest.mark.stage("clock")
def test_l15_a_download_goes_from_begun_to_done(server):
    new = "rookery/plover-1b-instruct"
    begun = server.post(DOWNLOAD, {"model": new}).json()
    path = f"{DOWNLOAD}/status/{begun['job_id']}"
    server.advance(1)
    half = server.body(path)
    server.advance(60)
    done = server.body(path)
    assert [contract.problems("download", body) for body in (begun, half, done)] == [[], [], []]
    assert [body["status"] for body in (begun, half, done)] == ["downloading", "downloading", "completed"]
    assert 0 < half["downloaded_bytes"] < done["downloaded_bytes"] == begun["total_size_bytes"]
    assert new in [model["name"] for model in server.models]
    assert server.post(DOWNLOAD, {"model": new}).json() == {"status": "already_downloaded"}
