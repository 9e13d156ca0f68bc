"""The authoring schemas: what is committed is what is made, and it says of a file what the strict schema would."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lmroute.config import authoring
from lmroute.config.breaches import Breach, diagnostics
from lmroute.config.keypaths import dotted
from lmroute.config.paths import shipped
from lmroute.config.schema import authoring_validator, check_file, schema, validator
from lmroute.diagnostics import Location

from .corpus import ROOT, document, files, group_of

FOLDER = shipped("schemas") / "v1" / "authoring"
STRICT = ("config", "provider", "routing", "task", "adapter", "telemetry", "health")
LATER = ["${other.key}", "${oc.env:NAME,default}", "a ${b} c", "???"]


def locate(path, *, key=False):
    return Location("file", override=dotted(path) + ("=" if key else ""))


def findings(group, content):
    return [told(found) for found in check_file(group, content, locate)]


@pytest.mark.parametrize("group", authoring.GROUPS)
def test_the_committed_file_is_the_one_that_is_made(group):
    committed = (FOLDER / f"{group}.schema.json").read_text(encoding="utf-8")
    assert committed == authoring.text(group), "run make schemas"


def test_no_other_file_is_committed():
    assert {file.name for file in FOLDER.iterdir()} == {f"{group}.schema.json" for group in authoring.GROUPS}


def test_making_them_writes_all(tmp_path, monkeypatch):
    (tmp_path / "v1").mkdir()
    monkeypatch.setattr(authoring, "shipped", lambda name: tmp_path)
    authoring.main()
    for file in FOLDER.iterdir():
        assert (tmp_path / "v1" / "authoring" / file.name).read_text("utf-8") == file.read_text("utf-8")


@pytest.mark.parametrize("group", authoring.GROUPS)
def test_a_schema_stands_alone(group):
    made = authoring.authoring(group)
    Draft202012Validator.check_schema(made)
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert made["$id"] == f"https://lmroute.dev/schemas/v1/authoring/{group}.schema.json"
    assert {node["$ref"] for node in nodes(made) if "$ref" in node} <= {f"#/$defs/{name}" for name in made["$defs"]}
    assert not [node for node in nodes(made) if node is not made and "$id" in node]


def nodes(node):
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


@pytest.mark.parametrize("group", STRICT)
def test_an_editor_finds_every_description_and_example(group):
    strict = {about(part) for part in nodes(schema(f"{group}.schema.json")) if "examples" in part}
    assert strict <= {about(part) for part in nodes(authoring.authoring(group)) if "examples" in part}


def about(part):
    return part["description"], json.dumps(part["examples"])


def values(document, path=()):
    """Every value of a document with its path; of secrets and of Hydra's own keys only the whole."""
    for key, value in document.items() if isinstance(document, dict) else enumerate(document):
        yield (*path, key), value
        if isinstance(value, dict | list) and key not in {"auth_token", "defaults", "hydra"}:
            yield from values(value, (*path, key))


def changed(document, path, value):
    if not path:
        return value
    copied = document.copy()
    copied[path[0]] = changed(document[path[0]], path[1:], value)
    return copied


@pytest.mark.parametrize("later", LATER[2:])
@pytest.mark.parametrize("file", [file for file in files("valid") if group_of(*file.values) != "policy_test"])
def test_any_value_but_a_secret_may_come_later(file, later):
    content = document(file)
    for path, _ in values(content):
        if path[-1] not in {"defaults", "hydra", "auth_token"}:
            assert findings(group_of(file), changed(content, path, later)) == [], path


@pytest.mark.parametrize("later", LATER[:-1])
def test_no_interpolation_stands_for_a_secret(later):
    profile = {"id": "a", "type": "openai", "auth_token": later}
    assert [(code, key) for code, key, *_ in findings("provider", profile)] == [("LMR005", "auth_token")]
    profile["auth_token"] = {"env": later}
    assert [(code, key) for code, key, *_ in findings("provider", profile)] == [("LMR103", "auth_token.env")]
    assert findings("experiment", {"providers": {"a": {"auth_token": later}}})[0][0] == "LMR005"


@pytest.mark.parametrize("wrong", [7, -1, 1.5, True, None, "two words", "", [], [7], {}, {"nope": 7}], ids=repr)
@pytest.mark.parametrize("name", ["provider/every_key", "provider/embedded", "routing/every_key", "task/every_key"])
def test_a_wrong_value_is_told_as_the_strict_schema_tells_it(name, wrong):
    file = ROOT / "valid" / f"{name}.yaml"
    group, content = group_of(file), document(file)
    for path, _ in values(content):
        broken = changed(content, path, wrong)
        found = [tuple(part.replace(", defaults", "") for part in finding) for finding in findings(group, broken)]
        assert sorted(found) == sorted(findings_of_strict(group, broken)), path


def findings_of_strict(group, content):
    breaches = map(Breach.of, validator(f"{group}.schema.json").iter_errors(content))
    return list({told(found) for breach in breaches for found in diagnostics(breach, locate)})


def told(found):
    return found.code, found.key, found.message, found.help


@pytest.mark.parametrize("group", authoring.GROUPS)
def test_an_empty_file_is_an_empty_mapping(group):
    assert findings(group, None) == findings(group, {})


def test_a_list_is_never_completed_by_another_file_and_a_mapping_is():
    policy = {"defaults": ["local_first"], "rules": [{"name": "a"}]}
    assert [key for _, key, *_ in findings("routing", policy)] == ["rules.0.use"]
    assert findings("experiment", {"providers": {"a": {"auth_token": {"optional": True}}}}) == []


@pytest.mark.parametrize("group", ["config", "experiment"])
def test_a_choice_in_the_wrong_place_is_told_where_it_goes(group):
    content = {"schema_version": 1, "provider": ["lmstudio"], "routing": "local_first", "task": "qa"}
    advice = "to choose a file, write `{0}: …` into the defaults list; in an experiment `override /{0}: …`"
    assert sorted(findings(group, content)) == [
        ("LMR102", "provider", "unknown key", advice.format("provider")),
        ("LMR103", "routing", '"local_first" is not a mapping', advice.format("routing")),
        ("LMR103", "task", '"qa" is not a mapping', advice.format("task")),
    ]


def test_a_bound_of_keys_is_the_one_its_words_are_true_for():
    for group in authoring.GROUPS:
        assert {node.get("maxProperties", 1) for node in nodes(authoring.authoring(group))} == {1}


def test_a_profile_whose_type_comes_later_is_not_taken_for_any():
    for kind in ({"type": "${kind}"}, {"type": "???"}, {"defaults": ["embedded"]}):
        assert findings("provider", {"id": "a", "model_path": "a.gguf", "locality": "embedded", **kind}) == []


def test_numbers_that_json_lacks_are_found_in_files_too():
    profile = {"id": "a", "type": "openai", "params": {"top_p": float("nan")}, "timeouts": {"idle_s": float("inf")}}
    assert [(code, key, message) for code, key, message, _ in findings("provider", profile)] == [
        ("LMR103", "params.top_p", "is not a finite number"),
        ("LMR103", "timeouts.idle_s", "is not a finite number"),
    ]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(LATER)
KEYS = st.sampled_from(["id", "type", "rules", "use", "when", "auth_token", "providers", "defaults", "env"]) | SCALARS
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


@given(st.sampled_from(authoring.GROUPS), TREES)
def test_any_data_whatever_is_judged(group, tree):
    verdict = authoring_validator(group).is_valid({} if tree is None else tree)
    assert bool(findings(group, tree)) >= (not verdict)
