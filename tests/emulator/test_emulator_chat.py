"""L05 and L06: chat answers, whole and streamed."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._streaming import SSEDecoder

from lmroute.emulator.backends import Finish, ModelCrashed
from lmroute.emulator.catalog import SCRIPTED, Model
from lmroute.emulator.settings import Settings
from lmroute.emulator.transport.wire import pieces, sse

TERN = SCRIPTED[0].key
TINY = (Model("tiny", context_length=12),)


def events_of(raw):
    """The data of every event of a stream, read without any help of an SSE library."""
    blocks = raw.decode().split("\n\n")
    assert blocks.pop() == ""
    assert all(block.startswith("data: ") for block in blocks)
    return [block.removeprefix("data: ") for block in blocks]


def chunks_of(raw):
    *chunks, done = events_of(raw)
    assert done == "[DONE]"
    return list(map(json.loads, chunks))


def test_l05_an_answer_has_the_shape_of_the_contract(client):
    reply = client.ask(model=TERN)
    body = reply.json()

    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert list(body) == [
        *("id", "object", "created", "model", "choices", "usage", "stats", "system_fingerprint"),
    ]
    assert re.fullmatch(r"chatcmpl-[a-z0-9]{20}", body["id"])
    assert isinstance(body["created"], int)
    assert (body["object"], body["model"], body["system_fingerprint"]) == ("chat.completion", TERN, TERN)
    assert body["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "You said: hello there",
                "reasoning_content": "",
                "tool_calls": [],
            },
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert body["stats"] == {}
    assert body["usage"] == {
        "prompt_tokens": 4,
        "completion_tokens": 7,
        "total_tokens": 11,
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def test_l05_two_answers_have_two_ids(client):
    assert client.ask().json()["id"] != client.ask().json()["id"]


def test_l05_unknown_fields_are_ignored(client):
    assert client.ask(model=TERN, nonsense=1, chat_template_kwargs={"x": 1}).status_code == 200


def test_l06_a_stream_has_the_shape_of_the_contract(client):
    status, headers, raw = client.stream_bytes(model=TERN)
    chunks = chunks_of(raw)

    assert (status, headers["content-type"], headers["cache-control"]) == (200, "text/event-stream", "no-cache")
    head = {name: chunks[0][name] for name in ("id", "object", "created", "model", "system_fingerprint")}
    assert head | {"object": "chat.completion.chunk", "model": TERN, "system_fingerprint": TERN} == head
    choices = [chunk.pop("choices") for chunk in chunks]
    assert all(chunk == head for chunk in chunks)
    deltas = [choice["delta"] for [choice] in choices]
    assert deltas[0] == {"role": "assistant", "content": "You"}
    assert all(list(delta) == ["content"] for delta in deltas[1:-1])
    assert "".join(delta.get("content", "") for delta in deltas) == "You said: hello there"
    assert deltas[-2:] == [{"content": ""}, {}]
    assert [choice["finish_reason"] for [choice] in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert all((choice["index"], choice["logprobs"]) == (0, None) for [choice] in choices)


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, "nonsense"])
def test_l06_usage_is_sent_only_when_asked_for(client, options):
    chunks = chunks_of(client.stream_bytes(stream_options=options)[2])

    assert not any("usage" in chunk for chunk in chunks)


def test_l06_usage_is_a_chunk_without_choices(client):
    last = chunks_of(client.stream_bytes(stream_options={"include_usage": True})[2])[-1]

    assert last["choices"] == []
    assert last["usage"] == client.ask().json()["usage"]


def test_l06_an_empty_answer_still_names_its_role(client):
    first, last = chunks_of(client.stream_bytes(max_tokens=0)[2])

    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert last["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("size", [1, 7])
def test_l06_splits_change_no_byte(shared, size):
    asked = {"messages": [{"role": "user", "content": "naïve 日本 \U0001f986"}]}
    client = shared(Settings(split=size))

    with client.stream("POST", "/v1/chat/completions", json={**asked, "stream": True}) as response:
        parts = list(response.iter_raw())

    assert max(map(len, parts)) == size
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks_of(b"".join(parts)))
    assert text == client.ask(**asked).json()["choices"][0]["message"]["content"]


@given(st.lists(st.text(min_size=1)), st.none() | st.integers(1, 40))
def test_l06_whatever_the_split_a_client_reads_the_same_texts(texts, size):
    raw = b"".join(sse({"text": text}) for text in texts)
    sent = [piece for text in texts for piece in pieces(sse({"text": text}), size)]

    read = [json.loads(event.data)["text"] for event in SSEDecoder().iter_bytes(iter(sent))]

    assert read == texts
    assert b"".join(sent) == raw
    assert all(len(piece) <= (size or len(piece)) for piece in sent)


@pytest.mark.parametrize(
    ("fields", "content", "finish_reason"),
    [
        ({"max_tokens": 3}, "You said:", "length"),
        ({"max_completion_tokens": 2}, "You said", "length"),
        ({"max_tokens": -1}, "You said: hello there", "stop"),
        ({"max_tokens": 7}, "You said: hello there", "stop"),
        ({"stop": "hello"}, "You said: ", "stop"),
        ({"stop": ["there", "said"]}, "You ", "stop"),
        ({"stop": ""}, "You said: hello there", "stop"),
    ],
)
def test_limits_and_stops_end_an_answer(client, fields, content, finish_reason):
    choice = client.ask(**fields).json()["choices"][0]

    assert (choice["message"]["content"], choice["finish_reason"]) == (content, finish_reason)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"model": "x"}', "'messages' field is required"),
        (b'{"messages": "hi"}', "'messages' field is required"),
        (b'{"messages": ["hi"]}', "'messages' must be an array of objects"),
        (b'{"messages": [], "max_tokens": "many"}', "'max_tokens' must be an integer"),
        (b"[]", "The request body must be a JSON object"),
        (b"{", "The request body must be a JSON object"),
        (b"\xff", "The request body must be a JSON object"),
        (b"", "The request body must be a JSON object"),
    ],
)
def test_a_malformed_request_is_refused_in_one_line(client, body, error):
    reply = client.post("/v1/chat/completions", content=body)

    assert (reply.status_code, reply.json()) == (400, {"error": error})


def test_a_prompt_that_does_not_fit_is_refused_before_an_answer_or_inside_a_stream(shared):
    client = shared(Settings(models=TINY))
    asked = {"messages": [{"role": "user", "content": "one two three four " * 5}]}

    whole = client.ask(**asked)
    status, _, raw = client.stream_bytes(**asked)

    assert whole.status_code == 400
    assert whole.json()["error"].startswith("The number of tokens to keep from the initial prompt is greater")
    message = (
        "Input does not fit in context length. The input has 26 tokens, but the context length only supports 12 tokens."
    )
    assert status == 200
    event, data, *rest = raw.decode().split("\n")
    assert (event, rest) == ("event: error", ["", ""])
    assert json.loads(data.removeprefix("data: ")) == {"error": {"message": message}, "message": message}


def test_an_answer_ends_where_the_window_ends(emulate):
    choice = emulate(Settings(models=TINY)).ask(messages=[{"role": "user", "content": "a b c d e f g"}])

    usage = choice.json()["usage"]
    assert (usage["total_tokens"], choice.json()["choices"][0]["finish_reason"]) == (12, "length")


class Dying(ModelCrashed):
    """A backend that says ``words`` and then loses its model."""

    def __init__(self, *words):
        self.words = words

    async def generate(self, prompt):
        for word in self.words:
            yield word
        raise ModelCrashed("gone")
        yield Finish("stop", 0, 0)

    async def aclose(self):
        pass


CRASH = "The model has crashed without additional information. (Exit code: null)"


def test_a_model_that_dies_first_is_a_400(emulate):
    client = emulate(backend=Dying())

    assert client.ask().json() == {"error": CRASH}
    assert client.stream_bytes()[0] == client.ask().status_code == 400


def test_a_model_that_dies_later_ends_the_stream_with_an_error_event(emulate):
    client = emulate(backend=Dying("so", " far"))

    status, _, raw = client.stream_bytes()

    *before, last, end = raw.decode().split("\n\n")
    assert (status, len(before), end) == (200, 2, "")
    assert last.splitlines()[0] == "event: error"
    assert json.loads(last.splitlines()[1].removeprefix("data: "))["error"] == {"message": CRASH}
    assert client.ask().json() == {"error": CRASH}


def test_a_bug_of_the_server_is_an_html_page(emulate):
    class Broken(Dying):
        async def generate(self, prompt):
            raise ZeroDivisionError
            yield

    reply = emulate(backend=Broken()).ask()

    assert (reply.status_code, reply.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert "<pre>Internal Server Error</pre>" in reply.text
