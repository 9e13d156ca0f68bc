"""An instance of a JSON Schema, chosen by a hash of a text: the same text gets the same instance.

One rule lets agents end: where a ``next_tool_name`` is to be chosen and ``finish`` is among the choices, as DSPy's
ReAct has it, another one is chosen first, and ``finish`` once the text shows what a tool said (``observation_0``).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from lmroute.emulator.backends import bounds
from lmroute.emulator.backends.schemas import Unsupported, is_flat, is_something, merged, target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

RICH_DEPTH = 8
"""Deeper than this, only what is required is filled in, so that recursive schemas end."""
MAX_DEPTH = 32

_UNSUPPORTED = {
    "pattern",
    "patternProperties",
    "propertyNames",
    "minProperties",
    "contains",
    "not",
    "if",
    "then",
    "else",
} | {
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "unevaluatedProperties",
    "unevaluatedItems",
    "$dynamicRef",
}
_OBSERVATION = re.compile(r"\bobservation_\d")
_FORMATS = {
    "date": "2026-01-31",
    "time": "12:30:00Z",
    "date-time": "2026-01-31T12:30:00Z",
    "duration": "P3D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "6f1f8a52-3c1e-4c0e-9d0a-2b7f5f6c1d11",
}
_TYPE_HINTS = (
    ("object", ("properties", "required", "additionalProperties")),
    ("array", ("items", "prefixItems", "minItems", "maxItems")),
    ("string", ("minLength", "maxLength", "format")),
    ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
)


def instance_of(schema: dict[str, Any] | bool, text: str) -> Any:
    """A value that satisfies ``schema``. Of ``oneOf`` one branch is satisfied, others are not looked at.

    Raises:
        Unsupported: when a keyword is beyond this generator or the schema contradicts itself.
    """
    try:
        return _Maker(schema, text).value(schema, _Place())
    except (TypeError, AttributeError, ValueError, OverflowError) as error:
        raise Unsupported(f"it is malformed ({error})") from error


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in the instance, by the keys that lead to it."""

    keys: tuple[str, ...] = ()
    steps: int = 0

    def inside(self, key: str) -> _Place:
        return _Place((*self.keys, key), self.steps + 1)

    def again(self) -> _Place:
        """The same place, one step further in the schema."""
        return _Place(self.keys, self.steps + 1)

    @property
    def deep(self) -> bool:
        return self.steps > RICH_DEPTH

    @property
    def path(self) -> str:
        return "/".join(("$", *self.keys))


class _Maker:
    def __init__(self, root: dict[str, Any] | bool, text: str) -> None:
        self._root = root
        self._observed = bool(_OBSERVATION.search(text))
        self._seed = sha256(text.encode("utf-8", "surrogatepass")).digest()
        self._by_type: dict[str, Callable[[dict[str, Any], _Place], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": partial(self._numeric, bounds.integer),
            "number": partial(self._numeric, bounds.real),
            "boolean": lambda _, place: self._number_of(place) % 2 == 0,
            "null": lambda *_: None,
        }

    def value(self, schema: Any, place: _Place) -> Any:
        """A value of ``schema`` for ``place``."""
        if schema is True:
            schema = {}
        if not isinstance(schema, dict) or place.steps > MAX_DEPTH:
            raise Unsupported(f"{place.path}: {'too deep' if isinstance(schema, dict) else 'nothing is allowed here'}")
        if beyond := sorted(_UNSUPPORTED & schema.keys()):
            raise Unsupported(f"{place.path}: '{beyond[0]}' is not supported")
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._pick(self._next_tools(schema["enum"], place), place)
        for keyword in ("$ref", "allOf", "anyOf", "oneOf"):
            if keyword in schema:
                rest = {name: value for name, value in schema.items() if name != keyword}
                return self._composed(keyword, schema[keyword], rest, place)
        return self._make(self._type(schema, place), schema, place)

    def _composed(self, keyword: str, operand: Any, rest: dict[str, Any], place: _Place) -> Any:
        if keyword == "$ref":
            parts = [target(self._root, operand, place.path)]
        elif keyword == "allOf":
            parts = list(operand)
        else:
            parts = [self._branch(operand, place)]
        return self.value(merged([rest, *parts], place.path), place.again())

    def _make(self, kind: str, schema: dict[str, Any], place: _Place) -> Any:
        if kind not in self._by_type:
            raise Unsupported(f"{place.path}: unknown type '{kind}'")
        return self._by_type[kind](schema, place)

    def _next_tools(self, options: Sequence[Any], place: _Place) -> Sequence[Any]:
        """The options, or what an agent may choose from now: see the rule at the top."""
        if place.keys[-1:] != ("next_tool_name",) or "finish" not in options:
            return options
        return ["finish"] if self._observed else [option for option in options if option != "finish"] or options

    def _branch(self, options: Sequence[Any], place: _Place) -> Any:
        """One option: something rather than null, and something flat where it gets deep."""
        preferred = is_flat if place.deep else is_something
        return self._pick([option for option in options if preferred(option)] or options, place)

    def _type(self, schema: dict[str, Any], place: _Place) -> str:
        kinds = schema.get("type")
        if isinstance(kinds, list):
            scalars = [kind for kind in kinds if kind not in {"object", "array", "null"}]
            return str(self._pick((scalars if place.deep else []) or [k for k in kinds if k != "null"] or kinds, place))
        if kinds is not None:
            return str(kinds)
        return next((kind for kind, hints in _TYPE_HINTS if schema.keys() & set(hints)), "string")

    def _object(self, schema: dict[str, Any], place: _Place) -> dict[str, Any]:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        others = schema.get("additionalProperties", True)
        names = [name for name in properties if name in required or not place.deep]
        names += [name for name in required if name not in properties]
        if not properties and not names and isinstance(others, dict) and not place.deep:
            names = ["item"]
        if len(names) > schema.get("maxProperties", len(names)):
            names = [name for name in names if name in required]
        return {name: self.value(properties.get(name, others), place.inside(name)) for name in names}

    def _array(self, schema: dict[str, Any], place: _Place) -> list[Any]:
        first, rest = schema.get("prefixItems", []), schema.get("items", True)
        least = schema.get("minItems", 0)
        wanted = max(least, len(first)) if place.deep or first else max(least, 1)
        count = min(wanted, schema.get("maxItems", wanted))
        items: list[Any] = []
        for index in range(count):
            item = first[index] if index < len(first) else rest
            if item is False and index >= least:
                break
            items.append(self._item(item, place.inside(str(index)), items if schema.get("uniqueItems") else ()))
        return items

    def _item(self, schema: Any, place: _Place, taken: Iterable[Any]) -> Any:
        """A value that is not ``taken`` yet."""
        seen = {json.dumps(value, sort_keys=True) for value in taken}
        for attempt in range(64):
            value = self.value(schema, place if not attempt else _Place((*place.keys, str(attempt)), place.steps))
            if json.dumps(value, sort_keys=True) not in seen:
                return value
        raise Unsupported(f"{place.path}: no value is left for 'uniqueItems'")

    def _string(self, schema: dict[str, Any], place: _Place) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        if sample := _FORMATS.get(schema.get("format", "")):
            if not least <= len(sample) <= (len(sample) if most is None else most):
                raise Unsupported(f"{place.path}: no {schema['format']} of that length is known")
            return sample
        name = next((key for key in reversed(place.keys) if not key.isdigit()), "answer")
        return f"{name} {self._number_of(place) % 0x10000:04x}".ljust(least, ".")[:most]

    def _numeric(self, choose: Callable[[dict[str, Any], int], Any], schema: dict[str, Any], place: _Place) -> Any:
        value = choose(schema, self._number_of(place))
        if value is None:
            raise Unsupported(f"{place.path}: no number was found within the bounds")
        return value

    def _pick(self, options: Sequence[Any], place: _Place) -> Any:
        if not options:
            raise Unsupported(f"{place.path}: there is nothing to choose from")
        return options[self._number_of(place) % len(options)]

    def _number_of(self, place: _Place) -> int:
        """A number that depends on the text and the place only."""
        return int.from_bytes(sha256(self._seed + place.path.encode()).digest()[:8], "big")
