"""L03: the three lists of models."""

import pytest

from lmroute.emulator.catalog import EMBEDDED, SCRIPTED, Model, ReasoningOptions
from lmroute.emulator.machine.instances import LoadConfig
from lmroute.emulator.settings import Engine, Loaded, Settings
from lmroute.errors import LmrouteError

KEYS = [model.key for model in SCRIPTED]
TERN, HERON, WREN = KEYS[:3]


def by_key(reply):
    return {entry["key"]: entry for entry in reply.json()["models"]}


def test_l03_the_openai_list_tells_neither_state_nor_type(client):
    reply = client.get("/v1/models")

    entry = {"object": "model", "owned_by": "organization_owner"}
    assert reply.json() == {"data": [{"id": key, **entry} for key in KEYS], "object": "list"}
    assert list(reply.json()) == ["data", "object"]


def test_l03_without_jit_the_openai_list_has_instances_only(shared):
    loaded = (Loaded(TERN), Loaded(TERN, "my-tern"))

    reply = shared(Settings(jit=False, loaded=loaded)).get("/v1/models")

    assert [entry["id"] for entry in reply.json()["data"]] == [TERN, "my-tern"]


def test_l03_without_jit_and_without_instances_the_openai_list_is_empty(shared):
    assert shared(Settings(jit=False, loaded=())).get("/v1/models").json()["data"] == []


def test_l03_v0_tells_state_and_the_loaded_window(client):
    reply = client.get("/api/v0/models").json()

    tern, heron, wren = reply["data"][:3]
    assert list(reply) == ["data", "object"]
    assert tern == {
        "id": TERN,
        "object": "model",
        "type": "llm",
        "publisher": "rookery",
        "arch": "llama",
        "compatibility_type": "gguf",
        "quantization": "Q4_K_M",
        "state": "loaded",
        "max_context_length": 32768,
        "loaded_context_length": 4096,
        "capabilities": [],
    }
    assert (heron["state"], "loaded_context_length" in heron) == ("not-loaded", False)
    assert (wren["type"], "capabilities" in wren) == ("embeddings", False)


def test_l03_v0_has_single_models(client):
    assert client.get(f"/api/v0/models/{HERON}").json() == client.get("/api/v0/models").json()["data"][1]
    assert client.get("/api/v0/models/nobody/nothing").status_code == 404


def test_l03_v1_tells_instances_and_their_windows(client):
    tern, heron, wren = client.get("/api/v1/models").json()["models"][:3]

    assert tern == {
        "type": "llm",
        "publisher": "rookery",
        "key": TERN,
        "display_name": "Tern 3B Instruct",
        "architecture": "llama",
        "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
        "size_bytes": 2_000_000_000,
        "params_string": "3B",
        "loaded_instances": [
            {
                "id": TERN,
                "config": {
                    "context_length": 4096,
                    "eval_batch_size": 512,
                    "parallel": 4,
                    "flash_attention": True,
                    "offload_kv_cache_to_gpu": True,
                },
            }
        ],
        "max_context_length": 32768,
        "format": "gguf",
        "capabilities": {"vision": False, "trained_for_tool_use": False},
        "description": None,
        "variants": [f"{TERN}@q4_k_m"],
        "selected_variant": f"{TERN}@q4_k_m",
    }
    assert heron["loaded_instances"] == []
    assert wren["type"] == "embedding"
    assert not wren.keys() & {"architecture", "capabilities", "description", "variants"}


SEER = Model(
    "rookery/seer-4b",
    architecture="seer",
    quantization="4bit",
    format="mlx",
    vision=True,
    trained_for_tool_use=True,
    reasoning=ReasoningOptions(("off", "low", "high"), "low"),
)


def test_l03_v1_tells_what_a_model_can_do(shared):
    seer = by_key(shared(Settings(models=(SEER,))).get("/api/v1/models"))[SEER.key]

    assert seer["capabilities"] == {
        "vision": True,
        "trained_for_tool_use": True,
        "reasoning": {"allowed_options": ["off", "low", "high"], "default": "low"},
    }
    assert (seer["format"], seer["selected_variant"]) == ("mlx", "rookery/seer-4b@4bit")


def test_l03_an_mlx_instance_tells_less_of_its_configuration(shared):
    seer = by_key(shared(Settings(models=(SEER,))).get("/api/v1/models"))[SEER.key]

    config = {"context_length": 4096, "parallel": 4, "reasoning_budget_message": ""}
    assert seer["loaded_instances"] == [{"id": SEER.key, "config": config}]


def test_l03_v0_knows_models_that_see_and_that_call_tools(shared):
    [seer] = shared(Settings(models=(SEER,))).get("/api/v0/models").json()["data"]

    assert (seer["type"], seer["compatibility_type"], seer["capabilities"]) == ("vlm", "mlx", ["tool_use"])


def test_l03_a_window_of_its_own_is_what_the_lists_tell(shared):
    settings = Settings(loaded=(Loaded(TERN, config=LoadConfig(512, 2)),), load_config=LoadConfig(1024))
    client = shared(settings)

    [instance] = by_key(client.get("/api/v1/models"))[TERN]["loaded_instances"]
    assert (instance["config"]["context_length"], instance["config"]["parallel"]) == (512, 2)
    assert client.get(f"/api/v0/models/{TERN}").json()["loaded_context_length"] == 512


def test_l03_a_loaded_embedding_model_has_a_window_and_no_more(shared):
    reply = shared(Settings(loaded=(Loaded(WREN),))).get("/api/v1/models")

    assert by_key(reply)[WREN]["loaded_instances"] == [{"id": WREN, "config": {"context_length": 2048}}]


def test_l03_only_a_model_that_a_request_loaded_counts_down(emulate):
    client = emulate(Settings(clock="manual"))
    client.ask(model=HERON, ttl=30)
    client.advance(10.5)

    models = by_key(client.get("/api/v1/models"))

    assert models[HERON]["loaded_instances"][0]["remaining_ttl_seconds"] == 20
    assert "remaining_ttl_seconds" not in models[TERN]["loaded_instances"][0]


@pytest.mark.parametrize("settings", [Settings(), Settings(models=tuple(map(Model.named, ["a/b", "c"])))])
def test_every_listed_chat_model_answers_under_its_own_name(emulate, settings):
    client = emulate(settings)

    chats = [key for key, entry in by_key(client.get("/api/v1/models")).items() if entry["type"] == "llm"]

    assert chats
    assert [client.ask(model=key).json()["model"] for key in chats] == chats


def test_the_embedded_engine_lists_its_one_model():
    settings = Settings(engine=Engine.EMBEDDED)

    assert settings.on_disk == EMBEDDED
    assert [loaded.id for loaded in settings.in_memory] == ["smollm2-135m-instruct"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"models": (Model("a"), Model("A"))}, "model 'a' is listed twice"),
        ({"loaded": (Loaded(TERN), Loaded(HERON, TERN))}, f"identifier '{TERN}' is listed twice"),
        ({"loaded": (Loaded("nobody"),)}, "'nobody' cannot be loaded"),
        ({"split": 0}, "at least 1 byte"),
        ({"ttl_s": 0}, "ttl_s must be at least 1 and at most 1000000000 seconds, not 0"),
        ({"load_seconds": -1}, "load_seconds must be at least 0 and at most 1000000000 seconds, not -1"),
        ({"load_config": LoadConfig(context_length=0)}, "context_length must be at least 1, not 0"),
        ({"load_config": LoadConfig(parallel=0)}, "parallel must be at least 1, not 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(fields, message):
    with pytest.raises(LmrouteError, match=message):
        Settings(**fields)
