"""Schemas v1 against the snapshot of what was promised: they may take more than it, never less.

After a change that takes more, ``python tests/schemas/strictness.py`` puts it into the promise.
"""

import copy
import json

import pytest

from lmroute.config.paths import shipped

from .corpus import ROOT
from .strictness import read, stricter

PROMISED = json.loads((ROOT / "snapshot.json").read_text(encoding="utf-8"))
CURRENT = read(shipped("schemas") / "v1")


def test_the_schemas_take_everything_that_was_promised():
    assert stricter(PROMISED, CURRENT) == []


def test_everything_that_they_take_is_promised():
    advice = "the schemas take more than the snapshot says: run python tests/schemas/strictness.py"
    assert stricter(CURRENT, PROMISED) == [], advice


def provider(schemas):
    return schemas["provider.schema.json"]


def routing(schemas):
    return schemas["routing.schema.json"]


def server_types(schemas):
    """The types of provider that need an address."""
    return provider(schemas)["allOf"][0]["if"]["properties"]["type"]["enum"]


def rule(schemas):
    return routing(schemas)["$defs"]["rule"]


TIGHTER = {
    "a property is gone": lambda s: provider(s)["properties"].pop("params"),
    "a property is gone, others are taken": lambda s: (
        provider(s)["properties"].pop("params"),
        provider(s).update(additionalProperties={"type": "string"}),
    ),
    "an enum member is gone": lambda s: provider(s)["$defs"]["type"]["enum"].remove("vllm"),
    "an enum where anything went": lambda s: routing(s)["properties"]["description"].update(enum=["a"]),
    "another constant": lambda s: s["config.schema.json"]["properties"]["schema_version"].update(const=2),
    "one more is required": lambda s: rule(s)["required"].append("when"),
    "required, where nothing was": lambda s: provider(s)["properties"]["cost"].update(required=["input_per_mtok"]),
    "required under a condition": lambda s: provider(s)["allOf"][0]["then"]["required"].append("locality"),
    "a condition for more cases": lambda s: server_types(s).append("openai"),
    "one more condition": lambda s: provider(s)["allOf"].append({"if": {}, "then": {"required": ["tags"]}}),
    "an else": lambda s: provider(s)["allOf"][0].update({"else": {"properties": {"endpoint": {"type": "null"}}}}),
    "no further keys": lambda s: provider(s)["$defs"]["params"].update(additionalProperties=False),
    "further keys of one type": lambda s: provider(s)["$defs"]["params"].update(additionalProperties={"type": "null"}),
    "a type is gone": lambda s: provider(s)["properties"]["endpoint"].update(type="string"),
    "a type where any went": lambda s: provider(s)["$defs"]["param"].update(type="string"),
    "whole numbers only": lambda s: provider(s)["$defs"]["seconds"].update(type="integer"),
    "a higher minimum": lambda s: routing(s)["$defs"]["count"].update(minimum=1),
    "a minimum where there was none": lambda s: rule(s)["properties"]["priority"].update(minimum=0),
    "a lower maximum": lambda s: provider(s)["$defs"]["seconds"].update(maximum=60),
    "more items": lambda s: routing(s)["properties"]["rules"].update(minItems=2),
    "fewer items": lambda s: routing(s)["properties"]["rules"].update(maxItems=50),
    "no item twice": lambda s: rule(s)["properties"]["use"].update(uniqueItems=True),
    "other items": lambda s: provider(s)["properties"]["models"]["items"].update(pattern="^[a-z]+$"),
    "another pattern": lambda s: provider(s)["$defs"]["name"].update(pattern="^[a-z]+$"),
    "other names of keys": lambda s: provider(s)["properties"]["timeouts"].update(propertyNames={"maxLength": 5}),
    "a source of secrets is gone": lambda s: provider(s)["$defs"]["secret"]["then"]["oneOf"].pop(),
    "another definition": lambda s: rule(s)["properties"]["name"].update({"$ref": "provider.schema.json#/$defs/tags"}),
    "more beside a reference": lambda s: rule(s)["properties"]["when"].update(minProperties=1),
    "an unknown keyword": lambda s: provider(s)["properties"]["endpoint"].update(format="uri"),
    "another $id": lambda s: provider(s).update({"$id": "https://lmroute.dev/schemas/v2/provider.schema.json"}),
    "a file is gone": lambda s: s.pop("task.schema.json"),
}
LOOSER = {
    "nothing": lambda s: None,
    "one more property": lambda s: provider(s)["properties"].update(region={"type": "string"}),
    "one more enum member": lambda s: provider(s)["$defs"]["locality"]["enum"].append("orbit"),
    "one more type of server that needs an address": lambda s: (
        provider(s)["$defs"]["type"]["enum"].append("tgi"),
        server_types(s).append("tgi"),
    ),
    "one more source of secrets": lambda s: (
        provider(s)["$defs"]["secret"]["properties"].update(vault={"type": "string"}),
        provider(s)["$defs"]["secret"]["then"]["oneOf"].append({"required": ["vault"]}),
    ),
    "one less is required": lambda s: rule(s)["required"].remove("name"),
    "a condition is gone": lambda s: provider(s)["allOf"].pop(),
    "any further keys": lambda s: provider(s).pop("additionalProperties"),
    "one more type": lambda s: provider(s)["properties"]["endpoint"]["type"].append("integer"),
    "all numbers": lambda s: routing(s)["$defs"]["count"].update(type="number"),
    "no pattern": lambda s: provider(s)["$defs"]["name"].pop("pattern"),
    "a lower minimum": lambda s: s["task.schema.json"]["properties"]["limit"].update(minimum=0),
    "a higher maximum": lambda s: provider(s)["$defs"]["seconds"].update(maximum=864000),
    "items twice": lambda s: provider(s)["$defs"]["tags"].pop("uniqueItems"),
    "one more file": lambda s: s.update({"another.schema.json": {"$id": "x", "type": "object"}}),
}


@pytest.mark.parametrize("change", TIGHTER.values(), ids=TIGHTER.keys())
def test_a_schema_that_takes_less_is_noticed(change):
    schemas = copy.deepcopy(PROMISED)
    change(schemas)
    assert stricter(PROMISED, schemas)


@pytest.mark.parametrize("change", LOOSER.values(), ids=LOOSER.keys())
def test_a_schema_that_takes_more_is_no_break(change):
    schemas = copy.deepcopy(PROMISED)
    change(schemas)
    assert stricter(PROMISED, schemas) == []


BINDING = {"required", "enum", "const", "pattern", "minimum", "exclusiveMinimum", "maximum", "minItems", "maxItems"}
BINDING |= {"minLength", "minProperties", "uniqueItems", "oneOf", "not", "additionalProperties", "type"}


def bindings(node, path=()):
    """Where a keyword stands whose loss takes nothing from anybody, so that its return is a break."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        if key in BINDING and path[-1] not in {"properties", "$defs"}:
            yield (*path, key)
        if key not in {"if", "oneOf", "not"}:
            yield from bindings(value, (*path, key))


@pytest.mark.parametrize("path", list(bindings(PROMISED)), ids=lambda path: "/".join(map(str, path)))
def test_a_keyword_is_noticed_when_it_is_new_and_not_when_it_is_gone(path):
    """Wherever it stands, in whatever file and behind whatever references."""
    without = copy.deepcopy(PROMISED)
    node = without
    for step in path[:-1]:
        node = node[step]
    del node[path[-1]]
    assert stricter(without, PROMISED)
    assert stricter(PROMISED, without) == []
