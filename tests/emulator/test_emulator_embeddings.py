"""L19: embeddings."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmroute.emulator.backends.texts import tokens_of
from lmroute.emulator.backends.vectors import DIMENSIONS, vector_of
from lmroute.emulator.catalog import SCRIPTED, Kind, Model
from lmroute.emulator.settings import Loaded, Settings
from lmroute.emulator.versions import PROFILES

TERN, WREN = SCRIPTED[0].key, SCRIPTED[2].key
NARROW = Model("text-embedding-narrow", Kind.EMBEDDING, context_length=4)


def embed(client, text, model=WREN, path="/v1/embeddings", **fields):
    return client.post(path, json={"model": model, "input": text, **fields})


def vectors_of(reply):
    assert reply.status_code == 200, reply.text
    return [entry["embedding"] for entry in reply.json()["data"]]


@pytest.mark.parametrize("path", ["/v1/embeddings", "/api/v0/embeddings"])
def test_l19_the_shape_and_a_usage_of_zero(client, path):
    body = embed(client, ["a wren", "a tern"], path=path).json()

    first, second = (entry.pop("embedding") for entry in body["data"])
    assert body == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0}, {"object": "embedding", "index": 1}],
        "model": WREN,
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
    }
    assert len(first) == len(second) == DIMENSIONS
    assert first != second


def test_l19_a_text_has_one_vector_alone_and_among_others(client):
    assert vectors_of(embed(client, "a wren")) == vectors_of(embed(client, ["x", "a wren"]))[1:]


@pytest.mark.parametrize("value", [[1, 2], [[1, 2], [3]], None, {"text": "a"}, 7, ["a", None]])
def test_l19_anything_but_texts_is_refused(client, value):
    reply = embed(client, value)

    error = {"error": "'input' field must be a string or an array of strings"}
    assert (reply.status_code, reply.json()) == (400, error)


def test_l19_what_does_not_fit_the_window_is_silently_cut(shared):
    client = shared(Settings(models=(NARROW,), loaded=(Loaded(NARROW.key),)))

    short, same, longer = vectors_of(embed(client, ["a b c d", "a b c d e f g h", "a b c"], NARROW.key))

    assert short == same != longer


@pytest.mark.parametrize("name", [TERN, TERN.upper(), f"{TERN}@q4_k_m", "my-tern"])
def test_l19_a_chat_model_is_refused(shared, name):
    client = shared(Settings(loaded=(Loaded(TERN), Loaded(TERN, "my-tern"))))

    reply = embed(client, "a", name)

    assert (reply.status_code, reply.json()) == (
        400,
        {
            "error": {
                "message": f'Failed to load model "{name}". Error: Model is not embedding.',
                "type": "invalid_request_error",
                "param": "model",
                "code": "model_not_found",
            }
        },
    )


def test_an_embedding_model_is_refused_no_chat_it_just_does_not_count(emulate):
    client = emulate(Settings(loaded=(Loaded(TERN), Loaded(WREN))))

    assert client.ask(model=WREN).json()["model"] == TERN


def test_l12_ttl_counts_for_the_embedding_model_that_the_request_loads(emulate):
    client = emulate(Settings(clock="manual"))

    def left():
        models = client.get("/api/v1/models").json()["models"]
        return [i["remaining_ttl_seconds"] for m in models if m["key"] == WREN for i in m["loaded_instances"]]

    vectors_of(embed(client, "a", ttl=40))

    assert left() == [40]
    client.advance(41)
    assert left() == []


def test_without_jit_a_model_that_is_not_loaded_makes_none(shared):
    reply = embed(shared(Settings(jit=False)), "a")

    assert (reply.status_code, reply.json()["error"]["message"][:16]) == (400, "No models loaded")


def test_l04_the_oldest_release_makes_embeddings_too(emulate):
    client = emulate(Settings(version=PROFILES["0.3.5"]))

    assert len(vectors_of(embed(client, "a"))) == 1
    assert "Unexpected endpoint" in embed(client, "a", path="/api/v0/embeddings").json()["error"]


@settings(max_examples=30)
@given(st.text())
def test_every_text_has_a_unit_vector_that_is_always_the_same(text):
    vector = vector_of(tokens_of(text))

    assert math.isclose(math.hypot(*vector), 1)
    assert vector == vector_of(tokens_of(text))


def test_texts_that_share_words_are_nearer():
    def near(one, other):
        return sum(a * b for a, b in zip(vector_of(tokens_of(one)), vector_of(tokens_of(other)), strict=True))

    assert near("the wren sings", "The wren slept") > near("the wren sings", "interest rates fell") + 0.2
