"""L07 and L09: tool calls, and the tools that LM Studio does not take."""

import json
import re

import pytest

from lmroute.emulator.backends import Finish, ToolCall
from lmroute.emulator.backends.script import Line
from lmroute.emulator.catalog import SCRIPTED
from lmroute.emulator.settings import Settings
from lmroute.emulator.versions import PROFILES

TERN = SCRIPTED[0].key
CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 4}}, "required": ["city"]}
NOW = {"type": "object", "properties": {}}


def tool(name, parameters=None):
    function = {"name": name} if parameters is None else {"name": name, "parameters": parameters}
    return {"type": "function", "function": function}


TOOLS = [tool("get_weather", CITY), tool("get_time", NOW)]


def user(text):
    return {"role": "user", "content": text}


def deltas_of(raw):
    chunks = [json.loads(line[6:]) for line in raw.decode().split("\n\n") if line[6:7] == "{"]
    return [(chunk["choices"][0]["delta"], chunk["choices"][0]["finish_reason"]) for chunk in chunks]


def message_of(reply):
    assert reply.status_code == 200, reply.text
    [choice] = reply.json()["choices"]
    return choice["message"], choice["finish_reason"]


def test_l07_a_whole_tool_call_has_nine_digits_and_no_index(client):
    message, finish_reason = message_of(client.ask(messages=[user("ask get_weather")], tools=TOOLS))

    [call] = message["tool_calls"]
    assert (message["content"], finish_reason) == ("", "tool_calls")
    assert list(call) == ["type", "id", "function"]
    assert re.fullmatch(r"\d{9}", call["id"])
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "city"}


def test_l07_a_streamed_tool_call_comes_in_two_fragments(client):
    status, _, raw = client.stream_bytes(messages=[user("ask get_weather")], tools=TOOLS)

    (first, _), (second, _), end = deltas_of(raw)
    [head], [body] = first.pop("tool_calls"), second.pop("tool_calls")
    assert re.fullmatch(r"\d{9}", head.pop("id"))
    assert (status, first, second) == (200, {"role": "assistant"}, {})
    assert head == {"index": 0, "type": "function", "function": {"name": "get_weather", "arguments": ""}}
    assert body == {"index": 0, "type": "function", "function": {"arguments": '{"city": "city"}'}}
    assert end == ({}, "tool_calls")


def test_l07_parallel_calls_come_one_after_the_other_with_ids_of_their_own(client):
    asked = {"messages": [user("get_time, then get_weather")], "tools": TOOLS}

    whole, _ = message_of(client.ask(**asked))
    *deltas, _end = deltas_of(client.stream_bytes(**asked)[2])

    fragments = [delta["tool_calls"][0] for delta, _ in deltas]
    assert [call["function"]["name"] for call in whole["tool_calls"]] == ["get_weather", "get_time"]
    assert [fragment["index"] for fragment in fragments] == [0, 0, 1, 1]
    assert [fragment["function"].get("name") for fragment in fragments] == ["get_weather", None, "get_time", None]
    assert len({call["id"] for call in whole["tool_calls"]}) == 2


@pytest.mark.parametrize(
    ("choice", "text", "called"),
    [
        ("auto", "hello there", []),
        ("auto", "what does Get_Time say?", ["get_time"]),
        ("auto", "forget_time and get_timer", []),
        ("none", "ask get_weather", []),
        ("required", "hello there", ["get_weather"]),
        ("required", "ask get_time", ["get_time"]),
        (None, "ask get_time", ["get_time"]),
    ],
)
def test_which_tools_are_called_is_told_by_the_last_question(client, choice, text, called):
    message, finish_reason = message_of(client.ask(messages=[user(text)], tools=TOOLS, tool_choice=choice))

    assert [call["function"]["name"] for call in message["tool_calls"]] == called
    assert finish_reason == ("tool_calls" if called else "stop")
    assert bool(message["content"]) is not bool(called)


@pytest.mark.parametrize("content", ["", None])
def test_l07_what_a_tool_said_is_answered(client, content):
    call = {"type": "function", "id": "call_of-any-shape", "function": {"name": "get_time", "arguments": "{}"}}
    history = [
        user("ask get_time"),
        {"role": "assistant", "content": content, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_of-any-shape", "content": "noon"},
    ]

    message, finish_reason = message_of(client.ask(messages=history, tools=TOOLS))
    again, _ = message_of(client.ask(messages=[*history, user("get_time again")], tools=TOOLS))

    assert (message["tool_calls"], finish_reason) == ([], "stop")
    assert message["content"] == "You said: ask get_time"
    assert again["tool_calls"]


def test_tools_take_room_in_the_prompt_and_calls_in_the_answer(client):
    bare = client.ask().json()["usage"]
    with_tools = client.ask(tools=TOOLS).json()["usage"]
    called = client.ask(tools=TOOLS, tool_choice="required").json()["usage"]

    assert with_tools["prompt_tokens"] > bare["prompt_tokens"]
    assert called["completion_tokens"] > 0


def test_a_call_that_does_not_fit_is_not_made(client):
    message, finish_reason = message_of(client.ask(tools=TOOLS, tool_choice="required", max_tokens=2))

    assert (message["tool_calls"], finish_reason) == ([], "length")


def test_arguments_beyond_the_scripted_model_are_refused_with_a_way_out(client):
    odd = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^a"}}, "required": ["x"]}

    reply = client.ask(tools=[tool("odd", odd)], tool_choice="required")

    assert reply.status_code == 400
    assert "tool 'odd'" in reply.json()["error"]
    assert "--script" in reply.json()["error"]


def test_a_tool_without_parameters_is_called_with_none(client):
    message, _ = message_of(client.ask(tools=[tool("ping")], tool_choice="required"))

    assert message["tool_calls"][0]["function"] == {"name": "ping", "arguments": "{}"}


def test_a_backend_may_speak_and_then_call(emulate):
    class Both:
        async def generate(self, prompt):
            yield "Let me see."
            yield ToolCall("get_time", '{"zone"', id="123456789")
            yield Finish("tool_calls", 1, 2)

        async def aclose(self):
            pass

    client = emulate(backend=Both())
    message, _ = message_of(client.ask())
    deltas = deltas_of(client.stream_bytes()[2])

    assert message["content"] == "Let me see."
    assert message["tool_calls"][0]["function"]["arguments"] == '{"zone"'
    assert deltas[0][0] == {"role": "assistant", "content": "Let me see."}
    assert "role" not in deltas[1][0]


OBJECT_CHOICE = "Invalid tool_choice type: 'object'. Supported string values: none, auto, required"


@pytest.mark.parametrize("choice", [{"type": "function", "function": {"name": "get_time"}}, {"type": "auto"}])
def test_l09_a_tool_choice_that_is_an_object_is_refused(client, choice):
    reply = client.ask(tools=TOOLS, tool_choice=choice)

    assert (reply.status_code, reply.json()) == (400, {"error": OBJECT_CHOICE})


def test_l09_an_unknown_tool_choice_is_refused(client):
    assert "'any'" in client.ask(tools=TOOLS, tool_choice="any").json()["error"]


@pytest.mark.parametrize("parameters", [{}, {"properties": {}}, {"type": "string"}, None])
def test_l09_parameters_without_the_type_object_get_the_validators_list(client, parameters):
    bad = {"type": "function", "function": {"name": "bad", "parameters": parameters}}

    reply = client.ask(tools=[TOOLS[0], bad])

    assert reply.status_code == 400
    assert json.loads(reply.json()["error"]) == [
        {
            "code": "invalid_union_discriminator",
            "options": ["object"],
            "path": [1, "function", "parameters", "type"],
            "message": "Invalid discriminator value. Expected 'object'",
        }
    ]


@pytest.mark.parametrize(
    ("bad", "path"),
    [
        (tool("bare", {"type": "object"}), [0, "function", "parameters", "properties"]),
        ({"type": "function"}, [0, "function"]),
        ("get_time", [0, "function"]),
        ({"type": "function", "function": {}}, [0, "function", "name"]),
    ],
)
def test_l09_what_else_a_tool_lacks_is_in_the_list_too(client, bad, path):
    [issue] = json.loads(client.ask(tools=[bad]).json()["error"])

    assert (issue["path"], issue["message"]) == (path, "Required")


def test_l04_the_oldest_release_takes_tools_for_an_unknown_field(shared):
    client = shared(Settings(version=PROFILES["0.3.5"]))

    reply = client.ask(messages=[user("ask get_time")], tools=TOOLS, tool_choice={"type": "auto"})

    assert message_of(reply)[0] == {"role": "assistant", "content": "You said: ask get_time"}


def test_l04_later_old_releases_have_tool_calls_only_when_there_are_some(shared):
    client = shared(Settings(version=PROFILES["0.3.31"]))

    assert "tool_calls" not in message_of(client.ask(tools=TOOLS))[0]
    assert len(message_of(client.ask(tools=TOOLS, tool_choice="required"))[0]["tool_calls"]) == 1


def test_a_scripted_call_is_made_first_and_its_reply_follows_the_result(shared):
    line = Line(re.compile("oslo"), "Cold.", tools=(("get_weather", '{"city": "Oslo"}'),))
    client = shared(Settings(script=(line,)))
    result = {"role": "tool", "tool_call_id": "1", "content": "-3"}

    call, _ = message_of(client.ask(messages=[user("oslo?")], tools=TOOLS))
    answer, _ = message_of(client.ask(messages=[user("oslo?"), result], tools=TOOLS))
    without, _ = message_of(client.ask(messages=[user("oslo?")]))

    assert [c["function"] for c in call["tool_calls"]] == [{"name": "get_weather", "arguments": '{"city": "Oslo"}'}]
    assert answer["content"] == without["content"] == "Cold."


def test_a_scripted_reply_without_calls_is_a_reply_whatever_tools_it_names(shared):
    client = shared(Settings(script=(Line(re.compile("get_time"), "No."),)))

    assert message_of(client.ask(messages=[user("get_time")], tools=TOOLS))[0]["content"] == "No."
