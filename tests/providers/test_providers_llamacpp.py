"""llama.cpp's inventory, scripted and real."""

import pytest

from lmroute.model import AUTO, Locality, Profile
from lmroute.providers.catalog import Dialect, base_url
from lmroute.providers.inventory import LISTINGS, Api, find, opened, take

META = {"n_ctx": 8192, "n_ctx_train": 40960, "size": 1_900_000_000, "ftype": "Q5_K"}
ONE = {"data": [{"id": "wren.gguf", "owned_by": "llamacpp", "meta": META}]}
PROPS = {
    "default_generation_settings": {"n_ctx": 4096, "params": {"temperature": 0.8}},
    "total_slots": 3,
    "modalities": {"vision": True, "audio": False},
    "chat_template_caps": {"supports_tools": True, "supports_tool_calls": True},
    "is_sleeping": False,
}


def test_one_model_with_its_slots(native):
    box = native("llamacpp", {"/v1/models": ONE, "/props": PROPS})
    inventory = box.take()
    (wren,) = inventory.models
    assert (inventory.api, wren.loaded, wren.parallel) == (Api.LLAMACPP, True, 3)
    assert (wren.context_window, wren.max_context_window) == (4096, 40960)
    assert (wren.tools, wren.vision, wren.quantization, wren.size_bytes) == (True, True, "Q5_K", 1_900_000_000)
    assert find(inventory.models, "whatever", box.profile) == wren
    assert box.paths == ["/v1/models", "/props"]


def test_an_older_one_tells_less(native):
    offered = {"data": [{"id": "wren.gguf", "owned_by": "llamacpp", "meta": None}]}
    props = {"default_generation_settings": {"n_ctx": 512}, "total_slots": 1}
    (wren,) = native("llamacpp", {"/v1/models": offered, "/props": props}).take().models
    assert (wren.loaded, wren.context_window, wren.parallel) == (True, 512, 1)
    assert (wren.tools, wren.vision, wren.max_context_window) == (None, None, None)


def test_one_that_sleeps_has_to_load_again(native):
    (wren,) = native("llamacpp", {"/v1/models": ONE, "/props": PROPS | {"is_sleeping": True}}).take().models
    assert wren.loaded is False


ROUTED = {
    "data": [
        {"id": "owl", "owned_by": "llamacpp", "status": {"value": "unloaded"}},
        {"id": "team/wren:Q5", "owned_by": "llamacpp", "status": {"value": "loaded"}, "meta": META},
        {"id": "rook", "owned_by": "llamacpp", "status": {"value": "loading"}},
    ]
}
ROUTER = {"role": "router", "max_instances": 4, "default_generation_settings": {"params": None, "n_ctx": 0}}
ASKED = "/props?model=team%2Fwren%3AQ5&autoload=false"


@pytest.mark.parametrize(("autoload", "offered"), [(None, True), (True, True), (False, False)])
def test_a_router_has_many_and_asking_loads_none(native, autoload, offered):
    router = ROUTER if autoload is None else ROUTER | {"models_autoload": autoload}
    box = native("llamacpp", {"/v1/models": ROUTED, "/props": router, ASKED: PROPS})
    inventory = box.take()
    told = {m.id: (m.loaded, m.offered, m.context_window, m.parallel) for m in inventory.models}
    assert told == {
        "owl": (False, offered, None, None),
        "team/wren:Q5": (True, True, 4096, 3),
        "rook": (False, offered, None, None),
    }
    assert inventory.loads_on_demand is offered
    assert box.paths == ["/v1/models", "/props", ASKED]
    assert find(inventory.models, AUTO, box.profile).id == "team/wren:Q5"


def test_a_router_with_many_loaded_is_asked_few_questions(native):
    entries = [{"id": f"m{number}", "status": {"value": "loaded"}, "meta": META} for number in range(30)]
    box = native("llamacpp", {"/v1/models": {"data": entries}, "/props": ROUTER}, otherwise=PROPS)
    windows = [model.context_window for model in box.take().models]
    assert (windows[:5], len(box.paths)) == ([4096] * 4 + [8192], 6)


@pytest.mark.parametrize(
    "props",
    [
        [],
        {"default_generation_settings": None},
        {"default_generation_settings": {"n_ctx": "many"}, "modalities": 3, "chat_template_caps": []},
        {"role": "router", "models_autoload": "yes"},
        b"",
        None,
    ],
    ids=repr,
)
def test_props_that_are_missing_or_broken_break_nothing(native, props):
    inventory = native("llamacpp", {"/v1/models": ONE, "/props": props}).take()
    assert [(model.id, model.context_window) for model in inventory.models] == [("wren.gguf", 8192)]
    assert not inventory.is_other


def test_its_own_word_in_the_list_is_enough(native, serve):
    closed = serve.reply({"error": {"message": "no"}}, "403 Forbidden")
    assert native("llamacpp", {"/v1/models": ONE, "/props": closed}).take().api is Api.LLAMACPP


@pytest.mark.slow
def test_the_real_one():
    pytest.importorskip("xllamacpp")
    from lmroute.providers.embedded import EmbeddedServer

    with EmbeddedServer.acquire(None, context_window=2048) as server:
        ours = Profile("box", "llamacpp", endpoint=f"{server.base_url}/props", locality=Locality.LOOPBACK)
        listing = LISTINGS[Dialect.OPENAI_CHAT]
        with opened(ours, base_url(ours), listing, server.api_key, total_s=20) as line:
            inventory, _ = take(line)
    model = find(inventory.models, AUTO, ours)
    assert (inventory.api, inventory.is_other, model.id) == (Api.LLAMACPP, False, server.model_id)
    assert (model.loaded, model.context_window, model.max_context_window, model.parallel) == (True, 2048, 8192, 1)
    # Its template takes no tools: the real one leaves them out of the prompt, even where one is required.
    assert (model.tools, model.vision, model.quantization) == (False, False, "Q4_1")
    assert model.size_bytes > 90_000_000
