"""L11: which model answers."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.emulator.catalog import SCRIPTED, Kind, Model
from lmroute.emulator.machine.clock import ManualClock
from lmroute.emulator.machine.instances import Instance, LoadConfig
from lmroute.emulator.machine.resolution import Unresolved, resolve
from lmroute.emulator.machine.state import State
from lmroute.emulator.openai.requests import chat_request
from lmroute.emulator.settings import Loaded, Settings
from lmroute.emulator.versions import NEWEST

TERN, HERON, WREN = (model.key for model in SCRIPTED[:3])
BOTH = (Loaded(TERN), Loaded(HERON))


def answered_by(client, **fields):
    return client.ask(**fields).json()["model"]


def ids(client):
    models = client.get("/api/v1/models").json()["models"]
    return [instance["id"] for model in models for instance in model["loaded_instances"]]


@pytest.mark.parametrize("name", [HERON, HERON.upper(), f"{HERON}@q4_k_m", f"{HERON}@Q4_K_M"])
def test_l11_a_key_in_any_case_gets_its_loaded_instance(shared, name):
    assert answered_by(shared(Settings(loaded=BOTH)), model=name) == HERON


def test_l11_an_alias_is_a_name_and_is_case_sensitive(shared):
    client = shared(Settings(loaded=(Loaded(TERN), Loaded(TERN, "My-Tern"), Loaded(HERON, "copy:2"))))

    assert answered_by(client, model="My-Tern") == "My-Tern"
    assert answered_by(client, model=TERN) == TERN
    assert answered_by(client, model=HERON) == "copy:2"
    assert client.ask(model="my-tern").status_code == 400


def test_l11_an_id_goes_before_a_key(shared):
    client = shared(Settings(loaded=(Loaded(HERON, "first"), Loaded(TERN, HERON))))
    before = ids(client)

    assert (before, answered_by(client, model=HERON)) == ([HERON, "first"], HERON)
    assert answered_by(client, model=HERON.upper()) == "first"


def test_l11_an_unknown_name_is_answered_by_the_only_loaded_model(client):
    reply = client.ask(model="gpt-4o").json()

    assert (reply["model"], reply["system_fingerprint"]) == (TERN, TERN)


def test_l11_embedding_models_do_not_count(shared):
    client = shared(Settings(loaded=(Loaded(TERN), Loaded(WREN))))

    assert answered_by(client, model="who") == answered_by(client) == answered_by(client, model=WREN) == TERN


def test_l11_an_unknown_name_among_several_is_refused(shared):
    reply = shared(Settings(loaded=BOTH)).ask(model="not-a-model")

    assert (reply.status_code, reply.json()["error"]) == (
        400,
        {
            "message": 'Invalid model identifier "not-a-model". Please specify a valid downloaded model '
            f"(e.g., {TERN}@q4_k_m, {TERN}, {HERON}@q4_k_m, {HERON}).",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        },
    )
    assert reply.text.startswith('{\n    "error": {\n        "message"')


def test_l11_no_name_among_several_is_refused(shared):
    reply = shared(Settings(loaded=BOTH)).ask()

    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith(
        "Multiple models are loaded. Please specify a model by providing a 'model' field"
    )
    assert reply.json()["error"]["code"] == "model_not_found"


def test_l11_an_empty_name_is_no_name(client):
    reply = client.ask(model="")

    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith('Invalid model identifier ""')


@pytest.mark.parametrize(
    ("jit", "fields"), [(True, {"model": "who"}), (True, {}), (False, {"model": TERN}), (False, {})]
)
def test_l11_with_nothing_loaded_there_is_no_answer(shared, jit, fields):
    reply = shared(Settings(loaded=(), jit=jit)).ask(**fields)

    assert (reply.status_code, reply.json()["error"]) == (
        400,
        {
            "message": "No models loaded. Please load a model in the developer page or use the 'lms load' command.",
            "type": "invalid_request_error",
            "param": "model",
            "code": None,
        },
    )


def test_l11_without_jit_a_downloaded_model_is_an_unknown_name(shared):
    assert answered_by(shared(Settings(jit=False)), model=HERON) == TERN


def test_l11_asking_loads_a_downloaded_model_once(emulate):
    client = emulate()

    assert [answered_by(client, model=HERON.title()) for _ in range(2)] == [HERON, HERON]
    assert ids(client) == [TERN, HERON]


def test_l11_one_model_that_was_loaded_by_asking_stays(emulate):
    models = tuple(map(Model.named, ["by-hand", "first", "second"]))
    client = emulate(Settings(models=models, loaded=(Loaded("by-hand"),)))

    assert answered_by(client, model="first") == "first"
    assert answered_by(client, model="second") == "second"
    assert ids(client) == ["by-hand", "second"]


def test_l11_a_model_that_was_loaded_by_asking_leaves_after_idling(emulate):
    client = emulate(Settings(clock="manual"))
    client.ask(model=HERON, ttl=60)

    client.advance(59)
    before = ids(client)
    client.ask(model=HERON, ttl=5)  # the time to live of a loaded model does not change, its idling starts anew
    client.advance(59)
    again = ids(client)
    client.advance(1)
    after = ids(client)

    assert (before, again, after) == ([TERN, HERON], [TERN, HERON], [TERN])


@pytest.mark.parametrize("ttl", [None, "abc", -5, 0, True, 1.5])
def test_l11_nonsense_for_a_time_to_live_is_an_hour(ttl):
    asked = chat_request({"messages": [], "ttl": ttl}, NEWEST)

    instance = asyncio.run(State(Settings(clock="manual")).choose(HERON, asked.ttl_s))

    assert instance.remaining_s() == 3600


def test_l11_a_model_does_not_idle_while_it_answers():
    async def live():
        state = State(Settings(clock="manual"))
        instance = await state.choose(HERON, 10)
        async with instance.slot():
            await state.clock.advance(100)
            during = instance in state.instances
        await state.clock.advance(10)
        return during, instance in state.instances

    assert asyncio.run(live()) == (True, False)


NAMES = ["a", "A", "b", "a@q4_k_m", "e", "alias", "Alias", "zzz", "", None]
MODELS = (Model("a"), Model("B"), Model("e", Kind.EMBEDDING))


def instances():
    ids = st.lists(st.sampled_from(["a", "B", "e", "alias", "a:2", "b"]), unique=True, max_size=4)
    return ids.flatmap(
        lambda ids: st.tuples(
            *(
                st.sampled_from(MODELS).map(lambda m, id_=id_: Instance(id_, m, LoadConfig(), 4096, 1, ManualClock()))
                for id_ in ids
            )
        )
    )


def oracle(name, loaded, jit):
    """Section 12.2 of the contract, written down as a table of who is asked in which order."""
    chats = [i for i in loaded if i.model.kind is Kind.LLM]
    alone = {0: Unresolved.NOTHING_LOADED, 1: chats[0] if chats else None}
    if name is None:
        return alone.get(len(chats), Unresolved.NAME_MISSING)
    asked = name.lower().removesuffix("@q4_k_m")
    order = itertools.chain(
        (i for i in chats if i.id == name),
        (i for i in chats if asked and i.model.key.lower() == asked),
        (m for m in MODELS[:2] if jit and m.key.lower() == asked),
        [alone.get(len(chats), Unresolved.UNKNOWN_NAME)] if name else [Unresolved.UNKNOWN_NAME],
    )
    return next(order)


@given(st.sampled_from(NAMES), instances(), st.booleans())
def test_l11_resolution_agrees_with_the_contract(name, loaded, jit):
    assert resolve(name, MODELS, loaded, jit=jit) is oracle(name, loaded, jit)
