"""vLLM and SGLang by their own word, and a server that is not what its profile says."""

import pytest

from lmroute.emulator.running import running
from lmroute.model import Locality, Profile
from lmroute.providers.inventory import NATIVE, SIGNS, Api
from lmroute.providers.probe import Patience, State, probe

AMPLE = Patience(total_s=20, retries=0)
NATIVE_ANSWERS = {
    "lmstudio": {"/lmstudio-greeting": {"lmstudio": True}},
    "ollama": {"/api/version": {"version": "0.12.3"}},
    "llamacpp": {"/props": {"default_generation_settings": {"n_ctx": 512}}},
    "sglang": {"/get_model_info": {"model_path": "team/heron", "is_generation": True}},
    "vllm": {"/version": {"version": "0.11.0"}},
}


def listing(owner=None):
    return {"data": [{"id": "heron", "object": "model"} | ({} if owner is None else {"owned_by": owner})]}


@pytest.mark.parametrize(("kind", "api"), [("vllm", Api.VLLM), ("sglang", Api.SGLANG)])
def test_a_server_with_one_model_has_it_loaded(native, kind, api):
    entries = [
        {"id": "heron", "owned_by": kind, "max_model_len": 32768},
        {"id": "heron-polite", "owned_by": kind, "parent": "heron", "max_model_len": None},
    ]
    box = native(kind, {"/v1/models": {"data": entries}})
    inventory = box.take()
    assert (inventory.api, box.paths) == (api, ["/v1/models"])
    assert [(m.id, m.loaded, m.window) for m in inventory.models] == [
        ("heron", True, 32768),
        ("heron-polite", True, 32768),
    ]


@pytest.mark.parametrize("owner", [None, "proxy", ""])
@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_a_server_that_does_not_say_what_it_is_is_not_called_another(native, kind, owner):
    inventory = native(kind, {"/v1/models": listing(owner)}).take()
    assert (inventory.api, inventory.is_other) == (Api.PLAIN, False)
    assert [model.loaded for model in inventory.models] == [None]


def test_every_type_with_a_native_api_has_a_sign():
    assert set(SIGNS) == set(NATIVE) == set(NATIVE_ANSWERS)


@pytest.mark.parametrize("kind", sorted(SIGNS))
@pytest.mark.parametrize("says", sorted(set(SIGNS) - {"lmstudio"}))
def test_a_server_of_another_type_is_told_by_its_list(native, kind, says):
    box = native(says, {"/v1/models": listing(SIGNS[kind].owner)})
    result = probe(box.profile, patience=AMPLE)
    if kind == says:
        assert result.state is State.HEALTHY
        return
    assert (result.state, result.error_code) == (State.DEGRADED, "wrong_type")
    assert f"it is not {SIGNS[says].name}; it looks like {SIGNS[kind].name}" in result.message
    assert result.fix.startswith(f"set providers.box.type={kind}, or correct")
    assert set(box.paths) <= {"/v1/models", "/api/tags", "/props"}  # no more than it would have been asked anyway


@pytest.mark.parametrize("kind", sorted(set(SIGNS) - {"lmstudio"}))
def test_a_server_that_is_not_lm_studio_is_asked_what_it_is(native, kind):
    box = native("lmstudio", {"/v1/models": listing()} | NATIVE_ANSWERS[kind])
    result = probe(box.profile, patience=AMPLE)
    assert f"it is not LM Studio; it looks like {SIGNS[kind].name}" in result.message
    assert f"providers.box.type={kind}" in result.fix


@pytest.mark.parametrize("otherwise", [None, {"status": "ok"}, b"HTTP/1.1 200 OK\r\n\r\n<html>", b""], ids=repr)
def test_a_server_like_no_other_is_asked_four_questions_at_most(native, otherwise):
    silent = {path: {} for path in ("/api/v1/models", "/api/v0/models", "/lmstudio-greeting")}
    box = native("lmstudio", {"/v1/models": listing()} | silent, otherwise)
    result = probe(box.profile, patience=AMPLE)
    assert (result.error_code, "looks like" in result.message) == ("wrong_type", False)
    assert box.paths[:4] == ["/v1/models", *silent]
    assert 1 <= len(box.paths[4:]) <= 4


@pytest.mark.parametrize("kind", ["ollama", "llamacpp"])
def test_lm_studio_is_known_by_its_words_for_a_path_it_does_not_have(native, kind):
    nowhere = {"error": "Unexpected endpoint or method. (GET /somewhere)"}
    assert native(kind, {"/v1/models": listing()}, nowhere).take().is_other


@pytest.mark.parametrize("kind", ["ollama", "llamacpp", "vllm"])
def test_a_whole_lm_studio_is_told_by_the_probe(kind):
    with running() as emulator:
        ours = Profile("box", kind, endpoint=emulator.url, locality=Locality.LOOPBACK)
        result = probe(ours, patience=AMPLE)
    assert (result.error_code, result.fix.partition(",")[0]) == ("wrong_type", "set providers.box.type=lmstudio")
