"""The official Anthropic client on ``/v1/messages``, unchanged. It wants the URL without ``/v1``."""

import pytest

from lmroute.emulator.catalog import SCRIPTED
from lmroute.emulator.settings import Settings, Token
from lmroute.model import Secret

pytestmark = pytest.mark.slow  # importing the client takes two seconds

TERN = SCRIPTED[0].key
HELLO = [{"role": "user", "content": "hello there"}]
TOKEN = "sk-lm-AbCd1234:abcdefghij0123456789"
WEATHER = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def anthropic():
    """The package, imported when a test needs it."""
    import anthropic

    return anthropic


@pytest.fixture
def anthropic_client(shared, anthropic):
    clients = []

    def connect(settings=None, **options):
        url = str(shared(settings or Settings()).base_url)
        options = {"api_key": "any"} | options if "auth_token" not in options else options
        clients.append(anthropic.Anthropic(base_url=url, max_retries=0, timeout=20, **options))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def test_it_chats(anthropic_client):
    answer = anthropic_client().messages.create(model=TERN, max_tokens=50, messages=HELLO)

    assert [(block.type, block.text) for block in answer.content] == [("text", "You said: hello there")]
    assert (answer.model, answer.role, answer.stop_reason) == (TERN, "assistant", "end_turn")
    assert answer.usage.output_tokens > 0


def test_a_limit_ends_the_answer(anthropic_client):
    answer = anthropic_client().messages.create(model=TERN, max_tokens=2, messages=HELLO)

    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 2)


@pytest.mark.parametrize("split", [None, 3])
def test_it_streams(anthropic_client, split):
    client = anthropic_client(Settings(split=split))

    with client.messages.stream(model=TERN, max_tokens=50, messages=HELLO, system="Be brief.") as stream:
        assert "".join(stream.text_stream) == "You said: hello there"
        final = stream.get_final_message()

    assert (final.stop_reason, final.content[0].text) == ("end_turn", "You said: hello there")
    assert final.usage.output_tokens > 0


def test_it_calls_a_tool_and_takes_the_result(anthropic_client):
    client = anthropic_client()
    asked = {"model": TERN, "max_tokens": 50, "tools": [WEATHER]}

    called = client.messages.create(**asked, messages=HELLO, tool_choice={"type": "any"})
    (use,) = (block for block in called.content if block.type == "tool_use")
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "9 degrees"}
    turns = [*HELLO, {"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    answered = client.messages.create(**asked, messages=turns, tool_choice={"type": "none"})

    assert (called.stop_reason, use.name, type(use.input["city"])) == ("tool_use", "get_weather", str)
    assert answered.stop_reason == "end_turn"


def test_it_streams_a_tool_call(anthropic_client):
    with anthropic_client().messages.stream(
        model=TERN, max_tokens=50, messages=HELLO, tools=[WEATHER], tool_choice={"type": "any"}
    ) as stream:
        final = stream.get_final_message()

    (use,) = (block for block in final.content if block.type == "tool_use")
    assert (final.stop_reason, use.name, type(use.input["city"])) == ("tool_use", "get_weather", str)


LOCKED = Settings(require_auth=True, tokens=(Token(Secret(TOKEN)),))


@pytest.mark.parametrize("credentials", [{"api_key": TOKEN}, {"auth_token": TOKEN}])
def test_both_of_its_credentials_carry_a_token(anthropic_client, credentials):
    """Client 2.x sends both as a bearer, older ones ``api_key`` as x-api-key; on this route LM Studio takes either."""
    client = anthropic_client(LOCKED, **credentials)

    assert client.messages.create(model=TERN, max_tokens=50, messages=HELLO).content


def test_a_token_in_x_api_key_opens_this_route_and_no_other(anthropic, anthropic_client):
    """What older clients send everywhere. LM Studio reads that header on /v1/messages only, so listing models fails."""
    only_x_api_key = {"x-api-key": TOKEN, "Authorization": anthropic.Omit()}
    client = anthropic_client(LOCKED, api_key="unused", default_headers=only_x_api_key)

    assert client.messages.create(model=TERN, max_tokens=50, messages=HELLO).content
    with pytest.raises(anthropic.AuthenticationError, match="token is required"):
        client.models.list()


def test_a_wrong_token_is_an_authentication_error(anthropic, anthropic_client):
    with pytest.raises(anthropic.AuthenticationError, match="Malformed LM Studio API token"):
        anthropic_client(LOCKED).messages.create(model=TERN, max_tokens=50, messages=HELLO)


def test_counting_tokens_looks_like_a_success_and_is_none(anthropic_client):
    """LM Studio has no such route and says so with status 200, so the client returns a count of nothing."""
    counted = anthropic_client().messages.count_tokens(model=TERN, messages=HELLO)

    assert not hasattr(counted, "input_tokens") or counted.input_tokens is None
    assert "Unexpected endpoint" in counted.model_extra["error"]
