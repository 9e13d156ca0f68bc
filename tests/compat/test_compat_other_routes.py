"""L19 to L21: embeddings, completions, responses, messages, native chat."""

import pytest

from lmroute.providers import contract

from .endpoint import QUESTION, said

pytestmark = pytest.mark.needs("generate")
PROMPT = "Say one short sentence about the tide."
SCHEMA = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}


def embedder(server):
    names = [model["name"] for model in server.models if model["kind"] == "embedding"]
    if not names:
        pytest.skip("the server has no embedding model")
    return names[0]


def vectors(server, texts):
    reply = server.post("/v1/embeddings", {"model": embedder(server), "input": texts})
    assert reply.status_code == 200, reply.text
    assert contract.problems("embeddings", reply.json()) == []
    assert reply.json()["usage"] == {"prompt_tokens": 0, "total_tokens": 0}
    return [entry["embedding"] for entry in reply.json()["data"]]


def test_l19_texts_become_vectors_and_usage_is_zero(server):
    (alone,) = vectors(server, "The tide is out.")
    both = vectors(server, ["The tide is out.", "Gulls are loud."])
    assert len(both) == 2
    assert len(alone) == len(both[0]) == len(both[1]) > 0


def test_l19_tokens_are_refused(server):
    for wrong in ([1, 2, 3], [[1, 2], [3]]):
        reply = server.post("/v1/embeddings", {"model": embedder(server), "input": wrong})
        assert reply.status_code == 400
        assert "'input' field must be a string or an array of strings" in said(reply.json())


def test_l19_what_is_too_long_is_cut_without_a_word(server):
    long = "tide " * 4000
    assert len(vectors(server, long)) == 1
    if not server.live:
        assert vectors(server, long) == vectors(server, long + "something else")


def test_l19_a_chat_model_makes_no_vectors(server, seen):
    reply = server.post("/v1/embeddings", {"model": server.chat_model, "input": "The tide is out."})
    if reply.status_code == 200:
        assert server.live
        seen("a chat model made vectors")
    else:
        seen(f"a chat model asked for vectors: status {reply.status_code}, {said(reply.json())[:60]}")


def test_l05_a_prompt_without_a_chat_is_continued(server):
    reply = server.post("/v1/completions", {"model": server.chat_model, "prompt": "The tide is", "max_tokens": 8})
    assert reply.status_code == 200, reply.text
    assert contract.problems("text_completion", reply.json()) == []


@pytest.mark.level("v0")
def test_l05_v0_measures(server):
    for path, schema, asked in (
        ("chat/completions", "chat_completion", {"messages": QUESTION}),
        ("completions", "text_completion", {"prompt": PROMPT}),
    ):
        reply = server.post(f"/api/v0/{path}", {"model": server.chat_model, "max_tokens": 16, **asked})
        assert reply.status_code == 200, reply.text
        assert contract.problems(schema, reply.json()) == []
        assert {"stats", "model_info", "runtime"} <= reply.json().keys()
        assert reply.json()["stats"]["tokens_per_second"] > 0
        assert reply.json()["model_info"]["context_length"] > 0


def respond(server, **fields):
    if not server.has("/v1/responses"):
        pytest.skip("the server has no /v1/responses")
    return server.post("/v1/responses", {"model": server.chat_model, "input": PROMPT, **fields})


def test_l20_a_response_keeps_to_its_shape(server):
    reply = respond(server)
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert contract.problems("responses", body) == []
    assert (body["object"], body["status"]) == ("response", "completed")
    assert body["id"].startswith("resp_")


def test_l20_a_schema_is_not_honoured(server, seen):
    wanted = {"format": {"type": "json_schema", "name": "answer", "strict": True, "schema": SCHEMA}}
    reply = respond(server, text=wanted)
    assert reply.status_code == 200, reply.text
    texts = [part["text"] for item in reply.json()["output"] for part in item.get("content", ()) if "text" in part]
    honoured = "".join(texts).strip().startswith("{")
    assert server.live or not honoured
    seen(f"a schema in text.format is {'honoured' if honoured else 'ignored'}")


def test_l20_a_text_without_a_format_is_refused(server):
    reply = respond(server, text={})
    assert reply.status_code == 400
    error = {"message": "Required", "type": "invalid_request_error", "param": "text.format"}
    assert reply.json() == {"error": {**error, "code": "missing_required_parameter"}}


def test_l20_the_stream_begins_tells_and_ends(server):
    respond(server, text={})
    stream = server.stream("/v1/responses", model=server.chat_model, input=PROMPT)
    events = [(name, data) for name, data in stream.events if data != "[DONE]"]
    assert [line for _, data in events for line in contract.problems("response_event", data)] == []
    names = [name or data["type"] for name, data in events]
    assert (names[0], names[-1]) == ("response.created", "response.completed")
    assert "response.output_text.delta" in names


def test_l20_messages_keep_to_anthropics_shape(server):
    if not server.has("/v1/messages"):
        pytest.skip("the server has no /v1/messages")
    reply = server.post("/v1/messages", {"model": server.chat_model, "max_tokens": 32, "messages": QUESTION})
    assert reply.status_code == 200, reply.text
    assert contract.problems("messages", reply.json()) == []
    stream = server.stream("/v1/messages", model=server.chat_model, max_tokens=32, messages=QUESTION)
    assert [line for _, data in stream.events for line in contract.problems("messages_event", data)] == []
    names = [name for name, _ in stream.events if name != "ping"]
    assert (names[0], names[-2:]) == ("message_start", ["message_delta", "message_stop"])


def talk(server, **fields):
    return server.post("/api/v1/chat", {"model": server.chat_model, "input": PROMPT, "max_output_tokens": 32, **fields})


@pytest.mark.level("v1")
@pytest.mark.parametrize("stored", [True, False])
def test_l21_a_native_answer_keeps_to_its_shape(server, stored):
    body = talk(server, store=stored).json()
    assert contract.problems("native_chat", body) == []
    assert any(item["type"] in {"message", "reasoning"} for item in body["output"])
    assert bool(body.get("response_id")) == stored


@pytest.mark.level("v1")
def test_l21_a_chat_is_continued_by_its_id(server):
    first = talk(server).json()["response_id"]
    assert contract.problems("native_chat", talk(server, previous_response_id=first).json()) == []


@pytest.mark.level("v1")
@pytest.mark.parametrize("key", ["ttl", "messages", "seed"])
def test_l21_unknown_keys_are_refused(server, key):
    reply = talk(server, **{key: 1})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "unrecognized_keys")
    assert f"'{key}'" in said(reply.json())


@pytest.mark.level("v1")
def test_l21_an_unknown_model_is_not_found(server):
    reply = server.post("/api/v1/chat", {"model": "nobody/has-this-model-7b", "input": PROMPT})
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")
    assert said(reply.json()).startswith("Invalid model identifier")


@pytest.mark.level("v1")
def test_l21_a_model_is_needed(server):
    reply = server.post("/api/v1/chat", {})
    expected = {"type": "invalid_request", "message": '"model" is required'}
    expected |= {"code": "missing_required_parameter", "param": "model"}
    assert (reply.status_code, reply.json()) == (400, {"error": expected})


@pytest.mark.level("v1")
def test_l21_the_events_come_in_their_order(server, seen):
    events = server.stream("/api/v1/chat", model=server.chat_model, input=PROMPT, max_output_tokens=64).events
    assert [line for _, data in events for line in contract.problems("native_chat_event", data)] == []
    names = [name for name, _ in events]
    order = ["chat.start", "prompt_processing.start", "prompt_processing.end", "message.start", "message.delta"]
    order += ["message.end", "chat.end"]
    assert [name for name in dict.fromkeys(names) if name in order] == order
    assert names.count("chat.end") == 1
    seen(f"{len(set(names))} kinds of events")


@pytest.mark.level("v1")
@pytest.mark.needs("fault")
def test_l21_an_error_event_does_not_end_the_stream(server):
    server.faults(failure="compute", failure_after=1)
    names = [name for name, _ in server.stream("/api/v1/chat", model=server.chat_model, input=PROMPT).events]
    assert names[-2:] == ["error", "chat.end"]


@pytest.mark.level("v1")
@pytest.mark.needs("fault")
@pytest.mark.stage("clock")
def test_l21_a_load_is_told_as_it_goes(server):
    name = server.chats[0]["name"]
    with server.meanwhile(lambda: server.stream("/api/v1/chat", model=name, input=PROMPT)) as done:
        server.until(lambda: server.state["loading"])
        server.advance(5)
        stream = done()
    names = [name for name, _ in stream.events]
    told = [name for name in dict.fromkeys(names) if name.startswith("model_load")]
    assert told == ["model_load.start", "model_load.progress", "model_load.end"]
    assert stream.events[-1][1]["result"]["stats"]["model_load_time_seconds"] == 5
