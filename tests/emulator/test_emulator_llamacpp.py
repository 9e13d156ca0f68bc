"""The real model behind the emulator: how requests get there and answers come back."""

import json

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from lmroute.emulator.app import create_app
from lmroute.emulator.backends.llamacpp import LlamaCpp
from lmroute.emulator.catalog import Model, ReasoningOptions
from lmroute.emulator.running import in_thread, running
from lmroute.emulator.settings import Engine, Settings
from lmroute.emulator.transport.sockets import bound, url_of
from lmroute.model import Secret

CHUNKS = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {"content": "one\u2028"}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {"content": "two ü"}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]},
    {"choices": [], "usage": {"prompt_tokens": 31, "completion_tokens": 2, "total_tokens": 33}, "timings": {}},
]


def stream_of(chunks, done="data: [DONE]\n\n"):
    return "".join(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks) + done


class Upstream:
    """What stands where llama.cpp would: ``answer`` makes each response, ``asked`` is what came in."""

    def __init__(self):
        self.answer = None
        self.asked = []
        self.paths = []
        self.told = {}

    async def chat(self, request):
        self.paths.append(request.url.path)
        self.asked.append((dict(request.headers), await request.json()))
        return self.answer()

    async def props(self, _request):
        return JSONResponse(self.told)

    def app(self):
        paths = ("/v1/chat/completions", "/v1/completions")
        routes = [Route(path, self.chat, methods=["POST"]) for path in paths]
        return Starlette(routes=[*routes, Route("/props", self.props)])


@pytest.fixture(scope="module")
def servers(connect):
    """The server behind and the client in front of one emulator."""
    upstream = Upstream()
    with bound("127.0.0.1", 0) as behind, in_thread(upstream.app(), behind), bound("127.0.0.1", 0) as front:
        app = create_app(Settings(), LlamaCpp(url_of(behind), Secret("opensesame"), "the-model"))
        with in_thread(app, front), connect(url_of(front)) as client:
            yield upstream, client


def streaming(text):
    async def in_odd_pieces():
        data = text.encode()
        for start in range(0, len(data), 5):
            yield data[start : start + 5]

    return lambda: StreamingResponse(in_odd_pieces(), media_type="text/event-stream")


def test_a_request_goes_on_as_it_came_and_the_answer_is_reshaped(servers):
    upstream, client = servers
    schema = {"type": "object"}
    sampling = {"temperature": 0.5, "top_k": 3, "seed": 7, "stop": ["x"], "max_tokens": 2, "repeat_penalty": 1.1}
    messages = [{"role": "developer", "content": "be kind"}, {"role": "user", "content": "hi"}]
    upstream.answer = streaming(stream_of(CHUNKS))

    reply = client.ask(
        messages=messages,
        response_format={"type": "json_schema", "json_schema": {"schema": schema}},
        logit_bias=None,
        ttl=5,
        **sampling,
    ).json()

    headers, body = upstream.asked[-1]
    assert headers["authorization"] == "Bearer opensesame"
    assert body == {
        "model": "the-model",
        "messages": [{"role": "system", "content": "be kind"}, messages[1]],
        **sampling,
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert reply["choices"][0]["message"]["content"] == "one\u2028two ü"
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["total_tokens"] == 33
    assert reply["model"] == "rookery/tern-3b-instruct"


def test_a_stream_is_passed_on_piece_by_piece(servers):
    upstream, client = servers
    upstream.answer = streaming(stream_of(CHUNKS))

    raw = client.stream_bytes()[2]

    events = [json.loads(event.removeprefix("data: ")) for event in raw.decode().split("\n\n")[:-2]]
    assert [event["choices"][0]["delta"].get("content") for event in events] == ["one\u2028", "two ü", "", None]


def delta(**fields):
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def fragment(index, text, **name):
    return {"index": index, "function": {**name, "arguments": text}}


CALLS = [
    delta(reasoning_content="Let me "),
    delta(reasoning_content="see."),
    delta(tool_calls=[{**fragment(0, "", name="ping"), "id": "abc", "type": "function"}]),
    delta(tool_calls=[fragment(0, '{"to":')]),
    delta(tool_calls=[fragment(0, '"me"}')]),
    delta(tool_calls=[fragment(1, "{}", name="pong")]),
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    {"choices": [], "usage": {"prompt_tokens": 31, "completion_tokens": 20, "total_tokens": 51}},
]
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("ping", "pong")
]


@pytest.fixture(scope="module")
def reasoner(connect):
    """The same, where the emulated model reasons."""
    upstream = Upstream()
    with bound("127.0.0.1", 0) as behind, in_thread(upstream.app(), behind), bound("127.0.0.1", 0) as front:
        settings = Settings(models=(Model("owl", reasoning=ReasoningOptions()),))
        app = create_app(settings, LlamaCpp(url_of(behind), Secret("opensesame"), "the-model"))
        with in_thread(app, front), connect(url_of(front)) as client:
            yield upstream, client


def test_tools_and_effort_go_on_and_fragments_come_back_whole(reasoner):
    upstream, client = reasoner
    upstream.answer = streaming(stream_of(CALLS))

    reply = client.ask(tools=TOOLS, tool_choice="required", reasoning_effort="low").json()

    body = upstream.asked[-1][1]
    assert (body["tools"], body["tool_choice"], body["reasoning_effort"]) == (TOOLS, "required", "low")
    message = reply["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("", "Let me see.")
    assert [tuple(call["function"].values()) for call in message["tool_calls"]] == [
        ("ping", '{"to":"me"}'),
        ("pong", "{}"),
    ]
    assert all(call["id"].isdigit() and len(call["id"]) == 9 for call in message["tool_calls"])
    assert (reply["choices"][0]["finish_reason"], reply["usage"]["total_tokens"]) == ("tool_calls", 51)


def test_without_tools_and_reasoning_nothing_is_said_of_them(servers):
    upstream, client = servers
    upstream.answer = streaming(stream_of(CHUNKS))
    client.ask(tool_choice="auto", reasoning_effort="high")

    assert not {"tools", "tool_choice", "reasoning_effort"} & upstream.asked[-1][1].keys()


def test_tools_that_the_model_would_never_see_are_refused(emulate):
    upstream = Upstream()
    upstream.told = {"chat_template_caps": {"supports_tools": False}}
    upstream.answer = streaming(stream_of(CHUNKS))
    with bound("127.0.0.1", 0) as behind, in_thread(upstream.app(), behind):
        client = emulate(Settings(), LlamaCpp(url_of(behind), Secret("opensesame"), "the-model"))
        replies = [client.ask(tools=TOOLS, tool_choice=choice) for choice in ("auto", "required", "none")]
        replies.append(client.ask())

    assert [reply.status_code for reply in replies] == [400, 400, 200, 200]
    assert replies[0].json() == replies[1].json()
    assert "The chat template of the-model takes no tools" in replies[0].json()["error"]


def test_a_server_that_refuses_tools_itself_is_quoted(servers):
    upstream, client = servers
    upstream.answer = error(400, type="invalid_request_error", message="tools need another flag")

    reply = client.ask(tools=TOOLS)

    assert (reply.status_code, reply.json()) == (400, {"error": "tools need another flag"})


def test_a_text_is_continued_without_the_template(servers):
    upstream, client = servers
    texts = [{"choices": [{"index": 0, "text": text, "finish_reason": None}]} for text in (" a", " time")]
    end = {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}
    upstream.answer = streaming(stream_of([*texts, end, CHUNKS[-1]]))

    reply = client.post("/v1/completions", json={"prompt": "once upon", "max_tokens": 9}).json()

    body = upstream.asked[-1][1]
    assert (upstream.paths[-1], body["prompt"], body["max_tokens"]) == ("/v1/completions", "once upon", 9)
    assert "messages" not in body
    assert (reply["choices"][0]["text"], reply["choices"][0]["finish_reason"]) == (" a time", "stop")


def test_a_chat_model_makes_no_embeddings(servers):
    reply = servers[1].post("/v1/embeddings", json={"model": "text-embedding-wren-v1", "input": "a"})

    assert reply.status_code == 400
    assert "--model scripted" in reply.json()["error"]


CRASH = "The model has crashed without additional information. (Exit code: null)"
TOO_LONG = (
    "The number of tokens to keep from the initial prompt is greater than the context length. "
    "Try to load the model with a larger context length, or provide a shorter input"
)


def error(status, **fields):
    return lambda: JSONResponse({"error": {"code": status, **fields}}, status)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (error(400, type="invalid_request_error", message="no such sampler"), "no such sampler"),
        (error(500, type="server_error", message="boom"), CRASH),
        (
            error(400, type="exceed_context_size_error", message="too long", n_prompt_tokens=9, n_ctx=5),
            TOO_LONG,
        ),
        (lambda: JSONResponse({"error": "plain words"}, 400), "plain words"),
        (lambda: JSONResponse([], 500), CRASH),
        (lambda: StreamingResponse(iter(["<html>"]), 502), CRASH),
        (streaming(stream_of(CHUNKS[:2], done="")), CRASH),
        (streaming('data: {"error": {"type": "server_error", "message": "boom"}}\n\n'), CRASH),
        (streaming('error: {"type": "server_error", "message": "boom"}\n\n'), CRASH),
        (streaming("data: {torn\n\n"), CRASH),
    ],
)
def test_a_failure_upstream_is_told_in_lm_studio_words(servers, answer, message):
    upstream, client = servers
    upstream.answer = answer

    reply = client.ask()

    assert (reply.status_code, reply.json()) == (400, {"error": message})


def test_a_server_that_is_gone_is_a_crash(emulate):
    with bound("127.0.0.1", 0) as listener:
        url = url_of(listener)

    assert emulate(Settings(), LlamaCpp(url, Secret("x"), "m")).ask().json() == {"error": CRASH}


@pytest.mark.slow
def test_the_embedded_model_answers_whole_streamed_and_by_schema():
    from openai import BadRequestError, OpenAI

    schema = {"type": "object", "properties": {"label": {"enum": ["positive", "negative"]}}, "required": ["label"]}
    question = [{"role": "user", "content": "Is this review positive or negative? A wonderful film."}]

    with (
        running(Settings(engine=Engine.EMBEDDED)) as emulator,
        OpenAI(base_url=f"{emulator.url}/v1", api_key="x", max_retries=0, timeout=60) as client,
    ):
        [model] = [model.id for model in client.models.list()]
        ask = client.chat.completions.create
        structured = ask(
            model=model,
            messages=question,
            max_tokens=40,
            temperature=0,
            response_format={"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema}},
        )
        chunks = list(ask(model=model, messages=question, max_tokens=5, stream=True))
        continued = client.completions.create(model=model, prompt="Once upon a", max_tokens=3, temperature=0)
        with pytest.raises(BadRequestError, match="takes no tools"):
            ask(model=model, messages=question, tools=TOOLS)

    assert model == structured.model == "smollm2-135m-instruct"
    assert json.loads(structured.choices[0].message.content)["label"] in {"positive", "negative"}
    assert structured.usage.prompt_tokens > 10
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "length"
    assert continued.choices[0].text
