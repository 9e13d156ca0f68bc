"""L05 to L10: chat answers, whole and streamed, with tools, schemas and reasoning."""

import json

import pytest

from lmroute.providers import contract

from .endpoint import TOOL, said

pytestmark = pytest.mark.needs("generate")
SCORE = {
    "type": "object",
    "properties": {"score": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["score"],
    "additionalProperties": False,
}
CALL_TWO = [{"role": "user", "content": "Call tide_at for Husum and moon_on for today, both."}]
MOON = {"type": "function", "function": {"name": "moon_on", "parameters": {"type": "object", "properties": {}}}}


def as_schema(schema):
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def message_of(reply):
    assert reply.status_code == 200, reply.text
    assert contract.problems("chat_completion", reply.json()) == []
    return reply.json()["choices"][0]["message"]


def test_l05_an_answer_keeps_to_its_shape(server, seen):
    reply = server.ask()
    message = message_of(reply)
    body = reply.json()
    usage = body["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]
    assert body["model"] == body.get("system_fingerprint", body["model"])
    assert body["choices"][0]["finish_reason"] in {"stop", "length"}
    assert body.get("stats", {}) == {}
    always = [name for name in ("reasoning_content", "tool_calls") if name in message]
    seen(f"beside the content: {', '.join(always) or 'nothing'}")
    if not server.live and server.at_least("v1"):
        assert (message["tool_calls"], message["reasoning_content"]) == ([], "")


def test_l05_unknown_fields_are_ignored(server):
    message_of(server.ask(nonsense={"a": 1}, chat_template_kwargs={"enable_thinking": False}))


def test_l05_messages_are_needed(server, seen):
    reply = server.post("/v1/chat/completions", {"model": server.chat_model})
    assert "'messages'" in said(reply.json())
    seen(f"no messages: status {reply.status_code}")


def test_l05_a_limit_ends_an_answer(server):
    reply = server.ask(max_tokens=1)
    message_of(reply)
    assert reply.json()["choices"][0]["finish_reason"] == "length"


def test_l06_a_stream_keeps_to_its_shape(server):
    stream = server.ask_stream()
    chunks = stream.chunks
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert [line for chunk in chunks for line in contract.problems("chat_chunk", chunk)] == []
    assert len({(chunk["id"], chunk["model"]) for chunk in chunks}) == 1
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert choices[0]["delta"]["role"] == "assistant"
    assert [choice["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)
    assert choices[-1]["delta"] == {}
    assert choices[-1]["finish_reason"] in {"stop", "length"}
    assert not any("usage" in chunk for chunk in chunks)


def test_l06_usage_comes_last_and_only_when_asked_for(server, seen):
    *_, last = server.ask_stream(stream_options={"include_usage": True}).chunks
    if "usage" not in last:
        assert not server.at_least("v0"), "0.3.18 and later send it"
        seen("no usage in streams")
        return
    assert (last["choices"], last["usage"]["total_tokens"] > 0) == ([], True)


@pytest.mark.needs("fault")
@pytest.mark.stage("split")
def test_l06_whatever_the_network_splits_the_events_are_the_same(server):
    asked = {"messages": [{"role": "user", "content": "naïve 日本"}], "temperature": 0}
    streamed = [
        choice["delta"].get("content", "") for c in server.ask_stream(**asked).chunks for choice in c["choices"]
    ]
    assert "".join(streamed) == message_of(server.ask(**asked))["content"]


@pytest.mark.level("v0")
def test_l07_a_tool_call_comes_whole(server, seen):
    reply = server.ask(tools=[TOOL], tool_choice="required", max_tokens=512)
    calls = message_of(reply)["tool_calls"]
    assert calls, "tool_choice: required gave no call"
    assert {call["function"]["name"] for call in calls} == {"tide_at"}
    assert "port" in json.loads(calls[0]["function"]["arguments"])
    assert reply.json()["choices"][0]["finish_reason"] == "tool_calls"
    seen(f"ids of calls: {'nine digits' if calls[0]['id'].isdigit() and len(calls[0]['id']) == 9 else 'others'}")


@pytest.mark.level("v0")
def test_l07_a_tool_call_comes_in_pieces(server, seen):
    chunks = server.ask_stream(tools=[TOOL], tool_choice="required", max_tokens=512).chunks
    assert [line for chunk in chunks for line in contract.problems("chat_chunk", chunk)] == []
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    pieces = [piece for choice in choices for piece in choice["delta"].get("tool_calls", ())]
    first = [piece for piece in pieces if piece["index"] == 0]
    assert first[0]["id"]
    assert first[0]["function"]["name"] == "tide_at"
    assert all("id" not in piece for piece in first[1:])
    assert "port" in json.loads("".join(piece["function"].get("arguments", "") for piece in first))
    assert choices[-1]["finish_reason"] == "tool_calls"
    seen(f"a call in {len(first)} pieces")


@pytest.mark.level("v0")
def test_l07_several_calls_come_one_after_the_other(server):
    chunks = server.ask_stream(messages=CALL_TWO, tools=[TOOL, MOON], tool_choice="required", max_tokens=512).chunks
    order = [p["index"] for c in chunks for choice in c["choices"] for p in choice["delta"].get("tool_calls", ())]
    if max(order) == 0:
        if not server.live:
            pytest.fail("one call where two were asked for")
        pytest.skip("the model made one call only")
    assert order == sorted(order)


@pytest.mark.level("v0")
def test_l07_a_history_of_calls_is_taken(server):
    call = {"id": "any-id-at-all", "type": "function", "function": {"name": "tide_at", "arguments": '{"port":"Husum"}'}}
    for content in ("", None):
        history = [
            *CALL_TWO,
            {"role": "assistant", "content": content, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "any-id-at-all", "content": "14:20"},
        ]
        message_of(server.ask(messages=history, tools=[TOOL]))


def test_l08_a_schema_is_honoured(server, seen):
    message = message_of(server.ask(response_format=as_schema(SCORE), max_tokens=512))
    text = message["content"]
    if not text.strip():
        text = message["reasoning_content"]
        seen("the JSON came in reasoning_content")
    answer = json.loads(text)
    assert list(answer) == ["score"]
    assert 0 <= answer["score"] <= 9


@pytest.mark.parametrize("kind", ["json_object", "yaml"])
def test_l08_json_object_is_refused(server, kind, seen):
    reply = server.ask(response_format={"type": kind})
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("'response_format.type' must be 'json_schema'")
    seen(reply.json()["error"])


def test_l08_text_is_taken_by_those_who_name_it(server):
    named = said(server.ask(response_format={"type": "json_object"}).json()).endswith("or 'text'")
    assert server.ask(response_format={"type": "text"}).status_code == (200 if named else 400)
    assert named or not server.at_least("v0")


@pytest.mark.level("v0")
def test_l09_tool_choice_is_no_object(server):
    reply = server.ask(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "tide_at"}})
    expected = {"error": "Invalid tool_choice type: 'object'. Supported string values: none, auto, required"}
    assert (reply.status_code, reply.json()) == (400, expected)


@pytest.mark.level("v0")
@pytest.mark.parametrize("choice", ["none", "auto"])
def test_l09_tool_choice_is_a_word(server, choice):
    message = message_of(server.ask(tools=[TOOL], tool_choice=choice))
    assert choice == "auto" or not message.get("tool_calls")


@pytest.mark.level("v0")
@pytest.mark.parametrize("parameters", [{"properties": {}}, {"type": "string"}])
def test_l09_parameters_are_an_object(server, parameters, seen):
    reply = server.ask(tools=[{"type": "function", "function": {"name": "tide_at", "parameters": parameters}}])
    assert reply.status_code == 400
    assert "parameters" in reply.text
    seen(f"wrong parameters: the body is {'a list' if isinstance(reply.json(), list) else 'an object'}")


def test_l10_an_unknown_effort_is_refused(server, seen):
    reply = server.ask(reasoning_effort="off")
    if reply.status_code == 200:
        assert not server.at_least("v1") or server.live
        seen("reasoning_effort is ignored")
        return
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_value")
    assert reply.json()["error"]["param"] == "reasoning_effort"


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh"])
def test_l10_every_effort_is_taken(server, effort):
    if server.live and effort in {"medium", "high", "xhigh"}:
        pytest.skip("would let a real model think for long")
    message_of(server.ask(reasoning_effort=effort))


@pytest.mark.needs("fault")
@pytest.mark.stage("empty")
def test_l10_the_json_may_come_as_reasoning_only(server):
    if not server.at_least("v1"):
        pytest.skip("the server puts reasoning into the content")
    thinker = next(
        m["key"] for m in server.body("/api/v1/models")["models"] if "reasoning" in m.get("capabilities", {})
    )
    server.post("/lmroute-emulator/load", {"model": thinker})
    server.faults(reasoning_only=True)
    message = message_of(server.ask(model=thinker, response_format=as_schema(SCORE), max_tokens=512))
    assert message["content"] == ""
    assert 0 <= json.loads(message.get("reasoning_content") or message["reasoning"])["score"] <= 9
