"""``/v1/messages``: Anthropic's shapes. What the official client makes of them: test_emulator_by_anthropic.py."""

import json
import re

import pytest

from lmroute.emulator.anthropic.blocks import chat_messages
from lmroute.emulator.catalog import SCRIPTED, Model
from lmroute.emulator.settings import Loaded, Settings

TERN, HERON = SCRIPTED[0].key, SCRIPTED[1].key
OWL = next(model for model in SCRIPTED if model.reasoning)
HELLO = {"role": "user", "content": "hello there"}
PING = {"name": "ping", "description": "pings", "input_schema": {"type": "object"}}
WEATHER = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"const": "Oslo"}}, "required": ["city"]},
}


def send(client, *messages, **fields):
    return client.post("/v1/messages", json={"max_tokens": 99, "messages": messages or [HELLO], **fields})


def content_of(reply):
    assert reply.status_code == 200, reply.text
    return reply.json()["content"]


def events_of(client, *messages, **fields):
    body = {"max_tokens": 99, "messages": messages or [HELLO], "stream": True, **fields}
    with client.stream("POST", "/v1/messages", json=body) as response:
        blocks = response.read().decode().split("\n\n")
    assert blocks.pop() == ""
    pairs = [block.removeprefix("event: ").split("\ndata: ") for block in blocks]
    assert all(json.loads(data)["type"] == name for name, data in pairs)
    return [json.loads(data) for _, data in pairs]


def user(*blocks):
    return {"role": "user", "content": list(blocks)}


def test_a_whole_message(client):
    body = send(client, model=TERN).json()

    assert re.fullmatch(r"msg_[a-z0-9]{24}", body.pop("id"))
    assert body == {
        "type": "message",
        "role": "assistant",
        "model": TERN,
        "content": [{"type": "text", "text": "You said: hello there"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 4, "output_tokens": 7},
    }


@pytest.mark.parametrize(
    ("fields", "text", "reason", "sequence"),
    [
        ({"max_tokens": 2}, "You said", "max_tokens", None),
        ({"stop_sequences": ["there", "hello"]}, "You said: ", "stop_sequence", "hello"),
        ({"stop_sequences": ["nowhere"]}, "You said: hello there", "end_turn", None),
    ],
)
def test_why_it_stopped(client, fields, text, reason, sequence):
    body = send(client, **fields).json()

    assert body["content"] == [{"type": "text", "text": text}]
    assert (body["stop_reason"], body["stop_sequence"]) == (reason, sequence)


def test_streamed_events_build_the_message(client):
    events = events_of(client, model=TERN)

    names = [event["type"] for event in events]
    assert [name for index, name in enumerate(names) if name not in names[:index]] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert (events[0]["message"]["content"], events[0]["message"]["stop_reason"]) == ([], None)
    assert "".join(e["delta"]["text"] for e in events if e["type"] == "content_block_delta") == "You said: hello there"
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert events[-2]["usage"] == send(client, model=TERN).json()["usage"]


def test_thinking_text_and_calls_are_blocks_of_their_own(shared):
    client = shared(Settings(models=(OWL,)))
    asked = user({"type": "text", "text": "get_weather and ping"})

    thought, *calls = content_of(send(client, asked, tools=[PING, WEATHER]))
    events = events_of(client, asked, tools=[PING, WEATHER])

    assert thought == {"type": "thinking", "thinking": "I am asked: get_weather and ping", "signature": ""}
    assert [(call["name"], call["input"]) for call in calls] == [("ping", {}), ("get_weather", {"city": "Oslo"})]
    starts = [(e["index"], e["content_block"]["type"]) for e in events if e["type"] == "content_block_start"]
    assert starts == [(0, "thinking"), (1, "tool_use"), (2, "tool_use")]
    assert [e["index"] for e in events if e["type"] == "content_block_stop"] == [0, 1, 2]
    partial = [e["delta"]["partial_json"] for e in events if e.get("delta", {}).get("type") == "input_json_delta"]
    assert [json.loads(part) for part in partial] == [{}, {"city": "Oslo"}]
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


def test_thinking_can_be_disabled(shared):
    client = shared(Settings(models=(OWL,)))

    assert [block["type"] for block in content_of(send(client, thinking={"type": "disabled"}))] == ["text"]
    enabled = {"type": "enabled", "budget_tokens": 1024}
    assert [block["type"] for block in content_of(send(client, thinking=enabled))] == ["thinking", "text"]


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ({"type": "any"}, ["ping"]),
        ({"type": "tool", "name": "get_weather"}, ["get_weather"]),
        ({"type": "auto"}, []),
        ({"type": "none"}, []),
        (None, []),
    ],
)
def test_how_tools_are_chosen(client, choice, called):
    blocks = content_of(send(client, tools=[PING, WEATHER], tool_choice=choice))

    assert [block["name"] for block in blocks if block["type"] == "tool_use"] == called


def test_what_a_tool_said_is_answered(client):
    call = {"type": "tool_use", "id": "toolu_1", "name": "ping", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "pong"}]}
    asked = {"role": "user", "content": "please ping"}
    called = {"role": "assistant", "content": [{"type": "text", "text": "I will."}, call]}

    [block] = content_of(send(client, asked, called, user(result), tools=[PING]))
    [again] = content_of(send(client, asked, called, user(result, {"type": "text", "text": "ping"}), tools=[PING]))

    assert block == {"type": "text", "text": "You said: please ping"}
    assert again["type"] == "tool_use"


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ({"type": "base64", "media_type": "image/png", "data": "AA"}, "data:image/png;base64,AA"),
        ({"type": "url", "url": "http://127.0.0.1/a.png"}, "http://127.0.0.1/a.png"),
    ],
)
def test_images_are_those_of_a_chat(source, url):
    body = {"messages": [user({"type": "image", "source": source}, {"type": "text", "text": "what is it?"})]}

    [message] = chat_messages(body)

    shown = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "what is it?"}]
    assert message == {"role": "user", "content": shown}


def test_system_and_results_take_room(client):
    bare = send(client).json()["usage"]["input_tokens"]

    for system in ("Be brief.", [{"type": "text", "text": "Be brief."}]):
        assert send(client, system=system).json()["usage"]["input_tokens"] == bare + 4


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"max_tokens": 9}, "messages"),
        ({"max_tokens": 9, "messages": []}, "messages"),
        ({"messages": [HELLO]}, "max_tokens"),
        ({"max_tokens": 0, "messages": [HELLO]}, "max_tokens"),
        ({"max_tokens": 9, "messages": [HELLO], "tools": [{"name": "bash"}]}, "tools.0.input_schema"),
        ({"max_tokens": 9, "messages": [HELLO], "tool_choice": "any"}, "tool_choice.type"),
    ],
)
def test_a_malformed_request_is_refused_in_anthropics_form(client, body, field):
    reply = client.post("/v1/messages", json=body)

    assert reply.status_code == 400
    assert reply.json().keys() == {"type", "error"}
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert reply.json()["error"]["message"].startswith(field)


def test_an_unknown_model_is_refused_in_anthropics_form(shared):
    reply = send(shared(Settings(loaded=(Loaded(TERN), Loaded(HERON)))), model="who")

    assert (reply.status_code, reply.json()["type"]) == (400, "error")
    assert 'Invalid model identifier "who"' in reply.json()["error"]["message"]


def test_a_prompt_that_does_not_fit_is_refused_in_anthropics_form(shared):
    client = shared(Settings(models=(Model("tiny", context_length=3),)))

    whole = send(client)
    [event] = events_of(client)

    assert (whole.status_code, whole.json()["error"]["type"]) == (400, "invalid_request_error")
    assert (event["type"], event["error"]["type"]) == ("error", "api_error")
    assert event["error"]["message"].startswith("Input does not fit in context length.")


def test_there_is_no_count_tokens(client):
    reply = client.post("/v1/messages/count_tokens?beta=true", json={"messages": [HELLO]})

    assert (reply.status_code, reply.json()) == (
        200,
        {"error": "Unexpected endpoint or method. (POST /v1/messages/count_tokens)"},
    )
