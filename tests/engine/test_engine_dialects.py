"""The services' own dialects against a local fake: where a request goes, under which key, and with what in it."""

import pytest
from dspy import lm15

from lmroute.engine.verdicts import classify
from lmroute.model import Failure, Locality, SecretRef, SecretSource

KEY = SecretRef(SecretSource.ENV, ("SERVICE_KEY",))

OPENAI_ANSWER = {
    "id": "c1",
    "model": "served",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}
ANTHROPIC_ANSWER = {
    "id": "a1",
    "type": "message",
    "role": "assistant",
    "model": "served",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
GEMINI_ANSWER = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2},
    "modelVersion": "served",
}
OPENAI_FRAMES = (
    {"model": "served", "choices": [{"index": 0, "delta": {"content": "hi"}}]},
    {"model": "served", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    "data: [DONE]",
)
ANTHROPIC_FRAMES = (
    {"type": "message_start", "message": {"id": "a1", "model": "served", "usage": {"input_tokens": 3}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
)
SERVICES = {
    "openai": ("/v1/chat/completions", ("Authorization", "Bearer secret-key"), OPENAI_ANSWER, OPENAI_FRAMES),
    "openrouter": ("/api/v1/chat/completions", ("Authorization", "Bearer secret-key"), OPENAI_ANSWER, OPENAI_FRAMES),
    "anthropic": ("/v1/messages", ("x-api-key", "secret-key"), ANTHROPIC_ANSWER, ANTHROPIC_FRAMES),
    "gemini": (
        "/v1beta/models/model-x:generateContent",
        ("x-goog-api-key", "secret-key"),
        GEMINI_ANSWER,
        (GEMINI_ANSWER,),
    ),
}


@pytest.fixture(params=SERVICES)
def service(request):
    return request.param


@pytest.fixture
def engine(service, mode, server, monkeypatch):
    monkeypatch.setenv("SERVICE_KEY", "secret-key")
    profile = server.profile(id="cloudy", type=service, auth_token=KEY, locality=Locality.CLOUD, total_s=20)
    return mode.provider(profile)


def test_a_whole_answer(service, engine, mode, make, server):
    path, key, answer, _ = SERVICES[service]
    server.answers(server.http(answer))
    response = mode.complete(engine, make.ask("hello", model="model-x", system="be brief", max_tokens=9))
    # Gemini says which model it was in another field, and lm15 reads it nowhere.
    assert (response.text, response.model) == ("hi", "model-x" if service == "gemini" else "served")
    assert (response.usage.input_tokens, response.usage.output_tokens) == (3, 2)
    (sent,) = server.received
    assert sent.path.partition("?")[0] == path
    assert sent.header(key[0]) == key[1]
    body = sent.body.decode()
    assert "hello" in body
    assert "be brief" in body
    assert "secret-key" not in body + sent.path
    assert sent.json.get("model", "model-x") == "model-x"
    assert "9" in body


def test_a_stream(service, engine, mode, make, server):
    server.answers(server.event_stream(*SERVICES[service][3]))
    events = mode.stream(engine, make.ask("hello", model="model-x", max_tokens=9))
    assert [events[0].type, events[-1].type] == ["start", "end"]
    assert "".join(event.delta.text for event in events if event.type == "delta") == "hi"
    assert events[-1].finish_reason == "stop"
    if service != "gemini":
        assert events[0].model == "served"


def test_a_schema_goes_along(service, engine, mode, make, server):
    server.answers(server.http(SERVICES[service][2]))
    schema = {"type": "object", "properties": {"answer_field": {"type": "string"}}, "required": ["answer_field"]}
    format_ = {"type": "json_schema", "name": "answer", "schema": {**schema, "additionalProperties": False}}
    mode.complete(engine, make.ask(model="model-x", max_tokens=9, response_format=format_))
    assert "answer_field" in server.received[0].body.decode()


REFUSALS = {
    "401 Unauthorized": Failure.AUTH,
    "429 Too Many Requests": Failure.RATE_LIMIT,
    "500 Internal Server Error": Failure.SERVER,
    "400 Bad Request": Failure.INVALID_REQUEST,
}


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal(engine, mode, make, server, status):
    server.answers(server.http({"type": "error", "error": {"message": "told so"}}, status))
    with pytest.raises(lm15.ProviderError, match="told so") as caught:
        mode.complete(engine, make.ask(model="model-x", max_tokens=9))
    assert classify(caught.value) is REFUSALS[status]
    assert caught.value.provider == "cloudy"


@pytest.mark.parametrize("body", [{}, [1], "<html>", {"error": "odd"}, {"content": 5, "candidates": 5, "choices": 5}])
def test_a_success_that_is_none(service, engine, mode, make, server, body):  # noqa: PLR0917
    server.answers(server.http(body))
    try:
        response = mode.complete(engine, make.ask(model="model-x", max_tokens=9))
    except lm15.LM15Error as error:
        found = classify(error)
    else:
        found = response.text
    # Anthropic and Gemini answers without content are empty answers to lm15, and so they are to us.
    assert found in ({Failure.BAD_REPLY, ""} if service in {"anthropic", "gemini"} else {Failure.BAD_REPLY})


SAMPLERS = {"temperature": 0.5, "top_p": 0.9, "seed": 7}


def test_samplers_that_the_dialect_knows_are_sent_by_its_own_names(service, engine, mode, make, server):
    server.answers(server.http(SERVICES[service][2]))
    mode.complete(engine, make.ask(model="model-x", max_tokens=9, **SAMPLERS))
    sent = server.received[0].json
    if service == "gemini":
        config = sent["generationConfig"]
        assert (config["temperature"], config["topP"], config["seed"], config["maxOutputTokens"]) == (0.5, 0.9, 7, 9)
    else:
        assert (sent["temperature"], sent["top_p"]) == (0.5, 0.9)
        assert sent.get("max_tokens", sent.get("max_completion_tokens")) == 9


LOCAL = ["lmstudio", "llamacpp", "ollama", "vllm", "sglang", "openai_compatible"]


@pytest.mark.parametrize("type_", LOCAL)
def test_local_servers_get_chat_completions_with_max_tokens(mode, make, server, type_):
    server.answers(server.http(server.chat()), server.good_stream)
    engine = mode.provider(server.profile(type=type_))
    mode.complete(engine, make.ask("hello", model="m", system="be brief", max_tokens=9))
    mode.stream(engine, make.ask("hello", model="m"))
    whole, stream = server.received
    assert whole.path == stream.path == "/v1/chat/completions"
    limit = "max_completion_tokens" if type_ == "openai_compatible" else "max_tokens"
    assert whole.json[limit] == 9
    assert whole.json["messages"][0] == {"role": "system", "content": "be brief"}
    assert "stream" not in whole.json
    assert stream.json["stream"] is True
