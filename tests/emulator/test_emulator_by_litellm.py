"""LiteLLM's ``lm_studio/`` provider, unchanged. In a process of its own: it leaves an event loop open behind it."""

import json
import os
import subprocess
import sys

import pytest

from lmroute.emulator.catalog import SCRIPTED

TERN = SCRIPTED[0].key
pytestmark = pytest.mark.slow

SEEN = """
import json, sys, warnings
import litellm

where = json.loads(sys.argv[1])
hello = [{"role": "user", "content": "hello there"}]
schema = {"type": "object", "properties": {"label": {"enum": ["yes", "no"]}}, "required": ["label"]}
structured = {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": schema}}


def ask(messages=hello, **more):
    return litellm.completion(messages=messages, num_retries=0, **where, **more)


def streamed(**more):
    return "".join(chunk.choices[0].delta.content or "" for chunk in ask(stream=True, **more))


def failure(asking):
    try:
        return f"no failure: {asking()}"
    except Exception as error:
        return [type(error).__name__, isinstance(error, litellm.ContextWindowExceededError), str(error)]


long = [{"role": "user", "content": "heron " * 5000}]
print(json.dumps({
    "whole": ask().choices[0].message.content,
    "streamed": streamed(),
    "structured": ask(response_format=structured).choices[0].message.content,
    "json_object": failure(lambda: ask(response_format={"type": "json_object"})),
    "too_long": failure(lambda: ask(long)),
    "too_long_streamed": failure(lambda: streamed(messages=long)),
}))
"""


@pytest.fixture(scope="module")
def seen(client):
    """What litellm makes of the emulator's answers, by situation."""
    where = {"model": f"lm_studio/{TERN}", "api_base": f"{client.base_url}/v1"}
    done = subprocess.run(
        [sys.executable, "-c", SEEN, json.dumps(where)],
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_it_chats_whole_and_streamed(seen):
    assert seen["whole"] == seen["streamed"] == "You said: hello there"


def test_it_gets_structured_output(seen):
    assert json.loads(seen["structured"])["label"] in {"yes", "no"}


def test_it_forwards_json_object_and_is_refused(seen):
    name, _, message = seen["json_object"]
    assert name == "BadRequestError"
    assert "must be 'json_schema' or 'text'" in message


def test_it_does_not_recognise_an_overflow(seen):
    """LM Studio's words are not in litellm's list, so a fallback to a larger window never starts."""
    name, recognised, message = seen["too_long"]
    assert (name, recognised) == ("BadRequestError", False)
    assert "context length" in message


def test_it_takes_an_overflow_in_a_stream_for_a_network_error(seen):
    """An error event inside a 200 stream: litellm calls that a lost connection, which looks worth a retry."""
    name, recognised, message = seen["too_long_streamed"]
    assert (name, recognised) == ("MidStreamFallbackError", False)
    assert "does not fit in context length" in message
