"""What a call leaves behind: the trace in its answer, its records; and what an engine says and does besides."""

import json
from dataclasses import replace

import pytest
from dspy import lm15

from lmroute.model import Capabilities, JsonMode
from lmroute.telemetry.sink import JsonlSink

GONE = lm15.TransportError("gone")


def trace(response):
    return response.provider_data["lmroute"]


def test_the_trace_tells_it_all(mode, make, route):
    profiles = make.profile("a"), make.profile("b", enabled=False), make.profile("c")
    engine, _, _ = route(make.stack(*profiles), a=GONE, b="hi", c="from c")
    response = mode.complete(engine, make.ask())
    told = trace(response)
    durations = [attempt.pop("duration") for attempt in told["attempts"]]
    assert all(duration >= 0 for duration in durations)
    assert told == {
        "policy": engine.routing.name,
        "rule": "everybody",
        "provider": "c",
        "model": "c-model",
        "attempts": [
            {"provider": "a", "model": "m", "status": "error", "errorCode": "transport", "message": "gone"},
            {"provider": "c", "model": "c-model", "status": "ok", "errorCode": None},
        ],
        "dropped": {"b/m": "disabled"},
    }
    assert json.loads(json.dumps(told)) == told


def test_the_childs_own_provider_data_stays(mode, make, route):
    engine, _, _ = route(a=make.answer(provider_data={"stats": {}}))
    assert mode.complete(engine, make.ask()).provider_data.keys() == {"stats", "lmroute"}


def test_degradation_is_told(mode, make, route):
    stack = make.stack(make.profile("a", capabilities=Capabilities(json_mode=JsonMode.JSON_SCHEMA)))
    engine, children, sink = route(stack, a="{}")
    response = mode.complete(engine, make.ask(response_format={"type": "json_object"}))
    assert trace(response)["attempts"][0]["degraded"] == ["json_object sent as json_schema"]
    assert sink.lines[0]["degraded"] == ["json_object sent as json_schema"]
    assert children["a"].asked[0].config.response_format["type"] == "json_schema"


def test_records_hold_numbers_and_names_and_never_the_text(mode, make, tmp_path):
    sink = JsonlSink(tmp_path / "calls.jsonl")
    stack = make.stack(make.profile("a"), make.profile("b"))
    children = {"a": mode.child(lm15.AuthError("bad key sk-abcdefgh12345678")), "b": mode.child("the answer text")}
    mode.complete(mode.router(stack, children, sink=sink), make.ask("the question text", max_tokens=7))
    sink.close()
    text = (tmp_path / "calls.jsonl").read_text(encoding="utf-8")
    assert "question text" not in text
    assert "answer text" not in text
    assert "sk-abc" not in text
    first, second, call = map(json.loads, text.splitlines())
    assert {first["call"], second["call"], call["call"]} == {call["call"]}
    assert (first["provider"], first["status"], first["errorCode"], first["attempt"]) == ("a", "error", "auth", 1)
    assert (second["provider"], second["status"], second["errorCode"], second["attempt"]) == ("b", "ok", None, 2)
    assert (call["provider"], call["model"], call["status"], call["errorCode"]) == ("b", "answering", "ok", None)
    assert (call["attempts"], call["input_tokens"], call["output_tokens"]) == (2, 3, 2)
    assert call["attributes"]["prompt_tokens"] == 5
    assert call["attributes"]["max_output_tokens"] == 7
    assert call["duration"] >= first["duration"] + second["duration"]
    assert call["overhead_us"] >= 0


@pytest.mark.parametrize(
    "quoted",
    [
        "What is the\n  secret recipe of the house?",
        "and the secret recipe of the",
        "be brief, Ada",
        "Lovelace",
        "the tool found eleven eggs",
    ],
)
def test_a_server_that_quotes_the_request_is_not_recorded(mode, make, route, quoted):
    call = lm15.ToolCallPart(id="1", name="look", input={"who": {"names": ["Lovelace"]}})
    result = lm15.ToolResultPart(id="1", content=(lm15.TextPart("the tool found eleven eggs"),))
    messages = (
        lm15.Message.user("What is the secret recipe   of the house?"),
        lm15.Message(role="assistant", parts=(call,)),
        lm15.Message(role="tool", parts=(result,)),
    )
    request = replace(make.ask(system="be brief, Ada"), messages=messages)
    engine, _, sink = route(a=lm15.ServerError(f"Failed on: {quoted}"), b=lm15.ServerError("no room left"))
    with pytest.raises(lm15.ServerError) as caught:
        mode.complete(engine, request)
    assert " ".join(quoted.split()) in str(caught.value)
    first, second = (line["message"] for line in sink.lines if line["kind"] == "attempt")
    assert (first, second) == ("(the server quoted the request; not recorded)", "no room left")


def test_what_merely_resembles_the_request_is_recorded(mode, make, route):
    engine, _, sink = route(a=lm15.ServerError("the model is over its limit"))
    with pytest.raises(lm15.ServerError):
        mode.complete(engine, make.ask("the model is out on loan", system="the"))
    assert sink.lines[0]["message"] == "the model is over its limit"


def test_the_first_candidates_capabilities_are_the_engines(mode, make, route):
    able = Capabilities(tools=True, reasoning=True, json_mode=JsonMode.JSON_SCHEMA)
    stack = make.stack(make.profile("a", capabilities=able), make.profile("b", capabilities=Capabilities()))
    engine, _, _ = route(stack, a="hi", b="hi")
    assert engine.supports_function_calling
    assert engine.supports_reasoning
    assert engine.supports_response_schema
    assert {"response_format", "tools", "tool_choice", "reasoning_effort"} <= engine.supported_params
    stack = replace(stack, providers=dict(reversed(stack.providers.items())))
    engine, _, _ = route(stack, a="hi", b="hi")
    supported = engine.supports_function_calling, engine.supports_reasoning, engine.supports_response_schema
    assert supported == (False, False, False)
    assert not {"response_format", "tools", "reasoning_effort"} & engine.supported_params
    assert {"temperature", "max_tokens"} <= engine.supported_params


def test_json_mode_without_schemas_is_offered_as_that(mode, make, route):
    stack = make.stack(make.profile("a", capabilities=Capabilities(json_mode=JsonMode.JSON_OBJECT)))
    engine, _, _ = route(stack, a="hi")
    assert not engine.supports_response_schema
    assert "response_format" in engine.supported_params


def test_nobody_eligible_supports_nothing(mode, make, route):
    engine, _, _ = route(make.stack(make.profile("a", enabled=False)), a="hi")
    assert not engine.supports_function_calling


def test_closing_closes_the_children_that_can_be_closed(mode, make):
    child, plain = mode.child("hi"), object()
    engine = mode.router(make.stack(make.profile("a"), make.profile("b")), {"a": child, "b": plain})
    mode.close(engine)
    assert child.closed
