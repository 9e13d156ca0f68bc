"""L03, L04, L11: what there is, and which of it answers."""

import pytest

from lmroute.providers import contract

from .endpoint import said

NOBODY = "nobody/has-this-model-7b"


def test_l03_the_openai_list_keeps_to_its_shape(server):
    reply = server.http.get("/v1/models")
    assert (reply.status_code, contract.problems("models_openai", reply.json())) == (200, [])


@pytest.mark.level("v0")
def test_l03_the_v0_list_and_each_of_its_models_keep_to_their_shape(server):
    listed = server.body("/api/v0/models")
    assert contract.problems("models_v0", listed) == []
    for entry in listed["data"][:5]:
        alone = server.body(f"/api/v0/models/{entry['id']}")
        assert (contract.problems("model_v0", alone), alone["id"]) == ([], entry["id"])
        assert ("loaded_context_length" in entry) <= (entry["state"] == "loaded")


@pytest.mark.level("v1")
def test_l03_the_v1_list_keeps_to_its_shape(server):
    listed = server.body("/api/v1/models")
    assert contract.problems("models_v1", listed) == []
    ids = [copy["id"] for model in listed["models"] for copy in model["loaded_instances"]]
    assert len(ids) == len(set(ids))


@pytest.mark.stage("empty")
def test_l03_without_loading_on_demand_only_what_is_loaded_is_listed(server):
    assert [entry["id"] for entry in server.body("/v1/models")["data"] if "embed" not in entry["id"]] == []


@pytest.mark.level("v0")
def test_l03_a_single_model_that_is_not_there(server, seen):
    reply = server.http.get(f"/api/v0/models/{NOBODY}")
    assert "error" in reply.json()
    seen(f"an unknown model in v0: status {reply.status_code}")


def test_l04_an_older_server_takes_newer_paths_for_unknown_ones(server):
    newer = [level for level in ("v0", "v1") if not server.at_least(level)]
    if not newer:
        pytest.skip("the server has every native API")
    for level in newer:
        reply = server.http.get(f"/api/{level}/models")
        expected = {"error": f"Unexpected endpoint or method. (GET /api/{level}/models)"}
        assert (reply.status_code, reply.json()) == (200, expected)


@pytest.mark.needs("generate")
def test_l04_an_older_server_sends_no_reasoning_content(server, seen):
    if server.at_least("v1"):
        pytest.skip("the server is no old one")
    message = server.ask().json()["choices"][0]["message"]
    if message.get("reasoning_content"):
        seen("reasoning_content is switched on")
    elif not server.live:
        assert "reasoning_content" not in message


@pytest.mark.needs("generate")
@pytest.mark.stage("one")
def test_l11_an_unknown_name_is_answered_by_the_only_loaded_model(server):
    reply = server.ask(model=NOBODY)
    assert reply.status_code == 200
    assert reply.json()["model"] in server.loaded


@pytest.mark.needs("generate")
@pytest.mark.stage("one")
@pytest.mark.parametrize("name", [None, "of the model in capitals"])
def test_l11_no_name_and_a_name_in_capitals_mean_the_loaded_model(server, name):
    (loaded,) = server.loaded
    key = next((model["name"] for model in server.chats if loaded in model["loaded"]), loaded)
    reply = server.ask(model=name and key.upper())
    assert (reply.status_code, reply.json().get("model")) == (200, loaded)


@pytest.mark.needs("generate")
@pytest.mark.stage("two")
def test_l11_an_unknown_name_is_refused_when_two_models_are_loaded(server, seen):
    reply = server.ask(model=NOBODY)
    assert contract.problems("error", reply.json()) == []
    error = reply.json()["error"]
    assert (error["code"], error["param"], NOBODY in error["message"]) == ("model_not_found", "model", True)
    assert reply.status_code == (400 if server.at_least("v0") else 404)
    seen(error["message"].partition("\n")[0][:70])


@pytest.mark.needs("generate")
@pytest.mark.stage("two")
def test_l11_no_name_is_refused_when_two_models_are_loaded(server):
    reply = server.http.post("/v1/chat/completions", json=server.question(model=None) | {"messages": []})
    asked = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}
    reply = server.post("/v1/chat/completions", asked)
    assert reply.status_code in {400, 404}
    assert said(reply.json()).startswith("Multiple models are loaded")


@pytest.mark.needs("generate")
@pytest.mark.stage("two")
def test_l11_each_loaded_model_answers_to_its_own_name(server):
    for name in server.loaded[:2]:
        assert server.ask(model=name).json()["model"] == name


@pytest.mark.needs("generate")
@pytest.mark.stage("empty")
def test_l11_nothing_loaded_is_said(server):
    reply = server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}], "model": NOBODY})
    assert reply.status_code in {400, 404}
    assert said(reply.json()).startswith("No models loaded")


@pytest.mark.needs("generate", "fault")
@pytest.mark.stage("named")
def test_l11_a_custom_id_is_a_name_and_the_answers_model(server):
    (name,) = server.loaded
    body = server.ask(model=name).json()
    assert (body["model"], body["system_fingerprint"]) == (name, name)
