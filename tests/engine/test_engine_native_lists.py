"""Calls to servers that tell what they have in memory: Ollama, vLLM, and those that hide it."""

import pytest
from dspy import lm15

from lmroute.engine.live.learnt import Learnt
from lmroute.engine.readiness import Readiness
from lmroute.model import AUTO, Candidate

OFFERED = {"data": [{"id": name, "owned_by": "library"} for name in ("heron:7b", "tern:latest")]}
TAGS = {"models": [{"name": "heron:7b"}, {"name": "tern:latest"}]}
RUNNING = {"name": "tern:latest", "context_length": 8192, "expires_at": "2999-01-01T00:00:00Z"}
SHOWN = {"capabilities": ["completion"], "model_info": {"a.context_length": 65536}}
NAMED = {"data": [{"id": "tern"}, {"id": "heron"}]}
LOOK = ["/v1/models", "/api/tags", "/api/ps"]


def ollama(server, *running, tags=TAGS):
    server.lists = {"/v1/models": OFFERED, "/api/tags": tags, "/api/ps": {"models": running}, "/api/show": SHOWN}


def test_auto_is_what_ollama_has_in_memory(mode, make, server):
    ollama(server, RUNNING)
    server.answers(server.http(server.chat(model="tern:latest")))
    engine = mode.provider(server.profile(type="ollama", models=(AUTO,)))
    for _ in range(2):
        mode.complete(engine, make.ask(model=AUTO))
    assert [request.json["model"] for request in server.received] == ["tern:latest"] * 2
    assert server.listed == [*LOOK, "/api/show"]  # asked once for both


@pytest.fixture
def ready(server):
    """Asks for the target of a model: ``ready(type, name) -> target``, again and again of the same readiness."""
    made = {}

    def target(kind, name, *others):
        if kind not in made:
            profile = server.profile(type=kind, models=(name, *others), load_s=90.0)
            made[kind] = Readiness(profile, target.learnt)
        return made[kind].target(name, made[kind].place())

    target.learnt = Learnt()
    return target


def test_a_loaded_model_tells_its_window(server, ready):
    ollama(server, RUNNING)
    assert (ready("ollama", "tern").model, ready("ollama", "tern").load_s) == ("tern", 0.0)
    assert ready.learnt.windows == {Candidate("a", "tern"): 8192}
    assert server.listed == [*LOOK, "/api/show"]


def test_a_cold_model_may_take_longer_and_is_looked_at_again(server, ready):
    ollama(server)
    assert ready("ollama", "tern").load_s == 90.0
    assert not ready.learnt.windows
    ollama(server, RUNNING)
    assert ready("ollama", "tern").load_s == 0.0
    assert ready.learnt.windows == {Candidate("a", "tern"): 8192}


def test_a_model_that_may_have_been_unloaded_by_now_is_looked_at_again(server, ready):
    ollama(server, RUNNING | {"expires_at": "2026-01-01T00:00:00Z"})
    for _ in range(2):
        assert ready("ollama", "tern").load_s == 0.0
    assert server.listed.count("/api/ps") == 2


def test_a_model_that_runs_elsewhere_gets_no_call(mode, make, server):
    ollama(server, tags={"models": [{"name": "tern:latest", "remote_host": "https://ollama.com"}]})
    engine = mode.provider(server.profile(type="ollama", models=("tern",)))
    with pytest.raises(lm15.UnsupportedModelError, match=r"https://ollama.com does.*locality: loopback.*own"):
        mode.complete(engine, make.ask(model="tern"))
    assert not server.received


def test_one_that_is_loaded_for_good_is_asked_once(server, ready):
    server.lists = {"/v1/models": {"data": [{"id": "tern", "owned_by": "vllm", "max_model_len": 4096}]}}
    assert [ready("vllm", "tern").load_s for _ in range(3)] == [0.0] * 3
    assert ready.learnt.windows == {Candidate("a", "tern"): 4096}
    assert server.listed == ["/v1/models"]


@pytest.mark.parametrize(("kind", "load_s"), [("ollama", 90.0), ("llamacpp", 0.0), ("vllm", 0.0), ("sglang", 0.0)])
@pytest.mark.parametrize("listed", [{}, {"/v1/models": NAMED}], ids=["no list", "no native API"])
def test_a_proxy_that_hides_what_it_has_is_not_asked_at_every_call(server, ready, kind, load_s, listed):
    server.lists = listed
    targets = [ready(kind, name, "heron") for name in ("tern", "heron") * 2]
    assert [(target.model, target.load_s) for target in targets] == [("tern", load_s), ("heron", load_s)] * 2
    assert server.listed.count("/v1/models") == 1
    assert len(server.listed) <= 2
