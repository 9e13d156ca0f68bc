"""What LM Studio answers, held to the JSON Schemas of ``schemas/lmstudio``.

    for line in contract.problems("models_v1", body):
        print(line)  # models[0].loaded_instances[0].id: 7 is not a text

The schemas ask for what every recorded release sends and leave everything else open, so that a newer release with more
keys has no problem. ``x-lmroute-since`` in each says from which API level on there is such an answer.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from lmroute.config.paths import shipped
from lmroute.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jsonschema.exceptions import ValidationError

Schema: TypeAlias = dict[str, Any]

_MOST = 5
"""So many lines say that an answer has another shape; more say it no better."""
_LONGEST = 60
_WHOLE = "the body"
_SUFFIX = ".schema.json"
_KINDS = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
_BOUNDS = {
    "minimum": "is less than {}",
    "maximum": "is more than {}",
    "minItems": "has fewer than {} items",
    "minLength": "is empty",
}


def problems(name: str, body: Any) -> list[str]:
    """Where a body that was read from JSON breaks a schema: a few short lines, none when it keeps to it.

    Args:
        name: of a schema, ``models_v1``; see ``names``.

    Raises:
        KeyError: there is no such schema.
    """
    found = sorted(_validator(name).iter_errors(body), key=_position)
    lines = list(dict.fromkeys(line for error in found for line in _lines(error)))
    kept = lines if len(lines) <= _MOST else [*lines[: _MOST - 1], f"and {len(lines) - _MOST + 1} more"]
    return list(map(one_line, kept))


@cache
def names() -> tuple[str, ...]:
    """The names of the schemas: ``chat_chunk``, ``chat_completion`` …"""
    return tuple(sorted(file.name.removesuffix(_SUFFIX) for file in _folder().glob(f"*{_SUFFIX}")))


@cache
def schema(name: str) -> Schema:
    """A schema, parsed.

    Raises:
        KeyError: there is none of that name.
    """
    if name not in names():
        raise KeyError(f"no schema {name!r} in schemas/lmstudio; there are {', '.join(names())}")
    contents: Schema = json.loads((_folder() / f"{name}{_SUFFIX}").read_text(encoding="utf-8"))
    return contents


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(schema(name), registry=_registry())


@cache
def _registry() -> Registry[Any]:
    schemas = map(schema, names())
    return Registry[Any]().with_resources((found["$id"], Resource.from_contents(found)) for found in schemas)


def _folder() -> Path:
    return shipped("schemas") / "lmstudio"


def _position(error: ValidationError) -> list[tuple[bool, int, str]]:
    """Sorts as the body reads: indices by number, keys by name."""
    return [(False, at, "") if isinstance(at, int) else (True, 0, at) for at in error.absolute_path]


def _lines(error: ValidationError) -> Iterator[str]:
    expected: Any = error.validator_value
    found: Any = error.instance
    place, value = _place(error), _shown(found)
    match str(error.validator):
        case "required":
            yield from (f"{_below(place, key)}: is missing" for key in expected if key not in found)
        case "type":
            kinds = [expected] if isinstance(expected, str) else expected
            yield f"{place or _WHOLE}: {value} is not {' or '.join(_KINDS[kind] for kind in kinds)}"
        case keyword:
            said = _BOUNDS.get(keyword, "is not {}").format(_shown(expected))
            yield f"{place or _WHOLE}: {value} {said}"


def _place(error: ValidationError) -> str:
    """Where it is: ``models[0].key``; empty for the body itself."""
    place = ""
    for step in error.absolute_path:
        place = f"{place}[{step}]" if isinstance(step, int) else _below(place, step)
    return place


def _below(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _shown(value: Any) -> str:
    """A value of somebody else's, short and without secrets."""
    return one_line(json.dumps(value, ensure_ascii=False), _LONGEST)
