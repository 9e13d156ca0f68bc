"""L21: LM Studio's own chat, whole and as named events."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from lmroute.emulator.backends.script import Line
from lmroute.emulator.catalog import SCRIPTED, Model, ReasoningOptions
from lmroute.emulator.settings import Loaded, Plugin, Settings

TERN, HERON, WREN = (model.key for model in SCRIPTED[:3])
CHAT = "/api/v1/chat"
THINKER = Model("rookery/thinker-1b", reasoning=ReasoningOptions(("low", "high"), "low"))
SCRIPT = (
    Line(re.compile("weather"), "It is sunny.", None, (("get_weather", '{"city":"Oslo"}'), ("get_mood", "{}"))),
    Line(re.compile("think"), "Two.", "One and one.", ()),
)
PLUGGED = Settings(
    models=(THINKER, Model("rookery/plain-1b")),
    script=SCRIPT,
    plugins=(Plugin("mcp/almanac", (("get_weather", "sunny"),)),),
    loaded=(Loaded(THINKER.key),),
)


def chat(client, text="hello there", **fields):
    return client.post(CHAT, json={"model": TERN, "input": text, **fields})


def events(client, text="hello there", **fields):
    """The events of a stream as (name, data), once every one has been checked to say its name twice."""
    reply = chat(client, text, stream=True, **fields)
    assert reply.headers["content-type"].startswith("text/event-stream")
    blocks = [block.split("\n") for block in reply.text.removesuffix("\n\n").split("\n\n")]
    found = [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]
    assert [name for name, _ in found] == [data["type"] for _, data in found]
    return found


def without_deltas(found):
    """The names of the events, each run of deltas and of progress once."""
    names = [name for name, _ in found]
    return [name for number, name in enumerate(names) if number == 0 or names[number - 1] != name]


def test_l21_a_whole_answer(client):
    body = chat(client).json()

    assert list(body) == ["model_instance_id", "output", "stats", "response_id"]
    assert body["model_instance_id"] == TERN
    assert body["output"] == [{"type": "message", "content": "You said: hello there"}]
    assert {name: body["stats"][name] for name in ("input_tokens", "total_output_tokens")} == {
        "input_tokens": 4,
        "total_output_tokens": 7,
    }
    assert body["stats"]["reasoning_output_tokens"] == 0
    assert "model_load_time_seconds" not in body["stats"]
    assert re.fullmatch(r"resp_[0-9a-f]{48}", body["response_id"])


def test_l21_a_stream_of_a_loaded_model(client):
    found = events(client)

    assert without_deltas(found) == [
        "chat.start",
        "prompt_processing.start",
        "prompt_processing.progress",
        "prompt_processing.end",
        "message.start",
        "message.delta",
        "message.end",
        "chat.end",
    ]
    assert found[0][1] == {"type": "chat.start", "model_instance_id": TERN}
    said = "".join(data["content"] for name, data in found if name == "message.delta")
    assert found[-1][1]["result"]["output"] == [{"type": "message", "content": said}]


def test_l21_loading_is_told_as_it_goes_on(emulate):
    client = emulate(Settings(clock="manual", load_seconds=8, loaded=()))
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(events, client, model=HERON, context_length=512)
        for _ in range(4):
            client.wait_for(lambda state: state["waiting"])
            client.advance(2)
        found = asked.result(10)

    loading = [(name, data) for name, data in found if name.startswith("model_load")]
    name = {"model_instance_id": HERON}
    assert loading[0] == ("model_load.start", {"type": "model_load.start", **name})
    assert [data["progress"] for event, data in loading if event == "model_load.progress"] == [0.25, 0.5, 0.75, 1.0]
    assert loading[-1][1] == {"type": "model_load.end", **name, "load_time_seconds": 8.0}
    assert without_deltas(found)[:5] == [
        "chat.start",
        "model_load.start",
        "model_load.progress",
        "model_load.end",
        "prompt_processing.start",
    ]
    assert found[-1][1]["result"]["stats"]["model_load_time_seconds"] == 8.0
    assert client.state()["instances"][0]["context_length"] == 512


def test_l21_reasoning_comes_before_the_message(shared):
    found = events(shared(PLUGGED), "think", model=THINKER.key)

    names = without_deltas(found)
    assert names[4:-1] == [f"{kind}.{step}" for kind in ("reasoning", "message") for step in ("start", "delta", "end")]
    result = found[-1][1]["result"]
    expected = [{"type": "reasoning", "content": "One and one."}, {"type": "message", "content": "Two."}]
    assert result["output"] == expected
    assert result["stats"]["reasoning_output_tokens"] > 0


def test_l21_plugins_are_called_and_a_tool_that_nobody_has_is_told(shared):
    found = events(shared(PLUGGED), "weather", model="rookery/plain-1b", integrations=["mcp/almanac"])

    calls = [data for name, data in found if name.startswith("tool_call")]
    provider = {"type": "plugin", "plugin_id": "mcp/almanac"}
    assert [data["type"] for data in calls] == [
        "tool_call.start",
        "tool_call.arguments",
        "tool_call.success",
        "tool_call.start",
        "tool_call.failure",
    ]
    assert calls[2] == {
        "type": "tool_call.success",
        "tool": "get_weather",
        "arguments": {"city": "Oslo"},
        "output": "sunny",
        "provider_info": provider,
    }
    assert calls[4]["metadata"] == {"type": "invalid_name", "tool_name": "get_mood"}
    output = found[-1][1]["result"]["output"]
    assert [item["type"] for item in output] == ["tool_call", "invalid_tool_call", "message"]
    assert output[-1]["content"] == "It is sunny."


def test_l21_there_are_19_types_of_events(emulate):
    client = emulate(PLUGGED)
    found = events(client, "weather", model=THINKER.key, integrations=["mcp/almanac"])
    found += events(client, model="rookery/plain-1b")  # loads it
    client.set_faults(failure="compute")
    found += events(client, model=THINKER.key)

    groups = {
        "chat": ("start", "end"),
        "model_load": ("start", "progress", "end"),
        "prompt_processing": ("start", "progress", "end"),
        "reasoning": ("start", "delta", "end"),
        "tool_call": ("start", "arguments", "success", "failure"),
        "message": ("start", "delta", "end"),
    }
    expected = {f"{group}.{step}" for group, steps in groups.items() for step in steps} | {"error"}
    assert len(expected) == 19
    assert {name for name, _ in found} == expected


@pytest.mark.parametrize("after", [0, 3])
def test_l21_an_error_is_an_event_and_the_chat_ends_all_the_same(emulate, after):
    client = emulate()
    client.set_faults(failure="compute", failure_after=after)

    found = events(client)

    assert [name for name, _ in found][-2:] == ["error", "chat.end"]
    assert found[-2][1]["error"]["message"] == "Compute error."
    said = "".join(item["content"] for item in found[-1][1]["result"]["output"])
    assert "You said: hello there".startswith(said)
    assert bool(said) is bool(after)


def test_l21_a_prompt_that_does_not_fit_is_refused(shared):
    client = shared(Settings(models=(Model("tiny", context_length=5),)))

    reply = chat(client, "a b c d e f", model="tiny")
    streamed = events(client, "a b c d e f", model="tiny")

    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request")
    assert [name for name, _ in streamed][-2:] == ["error", "chat.end"]


def test_l21_a_failed_load_is_500_or_an_event(emulate):
    client = emulate(Settings(loaded=()))
    client.set_faults(load_failure=True)

    reply, streamed = chat(client, model=HERON), events(client, model=HERON)

    assert (reply.status_code, reply.json()["error"]["type"]) == (500, "model_load_failed")
    assert streamed[-2][1]["error"]["type"] == "model_load_failed"
    assert streamed[-1][1]["result"]["output"] == []


def test_l21_a_stored_response_is_gone_on_from(emulate):
    client = emulate()
    first = chat(client, "one two three").json()

    second = chat(client, "four", previous_response_id=first["response_id"]).json()
    again = chat(client, "four", previous_response_id=first["response_id"], store=False).json()

    alone = chat(client, "four").json()
    said = first["stats"]["input_tokens"] + first["stats"]["total_output_tokens"]
    assert second["stats"]["input_tokens"] == said + alone["stats"]["input_tokens"]
    assert again["stats"]["input_tokens"] == second["stats"]["input_tokens"]
    assert "response_id" not in again


def test_l21_a_response_that_is_not_stored_cannot_be_gone_on_from(client):
    reply = chat(client, previous_response_id="resp_nothing")

    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "previous_response_id")


@pytest.mark.parametrize("key", ["ttl", "seed", "stop", "tools", "messages", "response_format", "max_tokens"])
def test_l21_the_list_of_keys_is_closed(client, key):
    reply = chat(client, **{key: 1})

    error = {"message": f"Unrecognized key(s) in object: '{key}'", "type": "invalid_request"}
    assert (reply.status_code, reply.json()) == (400, {"error": {**error, "code": "unrecognized_keys"}})


@pytest.mark.parametrize("name", ["model", "input"])
def test_l21_what_is_required_is_told(client, name):
    body = {key: value for key, value in (("model", TERN), ("input", "hi")) if key != name}

    error = client.post(CHAT, json=body).json()["error"]

    assert error == {
        "message": f'"{name}" is required',
        "type": "invalid_request",
        "code": "missing_required_parameter",
        "param": name,
    }


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"type": "message", "content": "x"}, "Invalid discriminator value. Expected 'text' | 'image'"),
        ({"type": "text", "text": "x"}, "'input.0.content' is required, Unrecognized key(s) in object: 'text'"),
        ({"type": "image"}, "'input.0.data_url' is required"),
        ("x", "Invalid discriminator value. Expected 'text' | 'image'"),
    ],
)
def test_l21_an_item_of_the_input_must_be_a_text_or_an_image(client, item, message):
    error = chat(client, [item]).json()["error"]

    assert error == {"message": message, "type": "invalid_request", "code": "invalid_union", "param": "input"}


def test_l21_items_and_a_system_prompt_are_read(client):
    items = [{"type": "text", "content": "hello there"}, {"type": "image", "data_url": "data:image/png;base64,AA=="}]

    reply = chat(client, items, system_prompt="be short").json()

    assert reply["output"][0]["content"] == "You said: hello there"
    assert reply["stats"]["input_tokens"] > chat(client).json()["stats"]["input_tokens"]


@pytest.mark.parametrize("fields", [{"temperature": 1.5}, {"max_output_tokens": 0}, {"stream": "yes"}, {"top_k": 1.5}])
def test_l21_values_out_of_bounds_are_refused_by_name(client, fields):
    reply = chat(client, **fields)

    assert (reply.status_code, reply.json()["error"]["param"]) == (400, next(iter(fields)))


def test_l21_the_length_of_an_answer_can_be_limited(client):
    stats = chat(client, max_output_tokens=2).json()["stats"]

    assert stats["total_output_tokens"] == 2


def test_l21_a_reasoning_setting_that_a_model_lacks_is_refused(shared):
    client = shared(PLUGGED)

    error = chat(client, model=THINKER.key, reasoning="off").json()["error"]

    assert error == {
        "message": f"Reasoning setting 'off' is not supported by model '{THINKER.key}'. "
        "Supported settings: 'low', 'high'.",
        "type": "invalid_request",
        "code": "invalid_value",
        "param": "reasoning",
    }
    assert chat(client, model=THINKER.key, reasoning="high").status_code == 200
    assert chat(client, model="rookery/plain-1b", reasoning="on").status_code == 400
    assert chat(client, model=THINKER.key, reasoning="enormous").status_code == 400


@pytest.mark.parametrize("name", ["nobody", WREN, ""])
@pytest.mark.parametrize("jit", [True, False])
def test_l21_no_other_model_answers_to_an_unknown_name(shared, name, jit):
    reply = chat(shared(Settings(jit=jit)), model=name)

    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")
    assert reply.json()["error"]["message"].startswith(f'Invalid model identifier "{name}"')


def test_l21_a_plugin_that_is_not_allowed_is_403(client):
    reply = chat(client, integrations=["mcp/almanac"])

    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["code"]) == (403, "integrations", None)
    assert error["message"].startswith("Permission denied to use plugin 'mcp/almanac'.")
