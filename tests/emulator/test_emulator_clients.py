"""The clients people use, unchanged."""

import json
import os
import subprocess
import sys

import pytest
from openai import APIError, AuthenticationError, BadRequestError, OpenAI

from lmroute.emulator.catalog import SCRIPTED, Model
from lmroute.emulator.settings import Settings, Token
from lmroute.model import Secret

TERN = SCRIPTED[0].key
HELLO = [{"role": "user", "content": "hello there"}]
SCHEMA = {"type": "object", "properties": {"label": {"enum": ["yes", "no"]}}, "required": ["label"]}
STRUCTURED = {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": SCHEMA}}
TOKEN = "sk-lm-AbCd1234:abcdefghij0123456789"


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


LITELLM = """
import json, sys
import litellm

where, structured = json.loads(sys.argv[1])
try:
    litellm.completion(**where, response_format={"type": "json_object"}, num_retries=0)
except litellm.BadRequestError as error:
    refusal = str(error)
print(json.dumps({
    "whole": litellm.completion(**where).choices[0].message.content,
    "structured": litellm.completion(**where, response_format=structured).choices[0].message.content,
    "streamed": [chunk.choices[0].delta.content for chunk in litellm.completion(**where, stream=True)],
    "refusal": refusal,
}))
"""


@pytest.mark.slow
def test_litellm_chats_and_streams(client):
    where = {"model": f"lm_studio/{TERN}", "api_base": f"{client.base_url}/v1", "messages": HELLO}

    # In a process of its own: litellm leaves an event loop open behind it.
    done = subprocess.run(
        [sys.executable, "-c", LITELLM, json.dumps([where, STRUCTURED])],
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["whole"] == "".join(filter(None, seen["streamed"])) == "You said: hello there"
    assert json.loads(seen["structured"])["label"] in {"yes", "no"}
    assert "must be 'json_schema' or 'text'" in seen["refusal"]
