"""L20: ``/v1/responses``."""

import json
import re

import pytest
from openai import OpenAI

from lmroute.emulator.backends import texts
from lmroute.emulator.backends.script import Line
from lmroute.emulator.catalog import SCRIPTED, Model
from lmroute.emulator.openai.response_items import chat_messages
from lmroute.emulator.settings import Loaded, Settings

TERN, HERON = SCRIPTED[0].key, SCRIPTED[1].key
OWL = next(model for model in SCRIPTED if model.reasoning)
SCHEMA = {"type": "object", "properties": {"label": {"const": "yes"}}, "required": ["label"]}
PING = {"type": "function", "name": "ping", "parameters": {"type": "object", "properties": {}}}
FIELDS = (
    *("id", "object", "created_at", "completed_at", "status", "incomplete_details", "model", "previous_response_id"),
    *("instructions", "output", "error", "tools", "tool_choice", "truncation", "parallel_tool_calls", "text", "top_p"),
    *("presence_penalty", "frequency_penalty", "top_logprobs", "temperature", "reasoning", "usage"),
    *("max_output_tokens", "max_tool_calls", "store", "background", "service_tier", "metadata", "safety_identifier"),
    "prompt_cache_key",
)


def respond(client, value="hello there", **fields):
    return client.post("/v1/responses", json={"input": value, **fields})


def texts_of(reply):
    assert reply.status_code == 200, reply.text
    return [part["text"] for item in reply.json()["output"] for part in item["content"]]


def events_of(client, **fields):
    with client.stream("POST", "/v1/responses", json={"input": "hello there", "stream": True, **fields}) as response:
        blocks = response.read().decode().split("\n\n")
    assert blocks.pop() == ""
    pairs = [block.removeprefix("event: ").split("\ndata: ") for block in blocks]
    assert all(json.loads(data)["type"] == name for name, data in pairs)
    return [json.loads(data) for _, data in pairs]


def test_l20_the_shape_of_the_contract(client):
    body = respond(client, model=TERN).json()

    assert tuple(body) == FIELDS
    assert re.fullmatch(r"resp_[0-9a-f]{48}", body["id"])
    [item] = body["output"]
    assert re.fullmatch(r"msg_[a-z0-9]{22}", item.pop("id"))
    assert item == {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "You said: hello there", "annotations": [], "logprobs": []}],
    }
    odd = {name: body[name] for name in ("top_p", "frequency_penalty", "presence_penalty", "temperature")}
    assert odd == {"top_p": False, "frequency_penalty": 1.1, "presence_penalty": 0, "temperature": 0.8}
    assert (body["status"], body["model"], body["text"]) == ("completed", TERN, {"format": {"type": "text"}})
    assert body["usage"] == {
        "input_tokens": 4,
        "output_tokens": 7,
        "total_tokens": 11,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"text": {"format": {"type": "json_schema", "name": "verdict", "schema": SCHEMA}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "verdict", "schema": SCHEMA}}},
        {"response_format": {"type": "json_object"}},
    ],
)
def test_l20_schemas_are_ignored(client, fields):
    assert texts_of(respond(client, model=TERN, **fields)) == ["You said: hello there"]


@pytest.mark.parametrize("value", [{}, {"format": None}])
def test_l20_a_text_without_a_format_is_refused(client, value):
    reply = respond(client, text=value)

    assert (reply.status_code, reply.json()) == (
        400,
        {
            "error": {
                "message": "Required",
                "type": "invalid_request_error",
                "param": "text.format",
                "code": "missing_required_parameter",
            }
        },
    )


def test_l20_an_unknown_model_is_answered_by_the_only_one(emulate):
    assert respond(emulate(), model="who").json()["model"] == TERN


def test_l20_with_several_loaded_an_unknown_model_is_refused(shared):
    reply = respond(shared(Settings(loaded=(Loaded(TERN), Loaded(HERON)))), model="who")

    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "model_not_found")


def test_l20_ttl_is_ignored(emulate):
    client = emulate(Settings(clock="manual"))
    assert respond(client, model=HERON, ttl=5).status_code == 200

    [heron] = [m for m in client.get("/api/v1/models").json()["models"] if m["key"] == HERON]

    assert heron["loaded_instances"][0]["remaining_ttl_seconds"] == 3600


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([{"role": "user", "content": "a bird"}], "a bird"),
        ([{"role": "user", "content": [{"type": "input_text", "text": "a bird"}]}], "a bird"),
        ([{"type": "message", "role": "user", "content": "one"}, {"role": "assistant", "content": "no"}], "one"),
        ([{"role": "developer", "content": "no"}, {"role": "user", "content": "yes"}], "yes"),
    ],
)
def test_items_are_messages(client, value, text):
    assert texts_of(respond(client, value)) == [f"You said: {text}"]


def test_a_developer_is_the_system_and_an_image_an_image():
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA"}
    items = [{"role": "developer", "content": "be kind"}, {"role": "user", "content": [image]}]

    assert chat_messages(items) == (
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]},
    )


@pytest.mark.parametrize("value", [None, 3, ["text"], [{"type": "teapot"}]])
def test_no_input_is_refused(client, value):
    reply = respond(client, value)

    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")


def test_a_stored_response_can_be_continued(client):
    first = respond(client, "one two three").json()
    second = respond(client, "and now?", previous_response_id=first["id"]).json()

    said = ["one two three", "You said: one two three", "and now?"]
    assert second["previous_response_id"] == first["id"]
    assert second["usage"]["input_tokens"] == sum(len(texts.tokens_of(text)) for text in said)
    assert respond(client, "x", previous_response_id=second["id"]).status_code == 200


def test_what_was_not_stored_cannot_be_continued(client):
    forgotten = respond(client, store=False).json()

    for response_id in (forgotten["id"], "resp_0", 3):
        reply = respond(client, previous_response_id=response_id)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "previous_response_id")


def test_l20_streamed_events_build_the_whole_answer(client):
    events = events_of(client, model=TERN)

    names = [event["type"] for event in events]
    assert [name for index, name in enumerate(names) if name not in names[:index]] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert "".join(event.get("delta", "") for event in events) == "You said: hello there"
    last = events[-1]["response"]
    assert (events[0]["response"]["id"], events[0]["response"]["output"]) == (last["id"], [])
    assert texts_of(respond(client, model=TERN)) == [last["output"][0]["content"][0]["text"]]
    assert last["usage"] == respond(client, model=TERN).json()["usage"]


def test_an_answer_that_was_cut_is_incomplete(client):
    body = respond(client, max_output_tokens=2).json()

    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert body["output"][0]["content"][0]["text"] == "You said"
    assert events_of(client, max_output_tokens=2)[-1]["type"] == "response.incomplete"


def test_tools_are_called_and_their_results_answered(client):
    first = respond(client, "please ping", tools=[PING]).json()

    [call] = first["output"]
    assert (call["type"], call["name"], call["arguments"], call["status"]) == (
        *("function_call", "ping", "{}", "completed"),
    )
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "pong"}
    by_id = respond(client, [result], previous_response_id=first["id"], tools=[PING])
    by_items = respond(client, [{"role": "user", "content": "please ping"}, call, result], tools=[PING])
    assert texts_of(by_id) == texts_of(by_items) == ["You said: please ping"]


def test_streamed_calls_build_the_same_item(client):
    events = events_of(client, input="please ping", tools=[PING])

    names = [event["type"].removeprefix("response.") for event in events[2:-1]]
    assert names == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]
    assert events[-1]["response"]["output"] == [events[-2]["item"]]
    assert (events[2]["item"]["arguments"], events[-2]["item"]["arguments"]) == ("", "{}")


@pytest.mark.parametrize("tool", [{"type": "mcp"}, {"type": "web_search"}])
def test_tools_that_are_no_functions_are_refused_by_name(client, tool):
    assert tool["type"] in respond(client, tools=[tool]).json()["error"]["message"]


def test_an_effort_is_checked_and_reasoning_is_an_item(shared):
    client = shared(Settings(models=(OWL,)))

    thought, said = respond(client).json()["output"]
    [alone] = respond(client, reasoning={"effort": "none"}).json()["output"]
    refused = respond(client, reasoning={"effort": "off"}).json()["error"]

    assert (thought["type"], said["type"], alone["type"]) == ("reasoning", "message", "message")
    assert thought["content"] == [{"type": "reasoning_text", "text": "I am asked: hello there"}]
    assert (refused["param"], refused["code"]) == ("reasoning.effort", "invalid_value")


def test_a_prompt_that_does_not_fit_ends_the_stream(shared):
    events = events_of(shared(Settings(models=(Model("tiny", context_length=3),))))

    [event] = events
    assert (event["type"], event["message"][:20]) == ("error", "Input does not fit i")


def test_instructions_are_heard_and_not_kept(shared):
    client = shared(Settings(script=(Line(re.compile("^hello"), "Hi."),)))

    first = respond(client, instructions="Be brief.").json()
    second = respond(client, "more", previous_response_id=first["id"]).json()

    assert first["instructions"] == "Be brief."
    assert first["usage"]["input_tokens"] > respond(client).json()["usage"]["input_tokens"]
    assert (second["instructions"], second["usage"]["input_tokens"]) == (None, 7)


def test_the_official_client_reads_every_event(shared):
    with (
        OpenAI(
            base_url=f"{shared(Settings(models=(OWL,))).base_url}/v1", api_key="any", max_retries=0, timeout=20
        ) as openai,
        openai.responses.stream(model=OWL.key, input="please ping", tools=[PING]) as stream,
    ):
        final = stream.get_final_response()

    assert [item.type for item in final.output] == ["reasoning", "function_call"]
