"""L04: what older releases do otherwise."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from lmroute.emulator.backends import Finish
from lmroute.emulator.catalog import SCRIPTED, Model
from lmroute.emulator.settings import Loaded, Settings
from lmroute.emulator.versions import PROFILES
from lmroute.errors import LmrouteError

TERN, HERON = SCRIPTED[0].key, SCRIPTED[1].key
OLD = ["0.3.5", "0.3.31"]


def of(profile, **fields):
    return Settings(version=PROFILES[profile], **fields)


@pytest.mark.parametrize(
    ("profile", "v0", "v1"), [("0.3.5", False, False), ("0.3.31", True, False), ("0.4.25", True, True)]
)
def test_l04_native_lists_came_with_their_releases(shared, profile, v0, v1):
    client = shared(of(profile))

    assert ("data" in client.get("/api/v0/models").json()) is v0
    assert ("models" in client.get("/api/v1/models").json()) is v1
    assert client.get("/v1/models").json()["object"] == "list"


@pytest.mark.parametrize("profile", OLD)
def test_l04_old_answers_have_fewer_fields_in_another_order(shared, profile):
    body = shared(of(profile)).ask(model=TERN).json()

    [choice] = body["choices"]
    assert list(choice) == ["index", "logprobs", "finish_reason", "message"]
    assert choice["message"] == {"role": "assistant", "content": "You said: hello there"}
    assert body["usage"] == {"prompt_tokens": 4, "completion_tokens": 7, "total_tokens": 11}
    assert (body["stats"], body["system_fingerprint"]) == ({}, TERN)


@pytest.mark.parametrize("profile", OLD)
def test_l04_old_releases_ask_for_no_token(shared, profile):
    with pytest.raises(LmrouteError, match="no API tokens"):
        of(profile, require_auth=True)
    client = shared(of(profile))

    assert client.get("/v1/models", headers={"Authorization": "Bearer nonsense"}).status_code == 200


@pytest.mark.parametrize("profile", OLD)
@pytest.mark.parametrize("stream", [False, True])
def test_l04_an_overflow_is_a_400_in_odd_words(shared, profile, stream):
    client = shared(of(profile, models=(Model("tiny", context_length=5),)))

    reply = client.ask(messages=[{"role": "user", "content": "a b c d e f"}], stream=stream)

    assert (reply.status_code, reply.json()) == (
        400,
        {
            "error": "Trying to keep the first 6 tokens when context the overflows. However, the model is "
            "loaded with context length of only 5 tokens, which is not enough. "
            "Try to load the model with a larger context length, or provide a shorter input"
        },
    )


@pytest.mark.parametrize(("profile", "has_usage"), [("0.3.5", False), ("0.3.31", True)])
def test_l04_usage_of_streams_came_later(shared, profile, has_usage):
    raw = shared(of(profile)).stream_bytes(stream_options={"include_usage": True})[2]

    last = json.loads(raw.decode().split("\n\n")[-3].removeprefix("data: "))
    assert ("usage" in last) is has_usage


def test_l04_the_oldest_release_refuses_with_404(emulate):
    client = emulate(of("0.3.5", models=SCRIPTED[:3], loaded=(Loaded(TERN), Loaded(HERON))))
    empty = emulate(of("0.3.5", loaded=(), jit=False))

    unknown, nothing = client.ask(model="who"), empty.ask(model="who")

    assert (unknown.status_code, nothing.status_code) == (404, 404)
    assert unknown.json()["error"] == {
        "message": 'Model "who" not found. Please specify a valid model.\n\nYour models:\n\n'
        f"{TERN}\n{HERON}\ntext-embedding-wren-v1",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    assert nothing.json()["error"]["message"].startswith("No models loaded.")


class Gathering:
    """A backend that lets ``expected`` generations in before it ends any, and notes who came in together."""

    def __init__(self, expected):
        self.expected = expected
        self.complete = asyncio.Event()
        self.inside = 0
        self.most = 0
        self.order = []

    async def generate(self, prompt):
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.order.append(prompt.messages[0]["content"])
        try:
            if self.inside == self.expected:
                self.complete.set()
            await self.complete.wait()  # for ever, if fewer are let in
            await asyncio.sleep(0.01)  # for one too many to come in
            yield "ok"
            yield Finish("stop", 1, 1)
        finally:
            self.inside -= 1

    async def aclose(self):
        pass


@pytest.mark.parametrize(("profile", "at_once"), [("0.3.5", 1), ("0.3.31", 1), ("0.4.25", 4)])
def test_l04_old_releases_answer_one_request_at_a_time(emulate, profile, at_once):
    backend = Gathering(at_once)
    client = emulate(of(profile), backend)

    def ask(number):
        return client.ask(messages=[{"role": "user", "content": str(number)}]).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(ask, range(6)))

    assert statuses == [200] * 6
    assert backend.most == at_once
    assert sorted(backend.order) == list("012345")
