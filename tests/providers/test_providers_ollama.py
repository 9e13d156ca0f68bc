"""Ollama's inventory: what is in memory, with which window and for how long, and what each model can do."""

import json

import pytest

from lmroute.model import AUTO, Locality
from lmroute.providers.inventory import Api, find, passed_on
from lmroute.providers.probe import Patience, probe

NOW = "Tue, 03 Mar 2026 09:30:00 GMT"
NAMES = ("plover:3b", "crane:latest", "all-mini:33m")
OFFERED = {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "library"} for name in NAMES]}


def tag(name, family="plover", **fields):
    details = {"format": "gguf", "family": family, "parameter_size": "3.1B", "quantization_level": "Q4_K_M"}
    return {"name": name, "model": name, "size": 2_100_000_000, "digest": "ab12", "details": details, **fields}


TAGS = {"models": [tag("plover:3b"), tag("crane:latest"), tag("all-mini:33m", "bert")]}
RUNNING = {
    "name": "crane:latest",
    "size": 3_000_000_000,
    "expires_at": "2026-03-03T10:34:59.5+01:00",
    "size_vram": 3_000_000_000,
    "context_length": 8192,
}
SHOWN = {
    "parameters": 'stop    "<|end|>"\nnum_ctx                        16384\ntemperature 0.2',
    "model_info": {"general.architecture": "plover", "plover.context_length": 131072, "plover.block_count": 28},
    "capabilities": ["completion", "tools", "vision"],
}


@pytest.fixture
def ollama(native, serve):
    """An Ollama that has three models, with crane in memory unless ``running`` says otherwise."""

    def start(*running, offered=OFFERED, tags=TAGS, shown=SHOWN, **fields):
        show = shown if callable(shown) else lambda _asked: shown
        ps = serve.reply({"models": list(running)}, "200 OK", f"Date: {NOW}")
        answers = {"/v1/models": offered, "/api/tags": tags, "/api/ps": ps, "/api/show": show}
        return native("ollama", answers, **fields)

    return start


def found(inventory, name):
    return next(model for model in inventory.models if model.id == name)


def test_what_is_in_memory_comes_first_with_its_window_and_its_time(ollama):
    box = ollama(RUNNING)
    inventory = box.take()
    crane = find(inventory.models, AUTO, box.profile)
    assert (inventory.api, crane.id, crane.loaded) == (Api.OLLAMA, "crane:latest", True)
    assert (crane.context_window, crane.max_context_window, crane.ttl_s) == (8192, 16384, 299.5)
    assert (crane.tools, crane.vision, crane.reasoning, crane.parallel) == (True, True, (), None)
    assert (crane.quantization, crane.format, crane.size_bytes) == ("Q4_K_M", "gguf", 2_100_000_000)
    assert [(m.id, m.loaded) for m in inventory.models] == [
        ("plover:3b", False),
        ("crane:latest", True),
        ("all-mini:33m", False),
    ]


def test_only_what_counts_is_asked_about(ollama):
    box = ollama(RUNNING, models=(AUTO, "plover:3b"))
    inventory = box.take()
    assert box.paths == ["/v1/models", "/api/tags", "/api/ps", "/api/show", "/api/show"]
    asked = [json.loads(head.partition(b"\r\n\r\n")[2])["model"] for head in box.server.heads[3:]]
    assert asked == ["crane:latest", "plover:3b"]
    assert found(inventory, "all-mini:33m").tools is None


def test_however_many_are_loaded_the_questions_are_few(ollama):
    names = [f"m{number}" for number in range(50)]
    offered = {"data": [{"id": name} for name in names]}
    running = [{**RUNNING, "name": name} for name in names]
    box = ollama(*running, offered=offered, tags={"models": [tag(name) for name in names]})
    assert all(model.loaded for model in box.take().models)
    assert len(box.paths) == 3 + 4


def test_a_model_that_turns_out_to_embed_is_not_what_auto_means(ollama):
    abilities = {"plover:3b": ["embedding"], "crane:latest": ["completion"]}
    box = ollama(shown=lambda asked: {"capabilities": abilities[asked["model"]]})
    inventory = box.take()
    assert find(inventory.models, AUTO, box.profile).id == "crane:latest"
    assert not found(inventory, "plover:3b").chats
    assert not found(inventory, "all-mini:33m").chats  # by its family, which costs no question


@pytest.mark.parametrize(
    ("running", "shown", "windows"),
    [
        ((), SHOWN, (None, 16384)),  # not loaded: nothing is certain, and no more than its own num_ctx
        ((), {**SHOWN, "parameters": ""}, (None, 131072)),
        (({"name": "crane:latest"},), SHOWN, (16384, 16384)),  # an Ollama that does not tell the window of what runs
        (({"name": "crane:latest"},), {"model_info": None, "parameters": None}, (None, None)),
        (({"name": "crane:latest", "context_length": "8192"},), {"model_info": {"a.context_length": 0}}, (None, None)),
    ],
)
def test_windows_of_models_that_tell_less(ollama, running, shown, windows):
    crane = found(ollama(*running, shown=shown, models=("crane",)).take(), "crane:latest")
    assert (crane.context_window, crane.max_context_window) == windows


@pytest.mark.parametrize(
    ("expires_at", "left"),
    [
        ("2026-03-03T09:30:30Z", 30.0),
        ("2026-03-03T09:30:30.123456789Z", 30.123456),
        ("2026-03-03T09:29:00Z", 0.0),
        ("2318-06-11T08:00:00+01:00", None),  # keep_alive: -1
        ("soon", None),
        ("2026-03-03T09:30:30", None),
        (None, None),
    ],
)
def test_the_time_that_is_left(ollama, expires_at, left):
    crane = found(ollama({**RUNNING, "expires_at": expires_at}).take(), "crane:latest")
    assert (crane.loaded, crane.ttl_s) == (True, left)


@pytest.mark.parametrize(
    ("thinking", "reasoning"),
    [
        ({"values": ["low", "high"], "default": "low"}, ("low", "high")),
        ({"values": [False, True], "default": True}, None),
        ({"values": ["a\nb", 3, None]}, None),
        (None, None),
    ],
)
def test_a_model_that_thinks_may_tell_how(ollama, thinking, reasoning):
    shown = {"capabilities": ["completion", "thinking"], "thinking": thinking}
    assert found(ollama(RUNNING, shown=shown).take(), "crane:latest").reasoning == reasoning


AWAY = {"remote_model": "giant:400b", "remote_host": "https://ollama.com:443", "size": 384}


@pytest.mark.parametrize(("locality", "stays"), [(Locality.LOOPBACK, True), (Locality.CLOUD, False)])
def test_a_model_that_runs_elsewhere_is_not_on_this_machine(ollama, locality, stays):
    offered, tags = {"data": [{"id": "giant:cloud"}]}, {"models": [tag("giant:cloud", **AWAY)]}
    box = ollama(offered=offered, tags=tags, locality=locality)
    models = box.take().models
    for name in (AUTO, "giant:cloud"):
        assert (find(models, name, box.profile) is None) is stays
    assert (passed_on(models, "giant:cloud", box.profile) is not None) is stays
    assert models[0].loaded  # nobody here waits until it is


def test_a_model_that_runs_elsewhere_is_told_so_by_the_probe(ollama):
    offered, tags = {"data": [{"id": "giant:cloud"}]}, {"models": [tag("giant:cloud", **AWAY)]}
    box = ollama(offered=offered, tags=tags, models=("giant:cloud",))
    assert probe(box.profile, patience=Patience(total_s=20)).missing == ("giant:cloud",)


@pytest.mark.parametrize("path", ["/api/tags", "/api/ps", "/api/show"])
@pytest.mark.parametrize("broken", [None, [], {"models": 3}, {"models": ["a", {}, {"name": 3}]}, b""], ids=repr)
def test_details_that_are_missing_or_broken_break_nothing(native, path, broken):
    answers = {"/v1/models": OFFERED, "/api/tags": TAGS, "/api/ps": {"models": [RUNNING]}, "/api/show": SHOWN}
    inventory = native("ollama", answers | {path: broken}).take()
    assert [model.id for model in inventory.models] == list(NAMES)
    assert not inventory.is_other


def test_an_ollama_behind_a_proxy_that_hides_its_own_api_is_taken_for_nothing_else(native):
    offered = {"data": [{"id": "crane:latest", "owned_by": "proxy"}]}
    box = native("ollama", {"/v1/models": offered})
    inventory = box.take()
    assert (inventory.api, inventory.is_other) == (Api.PLAIN, False)
    assert box.paths == ["/v1/models", "/api/tags"]
