"""What a profile promises of its models, against an inventory; and what a stranger reads of it."""

import re

import pytest

from lmroute.health.promises import broken, why_not
from lmroute.model import AUTO, Capabilities, Load, LoadMode, Profile
from lmroute.providers.inventory import Api, Inventory, ListedModel


def profile(**fields):
    return Profile(**{"id": "box", "type": "lmstudio", "endpoint": "http://127.0.0.1:1234"} | fields)


def listed(id_="tern", *, loaded=True, **fields):
    instance = {"of": id_} if loaded else {}
    return ListedModel(id_, loaded=loaded, **instance, **fields)


def told(ours, *models, names=(AUTO,), api=Api.LMSTUDIO_V1, **answers):
    found = broken(ours, names, Inventory(api, models, answers=answers))
    return [(one.code, ".".join(one.path)) for one in found]


def text(ours, *models, names=(AUTO,)):
    (one,) = broken(ours, names, Inventory(Api.LMSTUDIO_V1, models))
    return f"{one.message} / {one.advice}"


def test_nothing_is_promised_and_nothing_broken():
    assert told(profile(), listed(context_window=10, tools=False, vision=False, parallel=1)) == []


@pytest.mark.parametrize("name", ["tools", "vision", "reasoning"])
def test_a_capability_that_the_server_denies(name):
    ours = profile(capabilities=Capabilities(**{name: True}))
    denied = {"reasoning": ()} if name == "reasoning" else {name: False}
    assert told(ours, listed(**denied)) == [("LMR505", f"capabilities.{name}")]
    assert told(ours, listed()) == []


def test_a_window_that_is_smaller_than_an_explicit_load_asks_for():
    ours = profile(load=Load(LoadMode.EXPLICIT, context_length=16384))
    assert told(ours, listed(context_window=4096)) == [("LMR504", "load.context_length")]
    assert told(ours, listed(loaded=False, max_context_window=8192)) == [("LMR504", "load.context_length")]
    assert told(ours, listed(context_window=16384)) == []
    assert "lmroute models unload tern" in text(ours, listed(context_window=4096))


def test_a_larger_window_is_loaded_anew_where_the_model_has_it():
    ours = profile(context_window=16384)
    small = listed("tern:2", context_window=4096, max_context_window=32768)
    again = "lmroute models unload tern:2, then lmroute models load tern:2 --context-length 16384"
    assert again in text(ours, small)
    assert "it takes at most 8192" in text(ours, listed(context_window=4096, max_context_window=8192))
    (old,) = broken(ours, (AUTO,), Inventory(Api.LMSTUDIO_V0, (listed(context_window=4096),)))
    assert old.advice == "load it with a larger context, or write providers.box.context_window=4096"


def test_more_calls_at_once_than_the_server_takes():
    assert told(profile(concurrency=8), listed(parallel=4)) == [("LMR508", "concurrency")]
    assert told(profile(concurrency=4), listed(parallel=4)) == []


def test_a_second_copy():
    copy = ListedModel("tern:2", of="tern", loaded=True)
    assert told(profile(), listed(), copy) == [("LMR509", "models")]
    assert "loaded 2 times" in text(profile(), listed(), copy)
    assert text(profile(), listed(), copy).endswith("lmroute models unload tern:2")


def test_another_model_is_loaded_than_the_named_one():
    ours, tern = profile(models=("tern",)), listed(loaded=False)
    heron = listed("heron", ttl_s=3000.0)
    assert told(ours, tern, heron, names=("tern",)) == [("LMR510", "models")]
    said = text(ours, tern, heron, names=("tern",))
    assert re.search("'tern' is not loaded.*loaded is 'heron'.*unloads 'heron' for it", said)
    assert "no model is loaded" in text(ours, tern, names=("tern",))
    assert "unloads" not in text(ours, tern, listed("heron"), names=("tern",))
    assert told(ours, tern, heron, names=(AUTO,)) == []
    explicit = profile(models=("tern",), load=Load(LoadMode.EXPLICIT))
    assert told(explicit, tern, heron, names=("tern",)) == []


@pytest.mark.parametrize(("api", "expected"), [(Api.LMSTUDIO_V1, []), (Api.LMSTUDIO_V0, [("LMR511", "load.mode")])])
def test_an_old_server_cannot_be_told_to_load(api, expected):
    assert told(profile(load=Load(LoadMode.EXPLICIT)), listed(), api=api) == expected


def test_a_list_of_another_shape():
    assert told(profile(), listed(), models_v1={"models": [{"key": 7}]}) == [("LMR512", "type")]
    assert told(profile(), listed(), models_v1={"models": []}) == []


def test_why_a_model_is_not_offered():
    tern = ListedModel("tern", loaded=False, offered=False)
    heron, wren = listed("heron"), ListedModel("wren", chats=False, loaded=False, offered=False)
    message, advice = why_not(profile(), "tern", [tern, heron])
    assert "'tern' is on disk but not loaded, and just-in-time loading is off; loaded is 'heron'" in message
    assert "lmroute models load tern" in advice
    message, advice = why_not(profile(), AUTO, [tern, wren])
    assert message == "nothing is loaded, and just-in-time loading is off; on disk: 'tern'"
    assert advice.endswith("or write ++providers.box.load.mode=explicit")
    assert why_not(profile(), "wren", [wren, heron])[0] == "'wren' is an embedding model, it answers no chat"
    assert why_not(profile(), "nobody", [tern, heron]) is None
    assert why_not(profile(), AUTO, []) is None


def test_a_server_that_does_not_tell_what_its_models_are():
    silent = Inventory(Api.PLAIN, (ListedModel("tern"),), problem="its own list of models could not be read: HTTP 500")
    (one,) = broken(profile(context_window=16384), [AUTO], silent)
    assert (one.code, one.path) == ("LMR513", ("type",))
    assert "HTTP 500; windows and what models can do are unknown" in one.message
