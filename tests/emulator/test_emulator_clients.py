"""The official OpenAI client, unchanged. Other clients stand beside this: test_emulator_by_*.py."""

import asyncio
import json
from typing import Literal

import pytest
from openai import (
    APIError,
    AsyncOpenAI,
    AuthenticationError,
    BadRequestError,
    LengthFinishReasonError,
    OpenAI,
    PermissionDeniedError,
)
from pydantic import BaseModel

from lmroute.emulator.catalog import SCRIPTED, Model
from lmroute.emulator.settings import Settings, Token
from lmroute.model import Secret

TERN = SCRIPTED[0].key
HELLO = [{"role": "user", "content": "hello there"}]
SCHEMA = {"type": "object", "properties": {"label": {"enum": ["yes", "no"]}}, "required": ["label"]}
STRUCTURED = {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": SCHEMA}}
TOKEN = "sk-lm-AbCd1234:abcdefghij0123456789"
READ_ONLY = "sk-lm-ReAdOnLy:abcdefghij0123456789"
WREN = "text-embedding-wren-v1"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Verdict(BaseModel):
    label: Literal["yes", "no"]
    because: list[str]


@pytest.fixture
def openai_client(shared):
    clients = []

    def connect(settings=None, api_key="lm-studio"):
        url = f"{shared(settings or Settings()).base_url}/v1"
        clients.append(OpenAI(base_url=url, api_key=api_key, max_retries=0, timeout=20))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def test_openai_lists_models(openai_client):
    assert [model.id for model in openai_client().models.list()] == [model.key for model in SCRIPTED]


def test_openai_chats(openai_client):
    answer = openai_client().chat.completions.create(model=TERN, messages=HELLO, temperature=0)

    assert answer.choices[0].message.content == "You said: hello there"
    assert (answer.model, answer.usage.total_tokens) == (TERN, 11)


@pytest.mark.parametrize("split", [None, 3])
def test_openai_streams(openai_client, split):
    client = openai_client(Settings(split=split))
    options = {"include_usage": True}

    chunks = list(client.chat.completions.create(model=TERN, messages=HELLO, stream=True, stream_options=options))

    deltas = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(deltas) == "You said: hello there"
    assert chunks[-1].usage.total_tokens == 11


def test_openai_gets_structured_output(openai_client):
    answer = openai_client().chat.completions.create(model=TERN, messages=HELLO, response_format=STRUCTURED)

    assert json.loads(answer.choices[0].message.content)["label"] in {"yes", "no"}


def test_openai_is_refused_json_object(openai_client):
    with pytest.raises(BadRequestError, match="must be 'json_schema' or 'text'"):
        openai_client().chat.completions.create(model=TERN, messages=HELLO, response_format={"type": "json_object"})


def test_openai_sees_an_error_inside_a_stream(openai_client):
    client = openai_client(Settings(models=(Model("tiny", context_length=3),)))

    with pytest.raises(APIError, match="does not fit in context length"):
        list(client.chat.completions.create(model="tiny", messages=HELLO, stream=True))


def test_openai_needs_a_good_token_where_one_is_required(openai_client):
    locked = Settings(require_auth=True, tokens=(Token(Secret(TOKEN)),))

    with pytest.raises(AuthenticationError, match="Malformed LM Studio API token"):
        openai_client(locked).models.list()
    assert openai_client(locked, TOKEN).models.list().data


def test_openai_s_parse_helper_gets_an_object(openai_client):
    answer = openai_client().chat.completions.parse(model=TERN, messages=HELLO, response_format=Verdict)

    assert isinstance(answer.choices[0].message.parsed, Verdict)


def test_openai_s_parse_helper_raises_when_the_answer_was_cut_off(openai_client):
    with pytest.raises(LengthFinishReasonError):
        openai_client().chat.completions.parse(model=TERN, messages=HELLO, response_format=Verdict, max_tokens=2)


def test_openai_gets_a_call_of_a_tool(openai_client):
    answer = openai_client().chat.completions.create(
        model=TERN, messages=HELLO, tools=[WEATHER], tool_choice="required"
    )

    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)
    assert (answer.choices[0].finish_reason, answer.choices[0].message.content) == ("tool_calls", "")


@pytest.mark.parametrize("split", [None, 3])
def test_openai_s_stream_helper_puts_the_fragments_of_a_call_together(openai_client, split):
    """LM Studio sends a call in two fragments, the second one without id and name; the client joins them by index."""
    client = openai_client(Settings(split=split))

    with client.chat.completions.stream(model=TERN, messages=HELLO, tools=[WEATHER], tool_choice="required") as stream:
        final = stream.get_final_completion()

    (call,) = final.choices[0].message.tool_calls
    assert (call.function.name, call.id.isdigit()) == ("get_weather", True)
    assert isinstance(json.loads(call.function.arguments)["city"], str)


def test_openai_may_not_name_the_tool_to_call(openai_client):
    """The form that OpenAI documents for "call this one" is refused; LM Studio takes only words."""
    named = {"type": "function", "function": {"name": "get_weather"}}

    with pytest.raises(BadRequestError, match="Supported string values: none, auto, required"):
        openai_client().chat.completions.create(model=TERN, messages=HELLO, tools=[WEATHER], tool_choice=named)


def test_openai_embeds(openai_client):
    """The client asks for base64 unless told otherwise, gets numbers, and takes them as they are. Usage is zero."""
    answer = openai_client().embeddings.create(model=WREN, input=["a heron", "a tern"])

    one, other = (item.embedding for item in answer.data)
    assert one != other
    assert {type(number) for number in one} == {float}
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (0, 0)


def test_openai_may_not_embed_tokens(openai_client):
    """Frameworks that tokenise first (LangChain by default) send numbers, which LM Studio refuses."""
    with pytest.raises(BadRequestError, match="'input' field must be a string or an array of strings"):
        openai_client().embeddings.create(model=WREN, input=[[15339, 1917]])


def test_openai_s_responses_whole_and_streamed(openai_client):
    client = openai_client()

    whole = client.responses.create(model=TERN, input="hello there")
    events = list(client.responses.create(model=TERN, input="hello there", stream=True))

    streamed = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert whole.output_text == streamed == "You said: hello there"
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert events[-1].response.usage.total_tokens == whole.usage.total_tokens


def test_openai_s_responses_ignore_a_schema(openai_client):
    """So ``responses.parse`` fails where ``chat.completions.parse`` works: the client is handed prose to validate."""
    with pytest.raises(ValueError, match="Invalid JSON"):
        openai_client().responses.parse(model=TERN, input="hello there", text_format=Verdict)


def test_openai_sees_each_refusal_as_its_own_exception(openai_client):
    locked = Settings(require_auth=True, tokens=(Token(Secret(TOKEN)), Token(Secret(READ_ONLY), read_only=True)))
    reading = openai_client(locked, READ_ONLY)

    assert reading.models.list().data
    with pytest.raises(PermissionDeniedError, match="Permission denied"):
        reading.chat.completions.create(model=TERN, messages=HELLO)
    with pytest.raises(AuthenticationError) as refused:
        openai_client(locked, TOKEN[:-1] + "0").models.list()
    assert refused.value.code == "invalid_api_key"


def test_openai_takes_an_unknown_route_for_a_success(openai_client):
    """LM Studio answers 200 with an error in the body, so the client builds an empty object and raises nothing."""
    answer = openai_client().images.generate(prompt="a heron", model=TERN)

    assert answer.data is None
    assert answer.model_extra == {"error": "Unexpected endpoint or method. (POST /v1/images/generations)"}


async def ask_concurrently(url, count):
    async with AsyncOpenAI(base_url=url, api_key="any", max_retries=0, timeout=20) as client:
        asked = (client.chat.completions.create(model=TERN, messages=HELLO) for _ in range(count))
        return await asyncio.gather(*asked)


def test_openai_s_async_client_asks_more_than_are_answered_at_once(client):
    answers = asyncio.run(ask_concurrently(f"{client.base_url}/v1", 6))

    assert {answer.choices[0].message.content for answer in answers} == {"You said: hello there"}
