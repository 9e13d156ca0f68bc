"""The schema files themselves: well formed, described, and in step with the model they decode to."""

import json
from dataclasses import fields

import pytest
from jsonschema import Draft202012Validator

from lmroute import model
from lmroute.config import breaches
from lmroute.config.paths import shipped
from lmroute.config.schema import known_keys, schema, validator
from lmroute.providers.catalog import TYPES

NAMES = sorted(file.name for file in (shipped("schemas") / "v1").glob("*.json"))
ANNOTATIONS = {"$schema", "$id", "$defs", "$ref", "title", "description", "examples", "properties", "items"}
HANDLED = {"required", "additionalProperties", "type", "enum", "oneOf", *breaches._BOUNDS}
STEERING = {"allOf", "if", "then", "else", "propertyNames", "x-lmroute-help", "x-lmroute-secret"}


def subschemas(node, conditional=False):
    """Every schema in a schema, and whether it only constrains what another one describes."""
    yield node, conditional
    for keyword, value in node.items():
        inner = conditional or keyword in {"if", "then", "else", "oneOf", "not"}
        if keyword in {"properties", "$defs"}:
            for part in value.values():
                yield from subschemas(part, inner)
        elif keyword in {"allOf", "oneOf"}:
            for part in value:
                yield from subschemas(part, inner)
        elif isinstance(value, dict):
            yield from subschemas(value, inner)


def names(cls) -> set[str]:
    return {field.name for field in fields(cls)}


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_keeps_to_its_metaschema_and_is_called_what_editors_are_told(name):
    contents = schema(name)
    Draft202012Validator.check_schema(contents)
    assert contents["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert contents["$id"] == f"https://lmroute.dev/schemas/v1/{name}"


@pytest.mark.parametrize("name", NAMES)
def test_every_property_has_a_description_and_examples_that_are_valid(name):
    for node, conditional in subschemas(schema(name)):
        for key, part in {} if conditional else node.get("properties", {}).items():
            assert part.get("description", "").endswith((".", "`")), key
            assert part.get("examples"), key


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_schema_keep_to_it(name):
    root = validator(name)
    for node, conditional in subschemas(schema(name)):
        for key, part in {} if conditional else node.get("properties", {}).items():
            rooted = root.evolve(schema={"$id": schema(name)["$id"] + "/part", "$defs": {}, **absolute(part, name)})
            for example in part["examples"]:
                assert not list(rooted.iter_errors(example)), (key, example)


def absolute(node, name):
    """A part of a schema with references that do not depend on where it stands."""
    text = json.dumps(node)
    return json.loads(
        text.replace('"$ref": "#', f'"$ref": "https://lmroute.dev/schemas/v1/{name}#').replace(
            '"$ref": "provider', '"$ref": "https://lmroute.dev/schemas/v1/provider'
        )
    )


OWN_ATTRIBUTES = {"#/$defs/ownTest", "#/$defs/ownValue"}
"""What a policy's own attributes are asked, and are, beside those that every request has."""


@pytest.mark.parametrize("name", NAMES)
def test_mappings_of_fixed_keys_take_no_others(name):
    for node, conditional in subschemas(schema(name)):
        if "properties" in node and not conditional:
            others = node["additionalProperties"]
            assert others is False or others["$ref"] in OWN_ATTRIBUTES


@pytest.mark.parametrize("name", NAMES)
def test_every_keyword_has_words_for_its_breach(name):
    for node, _ in subschemas(schema(name)):
        assert set(node) <= ANNOTATIONS | HANDLED | STEERING


@pytest.mark.parametrize("name", NAMES)
def test_a_pattern_says_what_to_write(name):
    for node, _ in subschemas(schema(name)):
        assert "pattern" not in node or node.get("x-lmroute-help")


def test_length_bounds_are_the_ones_their_words_are_true_for():
    for name in NAMES:
        for node, _ in subschemas(schema(name)):
            assert node.get("minLength", 1) == 1
            assert node.get("minProperties", 1) == 1


PROVIDER = schema("provider.schema.json")
ROUTING = schema("routing.schema.json")


@pytest.mark.parametrize(
    ("keys", "cls", "except_for"),
    [
        (PROVIDER["properties"], model.Profile, set()),
        (PROVIDER["properties"]["timeouts"]["properties"], model.Timeouts, set()),
        (PROVIDER["properties"]["cost"]["properties"], model.Cost, set()),
        (PROVIDER["properties"]["capabilities"]["properties"], model.Capabilities, set()),
        (ROUTING["properties"], model.Policy, set()),
        (ROUTING["$defs"]["rule"]["properties"], model.Rule, set()),
        (ROUTING["$defs"]["traits"]["properties"], model.Traits, set()),
        (ROUTING["$defs"]["traits"]["properties"], model.Selector, {"order", "weights"}),
        (ROUTING["$defs"]["guarantee"]["properties"], model.Guarantee, set()),
        (ROUTING["$defs"]["budget"]["properties"], model.Budget, set()),
        (ROUTING["$defs"]["callerChoice"]["properties"], model.CallerChoice, set()),
        (schema("task.schema.json")["properties"], model.TaskSpec, set()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_mapping_has_the_keys_of_what_it_decodes_to(keys, cls, except_for):
    assert set(keys) == names(cls) - except_for


@pytest.mark.parametrize(
    ("node", "enum"),
    [
        (PROVIDER["$defs"]["locality"], model.Locality),
        (PROVIDER["properties"]["capabilities"]["properties"]["json_mode"], model.JsonMode),
        (ROUTING["$defs"]["use"]["properties"]["order"], model.Order),
        (ROUTING["$defs"]["budget"]["properties"]["per"], model.Period),
        (schema("task.schema.json")["$defs"]["privacy"], model.Privacy),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_enum_has_the_members_of_the_models(node, enum):
    assert node["enum"] == [member.value for member in enum]


def test_a_rule_may_fall_back_on_every_failure_but_a_guarantee():
    listed = {model.Failure(word) for word in ROUTING["$defs"]["failure"]["enum"]}
    assert listed == set(model.Failure) - {model.Failure.GUARANTEE}


def test_a_profile_may_have_any_type_of_the_catalogue():
    assert set(PROVIDER["$defs"]["type"]["enum"]) == set(TYPES)


def test_a_predicate_knows_every_attribute_of_a_request():
    keys = set(ROUTING["$defs"]["predicate"]["properties"]) - {"all", "any", "not"}
    assert {key.replace(".", "_") for key in keys} == set(model.BUILT_IN)
    assert set(model.BUILT_IN) == names(model.Attributes) - {"own", "use", "lot"} | {"total_tokens"}


def test_the_tests_of_a_predicate_use_every_operator_and_no_other():
    tests = [node for name, node in ROUTING["$defs"].items() if name.endswith("Test")]
    assert {key for node in tests for key in node["properties"]} == {op.value for op in model.Operator}


def test_a_secret_may_come_from_every_source():
    keys = PROVIDER["$defs"]["secret"]["properties"]
    assert set(keys) == {source.value for source in model.SecretSource} | {"optional"}


def test_the_keys_of_a_place_are_found_across_files():
    assert known_keys(()) == list(schema("config.schema.json")["properties"])
    assert "endpoint" in known_keys(("providers", "anything"))
    assert known_keys(("providers", "anything", "timeouts")) == [field.name for field in fields(model.Timeouts)]
    assert "prompt_tokens" in known_keys(("routing", "rules", "3", "when", "not"))
    assert known_keys(("seed",)) == known_keys(("seed", "x")) == known_keys(("nothing",)) == []
