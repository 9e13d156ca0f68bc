"""L12 to L14: models that are cold, that come and go, that lmroute loads, and that others unload behind its back.

Two models of one host, whose loads would end what the other one answers: ``test_engine_switching.py``.
"""

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from dspy import lm15

from lmroute.emulator.catalog import SCRIPTED
from lmroute.emulator.faults import Faults
from lmroute.emulator.settings import Loaded
from lmroute.emulator.versions import NATIVE_V0, NATIVE_V1, NEWEST, PROFILES
from lmroute.engine.live.learnt import Learnt
from lmroute.engine.verdicts import NotReadyError
from lmroute.model import AUTO, Candidate, Load, LoadMode

TERN, HERON = (model.key for model in SCRIPTED[:2])
OLD = {name: version for name, version in PROFILES.items() if not version.has(NATIVE_V1)}
EXPLICIT = Load(LoadMode.EXPLICIT, context_length=9000)


def in_memory(state):
    return {instance["id"]: instance["context_length"] for instance in state["instances"]}


@pytest.fixture
def passes(monkeypatch):
    """Lets seconds pass for an emulator with a manual clock, and for what the client keeps of its list."""
    ahead = 0.0

    def forward(emulated, seconds):
        nonlocal ahead
        ahead += seconds
        return emulated.advance(seconds)

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + ahead)
    monkeypatch.setattr("lmroute.engine.stock.time", clock)
    return forward


def test_l12_a_cold_model_may_take_longer(mode, make, lmstudio, emulate, release, asked):  # noqa: PLR0917
    """Longer than a first token, or a whole answer, may: nothing comes before the model is loaded."""
    emulated = emulate(release, loaded=(), load_seconds=0.2)
    patience = make.patience(first_token_s=0.05, total_s=0.05, load_s=60)
    engine = mode.provider(lmstudio(emulated.url, models=(HERON,), timeouts=patience))
    assert asked(engine, make.ask(model=HERON)).model == HERON


def test_l12_but_not_for_ever(mode, make, lmstudio, shared, release, asked):  # noqa: PLR0917
    emulated = shared(release, loaded=(), load_seconds=3600, clock="manual")
    patience = make.patience(first_token_s=0.05, total_s=0.05, load_s=0.05)
    engine = mode.provider(lmstudio(emulated.url, models=(HERON,), timeouts=patience))
    with pytest.raises(lm15.TimeoutError):
        asked(engine, make.ask(model=HERON))


def test_l12_a_model_that_was_evicted_is_loaded_again(mode, make, lmstudio, emulate, release, asked):  # noqa: PLR0917
    emulated = emulate(release, loaded=())
    engine = mode.provider(lmstudio(emulated.url, models=(TERN, HERON)))
    for model in (TERN, HERON, TERN):
        assert asked(engine, make.ask(model=model)).model == model
        assert list(in_memory(emulated.state())) == [model]


def test_l12_after_its_time_to_live_it_is_looked_up_again(mode, make, lmstudio, emulate, release, asked, passes):  # noqa: PLR0917
    """It is gone then, and cold; here a person has loaded it meanwhile, with another window. 0.3.5 tells none."""
    learnt, emulated = Learnt(), emulate(release, loaded=(), clock="manual")
    engine = mode.provider(lmstudio(emulated.url, models=(HERON,), load=Load(ttl_s=60)), learnt)
    windows = []
    for seconds in (0, 61):
        for _ in range(2):  # loaded by the first one, looked up by the second
            asked(engine, make.ask(model=HERON))
        windows += learnt.windows.values()
        assert passes(emulated, seconds and seconds - 1)["instances"]
        if not seconds:
            assert not in_memory(passes(emulated, 61))
            emulated.load(HERON, context_length=9000)
    assert windows == ([4096, 9000] if release.has(NATIVE_V0) else [])


KILLED = Faults(path="/v1/chat/completions", failure="unloaded")


def test_l12_a_generation_that_was_killed_falls_back(router_over, make, lmstudio, shared, release, asked, outcomes):  # noqa: PLR0917
    bad, good = shared(release, faults=KILLED), shared(release)
    engine = router_over(lmstudio(bad.url), replace(lmstudio(good.url), id="other"))
    assert outcomes(asked(engine, make.ask())) == ["server", None]


def test_l12_after_its_first_word_the_error_is_the_callers(mode, router_over, make, lmstudio, shared, release):  # noqa: PLR0917
    bad = shared(release, faults=replace(KILLED, failure_after=2))
    engine = router_over(lmstudio(bad.url), replace(lmstudio(shared(release).url), id="other"))
    with pytest.raises(lm15.ServerError, match="Model unloaded"):
        mode.stream(engine, make.ask())


def test_l13_explicit_loads_once_and_reads_the_settings_back(mode, make, lmstudio, emulate, asked):
    """Loading is not idempotent; and a window that is larger than the model's is cut without a word."""
    emulated, learnt = emulate(NEWEST, jit=False, loaded=()), Learnt()
    load = Load(LoadMode.EXPLICIT, context_length=50_000)
    for _ in range(2):  # the second one is another process
        engine = mode.provider(lmstudio(emulated.url, models=(TERN,), load=load), learnt)
        for _ in range(2):
            assert asked(engine, make.ask(model=TERN)).model == TERN
    assert in_memory(emulated.state()) == {TERN: 32768}
    assert learnt.windows == {Candidate("lmstudio", TERN): 32768}


def test_l13_the_guardrail_makes_the_next_one_answer(router_over, make, lmstudio, shared, asked, outcomes):  # noqa: PLR0917
    bad = shared(NEWEST, loaded=(), faults=Faults(load_failure=True))
    engine = router_over(
        lmstudio(bad.url, models=(HERON,), load=EXPLICIT), replace(lmstudio(shared(NEWEST).url), id="other")
    )
    response = asked(engine, make.ask())
    assert outcomes(response) == ["unavailable", None]
    assert "insufficient system resources" in response.provider_data["lmroute"]["attempts"][0]["message"]


def test_l12_so_does_a_load_for_a_request_that_fails(router_over, make, lmstudio, shared, release, asked, outcomes):  # noqa: PLR0917
    bad = shared(release, loaded=(), faults=Faults(load_failure=True))
    engine = router_over(lmstudio(bad.url, models=(HERON,)), replace(lmstudio(shared(release).url), id="other"))
    assert outcomes(asked(engine, make.ask())) == ["unavailable", None]


@pytest.mark.parametrize("release", OLD.values(), ids=OLD)
@pytest.mark.parametrize("model", [TERN, HERON])
def test_l13_before_0_4_nothing_can_be_loaded(mode, make, lmstudio, shared, release, asked, model):  # noqa: PLR0917
    """What is in memory answers all the same where the server tells that it is."""
    engine = mode.provider(lmstudio(shared(release).url, models=(model,), load=EXPLICIT))
    if release.has(NATIVE_V0) and model == TERN:
        assert asked(engine, make.ask(model=model)).model == TERN
        return
    with pytest.raises(NotReadyError, match="cannot be told to load"):
        asked(engine, make.ask(model=model))


def test_l14_unloaded_behind_our_back_it_is_loaded_again(mode, make, lmstudio, emulate, release, asked):  # noqa: PLR0917
    emulated = emulate(release)
    engine = mode.provider(lmstudio(emulated.url, models=(TERN,)))
    for _ in range(2):
        assert asked(engine, make.ask(model=TERN)).model == TERN
        emulated.unload(TERN)


def test_l14_unloaded_behind_our_back_it_keeps_its_settings(mode, make, lmstudio, emulate, asked, monkeypatch):  # noqa: PLR0917
    """LM Studio would load it with its own; that it is gone is seen as soon as what was told of it is stale."""
    monkeypatch.setattr("lmroute.engine.stock._OURS_S", 0.0)
    emulated, load = emulate(NEWEST, loaded=()), Load(LoadMode.EXPLICIT, context_length=9000)
    engine = mode.provider(lmstudio(emulated.url, models=(TERN,), load=load))
    for _ in range(2):
        asked(engine, make.ask(model=TERN))
        assert in_memory(emulated.state()) == {TERN: 9000}
        emulated.unload(TERN)


def test_l14_auto_follows_a_swap(mode, make, lmstudio, emulate, asked, monkeypatch):  # noqa: PLR0917
    """Naming the model of a moment ago would make LM Studio load what the user has just unloaded."""
    monkeypatch.setattr("lmroute.engine.stock._TOLD_S", 0.0)
    emulated = emulate(NEWEST)
    engine = mode.provider(lmstudio(emulated.url))
    asked(engine, make.ask(model=AUTO))
    emulated.unload(TERN)
    emulated.load(HERON)
    assert asked(engine, make.ask(model=AUTO)).model == HERON
    assert list(in_memory(emulated.state())) == [HERON]


def test_l14_without_jit_it_is_missed_until_a_person_loads_it(mode, make, lmstudio, emulate, release, asked):  # noqa: PLR0917
    emulated, learnt = emulate(release, jit=False), Learnt()
    engine = mode.provider(lmstudio(emulated.url, models=(TERN,)), learnt)
    asked(engine, make.ask(model=TERN))
    emulated.unload(TERN)
    for says in ("No models loaded", "not loaded and just-in-time" if release.has(NATIVE_V0) else "No models loaded"):
        with pytest.raises(lm15.UnsupportedModelError, match=says):
            asked(engine, make.ask(model=TERN))
    emulated.load(TERN, context_length=9000)
    assert asked(engine, make.ask(model=TERN)).model == TERN
    assert list(learnt.windows.values()) == ([9000] if release.has(NATIVE_V0) else [])


def test_l14_another_one_that_answers_instead_is_found_out(mode, make, lmstudio, emulate, release, asked):  # noqa: PLR0917
    emulated = emulate(release, jit=False, loaded=(Loaded(TERN), Loaded(HERON)))
    engine = mode.provider(lmstudio(emulated.url, models=(TERN,)))
    asked(engine, make.ask(model=TERN))
    emulated.unload(TERN)
    for _ in range(2):
        with pytest.raises(lm15.UnsupportedModelError):
            asked(engine, make.ask(model=TERN))
