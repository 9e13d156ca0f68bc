"""``/v1/completions``, and what the twins under ``/api/v0`` add to an answer."""

import json
import re

import pytest

from lmroute.emulator.app import create_app
from lmroute.emulator.backends import Finish
from lmroute.emulator.catalog import SCRIPTED, Model
from lmroute.emulator.machine.clock import ManualClock
from lmroute.emulator.openai.v0 import stop_reason
from lmroute.emulator.running import in_thread
from lmroute.emulator.settings import Loaded, Settings
from lmroute.emulator.transport.sockets import bound, url_of

TERN, HERON = SCRIPTED[0].key, SCRIPTED[1].key
KESTREL = next(model for model in SCRIPTED if model.format == "mlx")
HELLO = [{"role": "user", "content": "hello there"}]
ADDED = ["stats", "model_info", "runtime"]


def chunks_of(client, path, **body):
    with client.stream("POST", path, json={"stream": True, **body}) as response:
        *lines, done, end = response.read().decode().split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def complete(client, prompt="once upon", **fields):
    return client.post("/v1/completions", json={"prompt": prompt, **fields})


def test_a_completion_is_a_text(client):
    body = complete(client, model=TERN).json()

    assert re.fullmatch(r"cmpl-[a-z0-9]{20}", body.pop("id"))
    assert isinstance(body.pop("created"), int)
    assert body == {
        "object": "text_completion",
        "model": TERN,
        "choices": [{"index": 0, "text": "You said: once upon", "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 5, "total_tokens": 7},
    }


def test_a_streamed_completion_has_the_same_text(client):
    *chunks, usage = chunks_of(client, "/v1/completions", prompt="a b", stream_options={"include_usage": True})

    choices = [chunk["choices"][0] for chunk in chunks]
    assert "".join(choice["text"] for choice in choices) == "You said: a b"
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert (usage["choices"], usage["usage"]) == ([], complete(client, "a b").json()["usage"])


@pytest.mark.parametrize(
    ("fields", "text", "finish_reason"),
    [
        ({"max_tokens": 2}, "You said", "length"),
        ({"stop": ["once"]}, "You said: ", "stop"),
        ({"prompt": ["x"]}, "You said: x", "stop"),
    ],
)
def test_a_completion_knows_limits_and_stops(client, fields, text, finish_reason):
    choice = complete(client, **{"prompt": "once upon", **fields}).json()["choices"][0]

    assert (choice["text"], choice["finish_reason"]) == (text, finish_reason)


@pytest.mark.parametrize("prompt", [None, 3, ["a", "b"], [1, 2]])
def test_a_completion_needs_one_text(client, prompt):
    reply = complete(client, prompt)

    assert (reply.status_code, reply.json()) == (400, {"error": "'prompt' field is required and must be a string"})


def test_a_completion_does_not_reason(shared):
    owl = next(model for model in SCRIPTED if model.reasoning)

    body = complete(shared(Settings(models=(owl,))), "a").json()

    assert (body["choices"][0]["text"], body["usage"]["completion_tokens"]) == ("You said: a", 4)


def test_a_completion_without_a_model_is_refused_when_several_are_loaded(shared):
    error = complete(shared(Settings(loaded=(Loaded(TERN), Loaded(HERON))))).json()["error"]

    assert (error["param"], error["code"]) == ("model", "model_not_found")
    assert error["message"].startswith("Multiple models are loaded.")


@pytest.mark.parametrize(
    ("path", "asked", "kind"),
    [
        ("/api/v0/chat/completions", {"messages": HELLO}, "chat.completion"),
        ("/api/v0/completions", {"prompt": "hello there"}, "text_completion"),
    ],
)
def test_v0_adds_stats_model_info_and_runtime(client, path, asked, kind):
    body = client.post(path, json={"model": TERN, **asked}).json()

    assert list(body) == ["id", "object", "created", "model", "choices", "usage", *ADDED]
    assert (body["object"], body["model"]) == (kind, TERN)
    assert list(body["stats"]) == ["tokens_per_second", "time_to_first_token", "generation_time", "stop_reason"]
    assert body["stats"]["stop_reason"] == "eosFound"
    assert body["model_info"] == {"arch": "llama", "quant": "Q4_K_M", "format": "gguf", "context_length": 4096}
    assert body["runtime"]["supported_formats"] == ["gguf"]


def test_v0_tells_the_window_that_the_instance_has(emulate):
    client = emulate(Settings(loaded=(), models=(KESTREL, Model("wide", context_length=777))))

    asked = {"messages": HELLO, "model": "wide"}
    assert client.post("/api/v0/chat/completions", json=asked).json()["model_info"]["context_length"] == 777
    kestrel = client.post("/api/v0/chat/completions", json={**asked, "model": KESTREL.key}).json()
    assert (kestrel["model_info"]["format"], kestrel["runtime"]["supported_formats"]) == ("mlx", ["safetensors"])


@pytest.mark.parametrize("path", ["/api/v0/chat/completions", "/api/v0/completions"])
def test_v0_streams_end_with_the_same(client, path):
    *before, last = chunks_of(client, path, messages=HELLO, prompt="a", max_tokens=1)

    assert not any(set(ADDED) & chunk.keys() for chunk in before)
    assert (last["choices"][0]["finish_reason"], last["stats"]["stop_reason"]) == (
        "length",
        "maxPredictedTokensReached",
    )


class Slow:
    """Says ten tokens: two seconds pass before it speaks and two more until it has spoken."""

    def __init__(self):
        self.clock = ManualClock()

    async def generate(self, prompt):
        await self.clock.advance(2)
        yield "ten tokens"
        await self.clock.advance(2)
        yield Finish("stop", 1, 10)

    async def aclose(self):
        pass


def test_v0_speed_is_that_of_the_generation(connect):
    backend = Slow()
    app = create_app(Settings(), backend, backend.clock)

    with bound("127.0.0.1", 0) as listener, in_thread(app, listener), connect(url_of(listener)) as client:
        stats = client.post("/api/v0/chat/completions", json={"messages": HELLO}).json()["stats"]

    assert (stats["time_to_first_token"], stats["generation_time"], stats["tokens_per_second"]) == (2, 2, 5)


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        (Finish("stop", 5, 5), "eosFound"),
        (Finish("stop", 5, 5, stop_string="x"), "stopStringFound"),
        (Finish("length", 5, 5), "contextLengthReached"),
        (Finish("length", 5, 4), "maxPredictedTokensReached"),
        (Finish("tool_calls", 5, 5), "toolCalls"),
    ],
)
def test_v0_says_why_it_stopped_in_the_words_of_the_sdk(finish, reason):
    assert stop_reason(finish, 10) == reason
