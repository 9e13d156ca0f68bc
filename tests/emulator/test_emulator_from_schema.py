"""The scripted model's instances of schemas, checked by an independent validator."""

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.emulator.backends.from_schema import instance_of
from lmroute.emulator.backends.schemas import Unsupported

WORDS = st.sampled_from(["name", "score", "a/b", "tilde~", "items", "ünï", "x y"])
SMALL = st.integers(-50, 50)


@st.composite
def numbers(draw, kind):
    schema = {"type": kind}
    low, width = draw(SMALL), draw(st.integers(4, 60))
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = low + width
    if draw(st.booleans()):
        schema["multipleOf"] = draw(st.integers(1, 2))
    return schema


@st.composite
def strings(draw):
    schema = {"type": "string"}
    least = draw(st.integers(0, 30))
    if draw(st.booleans()):
        schema["minLength"] = least
    if draw(st.booleans()):
        schema["maxLength"] = least + draw(st.integers(0, 30))
    return schema


def scalars():
    values = st.text(max_size=5) | SMALL | st.booleans() | st.none()
    return st.one_of(
        strings(),
        numbers("integer"),
        numbers("number"),
        st.sampled_from([{"type": "boolean"}, {"type": "null"}, {}, True, {"type": ["null", "string"]}]),
        st.lists(values, min_size=1, max_size=4).map(lambda options: {"enum": options}),
        values.map(lambda value: {"const": value}),
        st.sampled_from(["date", "date-time", "email", "uuid"]).map(lambda f: {"type": "string", "format": f}),
    )


@st.composite
def objects(draw, children):
    properties = draw(st.dictionaries(WORDS, children, max_size=4))
    schema = {"type": "object", "properties": properties, "required": draw(st.lists(WORDS, unique=True))}
    if draw(st.booleans()):
        schema["required"] = [name for name in schema["required"] if name in properties]
        schema["additionalProperties"] = False
    elif draw(st.booleans()):
        schema["additionalProperties"] = draw(children)
    return schema


@st.composite
def arrays(draw, children):
    schema = {"type": "array", "items": draw(children)}
    least = draw(st.integers(0, 3))
    if draw(st.booleans()):
        schema["minItems"] = least
    if draw(st.booleans()):
        schema["maxItems"] = least + draw(st.integers(0, 2))
    if draw(st.booleans()):
        schema["prefixItems"] = draw(st.lists(children, min_size=1, max_size=2))
    return schema


SCHEMAS = st.recursive(
    scalars(),
    lambda children: (
        objects(children)
        | arrays(children)
        | st.lists(children, min_size=1, max_size=3).map(lambda options: {"anyOf": options})
    ),
    max_leaves=12,
)


@given(SCHEMAS, st.text())
def test_an_instance_satisfies_its_schema(schema, text):
    value = instance_of(schema, text)

    jsonschema.validate(
        json.loads(json.dumps(value)),
        schema,
        cls=jsonschema.Draft202012Validator,
        format_checker=jsonschema.FormatChecker(),
    )


@given(SCHEMAS, WORDS, st.text())
def test_references_into_definitions_are_followed(schema, name, text):
    pointer = name.replace("~", "~0").replace("/", "~1").replace(" ", "%20")
    whole = {
        "$defs": {name: schema},
        "type": "object",
        "properties": {"one": {"$ref": f"#/$defs/{pointer}"}},
        "required": ["one"],
    }

    jsonschema.validate(instance_of(whole, text), whole, cls=jsonschema.Draft202012Validator)


@given(SCHEMAS, st.text())
def test_the_same_text_gets_the_same_instance(schema, text):
    assert instance_of(schema, text) == instance_of(schema, text)


def test_an_enum_is_chosen_by_the_text():
    schema = {"enum": ["positive", "negative", "neutral"]}

    chosen = {instance_of(schema, f"text {number}") for number in range(50)}

    assert chosen == {"positive", "negative", "neutral"}


def test_what_is_optional_and_recursive_ends():
    chain = instance_of({"type": "object", "properties": {"next": {"$ref": "#"}}}, "text")

    assert 2 < json.dumps(chain).count("next") < 10


def test_places_are_chosen_apart():
    schema = {"properties": {str(n): {"type": "boolean"} for n in range(30)}}

    assert set(instance_of(schema, "text").values()) == {True, False}


TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "label": {"type": "string"},
                "left": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["label", "left", "children"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}


def test_a_recursive_schema_ends_and_is_not_empty():
    tree = instance_of(TREE, "text")

    jsonschema.validate(tree, TREE)
    assert tree["left"]["label"].startswith("label ")
    assert tree["children"]


UNIQUE = {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 3, "uniqueItems": True}
BOTH = {"allOf": [{"properties": {"a": {"type": "null"}}}, {"properties": {"b": {"const": 1}}}]}
SAME = {"allOf": [{"properties": {"a": {"minimum": 1}}}, {"properties": {"a": {"maximum": 1}}, "required": ["a"]}]}
ONE = {"oneOf": [{"properties": {"kind": {"const": kind}}, "required": ["kind"]} for kind in "ab"]}
FEW = {"type": "object", "properties": {"a": True, "b": True}, "required": ["b"], "maxProperties": 1}


@pytest.mark.parametrize(
    ("schema", "check"),
    [
        ({"type": "object", "additionalProperties": {"type": "integer"}}, lambda v: list(v) == ["item"]),
        ({"type": "array", "items": {"type": "string"}}, lambda v: len(v) == 1),
        ({"type": ["null", "integer"]}, lambda v: isinstance(v, int)),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, lambda v: isinstance(v, str)),
        ({"minimum": 3}, lambda v: v >= 3),
        ({"type": "number"}, lambda v: 0 < v < 1),
        ({"allOf": [{"type": "integer", "minimum": 7}, True, {"maximum": 7}]}, lambda v: v == 7),
        ({"allOf": [{"type": "integer", "minimum": 3, "maximum": 9}, {"minimum": 7, "maximum": 7}]}, lambda v: v == 7),
        ({"allOf": [{"type": "integer", "minimum": 7, "maximum": 7}, {"minimum": 3, "maximum": 9}]}, lambda v: v == 7),
        ({"allOf": [{"type": "object", "required": ["a"]}, {"required": ["a", "b"]}]}, lambda v: list(v) == ["a", "b"]),
        ({"type": "integer", "multipleOf": 0.5}, lambda v: v == 0),
        ({"type": "array", "prefixItems": [{"const": 1}], "items": False}, lambda v: v == [1]),
        ({"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5}, lambda v: v == 4),
        ({"type": "integer", "exclusiveMinimum": 4, "maximum": 7, "multipleOf": 2}, lambda v: v == 6),
        ({"type": "integer", "minimum": 2.5, "exclusiveMaximum": 6, "multipleOf": 3}, lambda v: v == 3),
        ({"type": "number", "minimum": 2, "maximum": 2}, lambda v: v == 2),
        (UNIQUE, lambda v: sorted(v) == [1, 2, 3]),
        (BOTH, lambda v: v == {"a": None, "b": 1}),
        (SAME, lambda v: v["a"] == 1),
        (ONE, lambda v: v["kind"] in "ab"),
        (FEW, lambda v: list(v) == ["b"]),
    ],
)
def test_instances_are_useful_as_well_as_valid(schema, check):
    value = instance_of(schema, "text")

    jsonschema.validate(value, schema, cls=jsonschema.Draft202012Validator)
    assert check(value)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "object", "properties": {"a": {"pattern": "x"}}}, r"\$/a: 'pattern' is not supported"),
        ({"type": "object", "properties": {"a": False}}, r"\$/a: nothing is allowed here"),
        (False, r"\$: nothing is allowed here"),
        ({"allOf": [False]}, "nothing is allowed here"),
        ({"type": "text"}, "unknown type 'text'"),
        ({"$ref": "#/$defs/gone"}, "'#/\\$defs/gone' leads nowhere"),
        ({"$ref": "https://example.com/schema"}, "only references inside the schema"),
        ({"enum": []}, "nothing to choose from"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "no number was found"),
        ({"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 1}, "no number was found"),
        ({"type": "string", "format": "uuid", "maxLength": 5}, "no uuid of that length"),
        ({"type": "array", "items": {"type": "null"}, "minItems": 2, "uniqueItems": True}, "no value is left"),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "two different 'type' at once"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "too deep"),
        ({"properties": 3}, "malformed"),
        ({"anyOf": 3}, "malformed"),
        (
            {"allOf": [{"additionalProperties": False}, {"properties": {"a": True}}]},
            "'additionalProperties' rules out",
        ),
    ],
)
def test_what_cannot_be_made_is_said(schema, message):
    with pytest.raises(Unsupported, match=message):
        instance_of(schema, "text")


STEP = {
    "type": "object",
    "properties": {
        "next_thought": {"type": "string"},
        "next_tool_name": {"enum": ["look_up", "add", "finish"]},
        "next_tool_args": {"type": "object", "additionalProperties": True},
    },
    "required": ["next_thought", "next_tool_name", "next_tool_args"],
}


@given(st.text())
def test_an_agent_uses_a_tool_first_and_then_finishes(question):
    first = instance_of(STEP, f"{question}\nnext_tool_name, and you get an observation")
    then = instance_of(STEP, f"{question}\n[[ ## observation_0 ## ]]\nnothing found")

    assert first["next_tool_name"] in {"look_up", "add"}
    assert then["next_tool_name"] == "finish"


@pytest.mark.parametrize("options", [["finish"], ["look_up"]])
def test_an_agent_without_a_choice_takes_what_there_is(options):
    schema = {"properties": {"next_tool_name": {"enum": options}}}

    for text in ("", "observation_3"):
        assert instance_of(schema, text) == {"next_tool_name": options[0]}


def test_other_enums_may_have_a_finish_too():
    schema = {"properties": {"race": {"enum": ["start", "finish"]}}}

    assert {instance_of(schema, str(n))["race"] for n in range(20)} == {"start", "finish"}
