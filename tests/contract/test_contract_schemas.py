"""The schemas of LM Studio's answers: described, illustrated, open to newer releases, and closed to what is wrong."""

import copy
import json
from functools import cache
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from lmroute.config.paths import shipped
from lmroute.providers import contract

ROOT = Path(__file__).with_name("golden")
NAMES = contract.names()
APIS = {"openai", "v0", "v1", "responses", "messages", "lms"}
FREE = {"logprobs", "arguments", "metadata", "annotations", "tools", "options", "input"}
"""What holds a client's or an engine's own things."""
KINDS = (None, True, 7, 0.5, "a text", [None], {"surprise": 1})


@cache
def goldens(name):
    files = sorted(file for file in (ROOT / name).glob("*.json") if not file.name.endswith(".ask.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def least(name):
    return json.loads((ROOT / name / "least.json").read_text(encoding="utf-8"))


def described(node):
    """Every schema of a property, with the property's name."""
    for key, part in node.get("properties", {}).items():
        yield key, part
        yield from described(part)
    for part in node.get("$defs", {}).values():
        yield from described(part)
    if isinstance(node.get("items"), dict):
        yield from described(node["items"])


def places(value, path=()):
    """Every place in a body below its root: the path to it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        if key not in FREE:
            yield from places(part, (*path, key))


def shown(path):
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def planted(body, path, value):
    changed = copy.deepcopy(body)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return changed


def dropped(body, path):
    changed = copy.deepcopy(body)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    return changed


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_one_and_says_what_it_is(name):
    schema = contract.schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"https://lmroute.dev/schemas/lmstudio/{name}.schema.json"
    assert all(schema[key] for key in ("title", "description", "x-lmroute-answers"))
    since = schema["x-lmroute-since"]
    assert since["api"] in APIS
    assert since["release"].startswith("0.")
    assert since["told_by"]


@pytest.mark.parametrize("name", NAMES)
def test_every_property_is_described_and_its_examples_are_right(name):
    for key, node in described(contract.schema(name)):
        assert node["description"].endswith((".", "…")), key
        assert node["examples"], key
        judge = Draft202012Validator({**contract.schema(name)}, registry=contract._registry()).evolve(schema=node)
        for example in node["examples"]:
            assert not list(judge.iter_errors(example)), (key, example)


@pytest.mark.parametrize("name", NAMES)
def test_a_newer_release_may_add_keys_anywhere(name):
    assert "additionalProperties" not in json.dumps(contract.schema(name))
    for body in goldens(name):
        assert contract.problems(name, grown(body)) == []


def grown(value):
    if isinstance(value, dict):
        return {**{key: grown(part) for key, part in value.items()}, "brand_new": {"of": ["a later release"]}}
    return [grown(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_is_gone_is_missed(name):
    body = least(name)
    for path in places(body):
        if isinstance(path[-1], str) and not FREE & set(path[:-1]):
            told = contract.problems(name, dropped(body, path))
            assert f"{shown(path)}: is missing" in told


@pytest.mark.parametrize("name", NAMES)
def test_a_value_of_another_type_is_seen_where_it_stands(name):
    for body in goldens(name):
        for path in places(body):
            if path[-1] not in FREE:
                told = (line for value in KINDS for line in contract.problems(name, planted(body, path, value)))
                assert any(line.startswith(shown(path)) for line in told), path


@pytest.mark.parametrize(
    ("name", "body", "place"),
    [
        (
            "responses",
            {**least("responses"), "output": [{"type": "message", "role": "assistant"}]},
            "output[0].content",
        ),
        ("response_event", {"type": "response.completed"}, "response"),
        ("messages", {**least("messages"), "content": [{"type": "text"}]}, "content[0].text"),
        (
            "messages",
            {**least("messages"), "content": [{"type": "tool_use", "id": "1", "name": "x"}]},
            "content[0].input",
        ),
        ("messages_event", {"type": "message_start"}, "message"),
        ("messages_event", {"type": "content_block_delta", "index": 0}, "delta"),
        ("messages_event", {"type": "error", "error": {}}, "error.message"),
        ("native_chat", {**least("native_chat"), "output": [{"type": "message"}]}, "output[0].content"),
        ("native_chat_event", {"type": "message.delta"}, "content"),
        ("native_chat_event", {"type": "model_load.progress", "model_instance_id": "x"}, "progress"),
        ("native_chat_event", {"type": "chat.end", "result": {"output": [], "stats": {}}}, "result.model_instance_id"),
        ("download", {"status": "downloading"}, "job_id"),
        ("lms_server_status", {"running": True}, "port"),
        ("lms_daemon_status", {"status": "running", "isDaemon": True}, "pid"),
    ],
)
def test_what_only_one_kind_of_answer_needs_is_missed_there(name, body, place):
    assert f"{place}: is missing" in contract.problems(name, body)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("body", [None, 7, "text", True])
def test_a_body_that_is_none_is_refused(name, body):
    (line,) = contract.problems(name, body)
    assert line.startswith("the body: ")


def test_the_schemas_are_shipped():
    assert {file.name for file in (shipped("schemas") / "lmstudio").iterdir()} == {f"{n}.schema.json" for n in NAMES}
