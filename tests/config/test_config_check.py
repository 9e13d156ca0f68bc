"""Findings of the schema check: code, key, place, message and advice, and never a secret."""

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmroute.config import decode
from lmroute.config.compose import compose
from lmroute.config.provenance import UNKNOWN
from lmroute.config.schema import check

GOOD = compose(["provider=[lmstudio,openai,embedded]"]).document


def nowhere(path, *, key=False):
    return UNKNOWN


def changed(path, value):
    document = copy.deepcopy(GOOD)
    node = document
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return document


def findings(path, value):
    return [(d.code, d.key) for d in check(changed(path, value), nowhere)]


def paths(node, path=()):
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from paths(value, (*path, key))


def test_what_we_ship_has_no_findings():
    assert check(GOOD, nowhere) == []


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        (("seed",), "zero", "LMR103"),
        (("seed",), -1, "LMR103"),
        (("schema_version",), 2, "LMR103"),
        (("adapter",), "yaml", "LMR103"),
        (("providers", "openai", "auth_token"), "sk-1", "LMR005"),
        (("providers", "openai", "auth_token"), {}, "LMR103"),
        (("providers", "openai", "auth_token"), {"env": "A", "file": "b"}, "LMR103"),
        (("providers", "openai", "auth_token", "env"), "sk-live-1", "LMR103"),
        (("providers", "openai", "auth_token", "env"), [], "LMR103"),
        (("providers", "openai", "models"), [], "LMR103"),
        (("providers", "openai", "models"), ["a", "a"], "LMR103"),
        (("providers", "openai", "locality"), "embedded", "LMR103"),
        (("providers", "openai", "model_path"), "x.gguf", "LMR103"),
        (("providers", "openai", "context_window"), 0, "LMR103"),
        (("providers", "openai", "cost", "input_per_mtok"), -0.1, "LMR103"),
        (("providers", "openai", "cost", "input_per_mtok"), float("nan"), "LMR103"),
        (("providers", "openai", "timeouts"), {"total_s": 0}, "LMR103"),
        (("providers", "openai", "timeouts"), {"total_s": float("inf")}, "LMR103"),
        (("providers", "openai", "params"), {"extra_headers": {"a": "b"}}, "LMR103"),
        (("providers", "openai", "params"), {"a": [{"api_key": "b"}]}, "LMR103"),
        (("providers", "openai", "temprature"), 1, "LMR102"),
        (("providers", "lmstudio", "endpoint"), None, "LMR103"),
        (("providers", "lmstudio", "endpoint"), "127.0.0.1:1234", "LMR103"),
        (("providers", "lmstudio", "endpoint"), "http://me:pw@host", "LMR103"),
        (("providers", "lmstudio", "endpoint"), "http://host/v1?key=1", "LMR103"),
        (("providers", "lmstudio", "endpoint"), "???", "LMR101"),
        (("providers", "embedded", "endpoint"), "http://127.0.0.1:1", "LMR103"),
        (("providers", "two words"), GOOD["providers"]["openai"], "LMR103"),
        (("routing", "rules"), [], "LMR103"),
        (("routing", "rules", 0, "priority"), "high", "LMR103"),
        (("routing", "rules", 0, "use"), ["/x"], "LMR103"),
        (("routing", "rules", 0, "use"), [{"order": "cost"}], "LMR101"),
        (("routing", "rules", 0, "use"), [{"select": {}, "order": "alphabet"}], "LMR103"),
        (("routing", "rules", 0, "fallback_on"), ["bad_luck"], "LMR103"),
        (("routing", "rules", 0, "when"), {"privacy": "private"}, "LMR103"),
        (("routing", "rules", 0, "when"), {"privacy": {}}, "LMR103"),
        (("routing", "rules", 0, "when"), {"privacy": {"eq": "secret"}}, "LMR103"),
        (("routing", "rules", 0, "when"), {"privacy": {"gt": "public"}}, "LMR102"),
        (("routing", "rules", 0, "when"), {"prompt_tokens": {"gt": "many"}}, "LMR103"),
        (("routing", "rules", 0, "when"), {"prompt_tokens": {"between": [1]}}, "LMR103"),
        (("routing", "rules", 0, "when"), {"prompt_tokens": {"between": [1, 2, 3]}}, "LMR103"),
        (("routing", "rules", 0, "when"), {"stream": {"eq": "yes"}}, "LMR103"),
        (("routing", "rules", 0, "when"), {"tags": {"contains": ["a"]}}, "LMR103"),
        (("routing", "rules", 0, "when"), {"tags": {"contains_any": "a"}}, "LMR103"),
        (("routing", "rules", 0, "when"), {"needs": {"tools": {"eq": True}}}, "LMR102"),
        (("routing", "rules", 0, "when"), {"any": []}, "LMR103"),
        (("routing", "rules", 0, "when"), {"not": [{"stream": {"eq": True}}]}, "LMR103"),
        (("task", "threads"), 0, "LMR103"),
        (("task", "tags"), ["two words"], "LMR103"),
        (("task", "name"), "sentimental", "LMR103"),
    ],
)
def test_one_mistake_is_one_finding_at_or_under_its_key(path, value, code):
    found = findings(path, value)
    assert len(found) == 1
    assert found[0][0] == code
    assert found[0][1].startswith(".".join(map(str, path)))


@pytest.mark.parametrize(
    ("path", "value", "message", "advice"),
    [
        (
            ("adapter",),
            "jsn",
            '"jsn" is not one of auto, compact, json, chat, xml, baml',
            "did you mean 'json'?",
        ),
        (("seed",), "x", '"x" is not a whole number', ""),
        (("task", "limit"), 0, "0 is less than 1", ""),
        (("providers", "openai", "tag"), [], "unknown key", "did you mean 'tags'?"),
        (
            ("providers", "openai", "api_key"),
            "",
            "unknown key",
            "secrets are references: auth_token: {env: NAME}",
        ),
        (("routing", "rules", 0, "wehn"), {}, "unknown key", "did you mean 'when'?"),
        (
            ("routing", "rules", 0, "when", "privacy"),
            "private",
            '"private" is not a mapping',
            "a bare value is not allowed: write an operator, e.g. {eq: private}",
        ),
        (("providers", "openai", "auth_token"), {}, "needs exactly one of env, file, command, keyring", None),
    ],
)
def test_a_finding_says_what_is_wrong_and_what_to_write(path, value, message, advice):
    [finding] = check(changed(path, value), nowhere)
    assert finding.message == message
    assert advice is None or finding.help == advice


def test_all_mistakes_are_found_at_once():
    document = changed(("seed",), "x")
    document["providers"]["openai"] |= {"type": "opnai", "modles": [], "context_window": "big"}
    del document["routing"]["rules"][0]["name"], document["task"]["name"]
    assert [(d.code, d.key) for d in check(document, nowhere)] == [
        ("LMR103", "providers.openai.context_window"),
        ("LMR102", "providers.openai.modles"),
        ("LMR103", "providers.openai.type"),
        ("LMR101", "routing.rules.0.name"),
        ("LMR103", "seed"),
        ("LMR101", "task.name"),
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("???"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(list(paths(GOOD))), JSON)
def test_whatever_stands_anywhere_is_either_found_or_decodes(path, value):
    document = changed(path, value)
    if not check(document, nowhere):
        stack = decode.decode(document)
        assert list(stack.providers) == list(document["providers"])
        json.dumps(document, allow_nan=False)


@given(
    st.sampled_from(["api_key", "auth_token", "password", "x_token", "clientSecret"]),
    st.sampled_from([("providers", "openai"), ("providers", "openai", "params"), ("task",)]),
    st.sampled_from([str, lambda s: [s], lambda s: {"env": s}, lambda s: {"deep": [s]}, lambda s: {"env": [s]}]),
)
@settings(max_examples=60, deadline=None)
def test_no_finding_shows_what_stands_under_a_secret_name(name, place, wrapped):
    document = changed(("providers", "openai", "params"), {})
    node = document
    for step in place:
        node = node[step]
    node[name] = wrapped("xyzzy-42")
    found = check(document, nowhere)
    assert found
    assert "xyzzy-42" not in "\n".join(map(str, found))
