"""The front door: build, load, adapter; and engines that are copied, pickled and saved."""

import copy
import json
import pickle

import cloudpickle
import dspy
import pytest
from hydra import compose, initialize_config_dir

import lmroute
from lmroute import validate
from lmroute.config.paths import shipped
from lmroute.engine.adapters import CompactAdapter
from lmroute.engine.routing_engine import AsyncRoutingEngine, RoutingEngine
from lmroute.errors import ConfigError
from lmroute.model import AUTO, Candidate


@pytest.fixture
def overrides(emulator):
    return ["provider=[lmstudio]", f"providers.lmstudio.endpoint={emulator}", "routing=local_only"]


def test_load_takes_one_line_or_a_list(overrides):
    lms = [lmroute.load(overrides, cache=False), lmroute.load(" ".join(overrides), cache=False)]
    assert lms[0].model == lms[1].model
    assert lms[0].model.startswith("lmroute/local_only@")
    assert [lm("hello there") for lm in lms] == [["You said: hello there"]] * 2
    assert lms[0].history[-1]["response_model"] == "rookery/tern-3b-instruct"


def test_build_takes_what_there_is(overrides):
    stack = validate.load(overrides)
    with initialize_config_dir(str(shipped("conf")), version_base=None):
        composed = compose("config", overrides)
    names = {lmroute.build(given).model for given in (stack, stack.document, composed)}
    assert len(names) == 1


def test_a_wrong_configuration_is_said_with_every_finding():
    with pytest.raises(ConfigError) as caught:
        lmroute.load("provider=lmstudio providers.lmstudio.models=[] providers.lmstudio.tags=[a,a]")
    assert len(caught.value.diagnostics) == 2


def test_request_defaults_and_dspys_own_settings(overrides):
    lm = lmroute.load(overrides, temperature=0.7, max_tokens=5, num_retries=2)
    assert (lm.kwargs["temperature"], lm.kwargs["max_tokens"], lm.num_retries) == (0.7, 5, 2)
    assert lmroute.load(overrides).num_retries == 0


def test_both_engines_learn_the_same_windows(overrides):
    lm = lmroute.load(overrides, cache=False)
    lm("hello")
    expected = {Candidate("lmstudio", AUTO): 4096}
    assert lm.engine.routing.live.learnt.windows == expected
    assert lm.engine.routing.live is lm._async_engine_spec.routing.live


def test_building_contacts_nobody(server):
    lmroute.load(f"provider=lmstudio providers.lmstudio.endpoint={server.url}")
    assert not server.received


def test_adapter_is_what_the_configuration_asks_for(overrides):
    assert isinstance(lmroute.adapter(lmroute.load(overrides)), CompactAdapter)
    assert type(lmroute.adapter(lmroute.load([*overrides, "adapter=xml"]))) is dspy.XMLAdapter


def test_records_go_to_the_sink(overrides, make):
    sink = make.sink()
    lm = lmroute.load(overrides, sink=sink, cache=False)
    lm("hello")
    lm.engine.close()  # which waits for a sink of one's own
    assert sink.kinds() == ["attempt", "call"]


def test_copies_share_the_engine(overrides):
    lm = lmroute.load(overrides)
    assert lm.copy(rollout_id=1, temperature=1.0).engine is lm.engine
    assert copy.deepcopy(lm).engine is lm.engine
    program = dspy.Predict("question -> answer")
    program.lm = lm
    assert program.deepcopy().lm.engine is lm.engine
    assert copy.deepcopy(lm)._async_engine_spec is lm._async_engine_spec


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_a_pickled_lm_answers_again(overrides, pickler):
    lm = lmroute.load(overrides, cache=False, temperature=0.1)
    again = pickler.loads(pickler.dumps(lm))
    assert (again.model, again.kwargs) == (lm.model, lm.kwargs)
    assert again.engine is not lm.engine
    assert again("hello there") == ["You said: hello there"]
    again.engine.close()


@pytest.mark.parametrize("kind", [RoutingEngine, AsyncRoutingEngine])
def test_state_is_json_without_secrets_and_makes_the_same_engine(kind, overrides, monkeypatch):
    monkeypatch.setenv("LM_API_TOKEN", "sk-lm-abcdefgh:ABCDEFGHIJKLMNOPQRST")
    lm = lmroute.load(overrides)
    state = json.loads(json.dumps((lm.engine if kind is RoutingEngine else lm._async_engine_spec).dump_state()))
    assert "sk-lm" not in str(state)
    loaded = kind.load_state(state)
    assert type(loaded) is kind
    assert loaded.routing.name == lm.engine.routing.name
    assert loaded.stack == lm.engine.stack


def test_a_state_that_was_tampered_with_is_checked_like_any_configuration(overrides):
    state = lmroute.load(overrides).engine.dump_state()
    broken = json.loads(json.dumps(state))
    broken["document"]["providers"]["lmstudio"]["auth_token"] = "sk-a-literal-secret"
    with pytest.raises(ConfigError, match="auth_token"):
        RoutingEngine.load_state(broken)


def test_an_engine_over_a_stack_made_in_python_cannot_be_saved(make):
    engine = RoutingEngine(make.stack(make.profile()), {})
    with pytest.raises(TypeError, match="made in Python"):
        engine.dump_state()
    with pytest.raises(TypeError, match="made in Python"):
        pickle.dumps(engine)


@pytest.mark.parametrize("lm", [None, dspy.LM("openai/some-model")])
def test_an_adapter_is_for_our_own_lms(lm):
    with pytest.raises(TypeError, match=r"takes an LM made by lmroute\.load"):
        lmroute.adapter(lm)
