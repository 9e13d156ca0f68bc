"""The schemas of what is written: one file of a group, before Hydra composes it.

A file may say less and other things than what it is composed to: an interpolation or ``???`` for a value, a
``defaults`` list, half a mapping that another file completes. ``python -m lmroute.config.authoring`` makes these
schemas from the strict ones and writes them to ``schemas/v1/authoring``, each sufficient by itself, for editors
and for every checker of JSON Schema. Where a value is written out, a breach is the strict schema's own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from lmroute.config import packages
from lmroute.config.paths import shipped
from lmroute.config.schema import Schema, schema

GROUPS = ("config", *packages.GROUPS)
"""The kinds of files: config.yaml itself, and the files of each group."""

_ABOUT = ("description", "examples")
_ASKING = ("required", "oneOf")
"""The keywords that ask for keys, which another file may have."""
_LATER: Schema = {"$ref": "#/$defs/later"}
_LATER_TEXT: Schema = {"type": "string", "pattern": r"\$\{.+\}|^\?\?\?$"}
"""A text with an interpolation, or Hydra's ``???``: its value comes later."""
_OPEN: Schema = {"const": "???"}

_DEFAULTS: Schema = {
    "description": "Hydra's list of the files this one builds on; `_self_` is the place of this file's own keys.",
    "examples": [["_self_", {"routing": "local_first"}], [{"override /routing": "cloud_first"}, "_self_"]],
    "type": "array",
    "items": {
        "type": ["string", "object"],
        "x-lmroute-help": "write a file's name, or group: name",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": {"type": ["string", "array", "null"], "items": {"type": "string"}},
    },
}
_HYDRA: Schema = {
    "description": "Settings of Hydra itself: run folders, sweeps, launchers.",
    "examples": [{"sweeper": {"params": {"routing": "local_first,cost_first"}}}],
    "type": "object",
}
_EXPERIMENT = {
    "title": "Experiment",
    "description": "Choices and settings for `+experiment=name`. The first line of its file is `# @package _global_`.",
}


def authoring(group: str) -> Schema:
    """The schema of one file of a group; ``config`` is config.yaml itself."""
    name = "config.schema.json" if group == "experiment" else f"{group}.schema.json"
    strict, bundle = schema(name), _Bundle()
    root = bundle.part(strict, _Place(name))
    if group in {"config", "experiment"}:
        extra = {"defaults": _DEFAULTS, "hydra": _HYDRA}
        asked: Schema = {"required": ["schema_version"]} if group == "config" else {}
    else:
        extra = {"defaults": _DEFAULTS}
        # What it builds on may have the rest.
        asked = {"allOf": [*root.get("allOf", ()), {"if": {"required": ["defaults"]}, "else": _asked(strict, name)}]}
    return {
        **root,
        "$id": f"https://lmroute.dev/schemas/v1/authoring/{group}.schema.json",
        **(_EXPERIMENT if group == "experiment" else {}),
        "properties": {**root["properties"], **extra},
        **asked,
        "$defs": dict(sorted(bundle.defs.items())),
    }


def text(group: str) -> str:
    """A schema as its file has it."""
    return json.dumps(authoring(group), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all of them."""
    folder = shipped("schemas") / "v1" / "authoring"
    folder.mkdir(exist_ok=True)
    for group in GROUPS:
        (folder / f"{group}.schema.json").write_text(text(group), encoding="utf-8", newline="\n")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a strict schema stands.

    Attributes:
        home: its file, for its references.
        whole: nothing completes what it describes; true inside of lists, which Hydra never merges.
        secret: it describes the reference to a secret, which no interpolation may replace.
    """

    home: str
    whole: bool = False
    secret: bool = False


class _Bundle:
    """One schema in the making, with the definitions it needs from any file."""

    def __init__(self) -> None:
        self.defs: dict[str, Schema] = {"later": _LATER_TEXT}
        self._begun: set[tuple[str, _Place]] = set()

    def part(self, strict: Schema, at: _Place) -> Schema:
        """A strict schema as it holds for what is written."""
        dropped = {"$defs", *(() if at.whole else _ASKING)}
        return _pruned({k: self._keyword(k, value, at) for k, value in strict.items() if k not in dropped})

    def _keyword(self, keyword: str, value: Any, at: _Place) -> Any:
        match keyword:
            case "$ref":
                return self._referred(value, at)
            case "properties":
                return {key: self._value(inner, at) for key, inner in value.items()}
            case "items" | "additionalProperties" if isinstance(value, dict):
                return self._value(value, replace(at, whole=at.whole or keyword == "items"))
            case "propertyNames" | "then" | "else":
                return self.part(value, at)
            case "allOf":
                return [_where_known(self.part(inner, at)) for inner in value]
            case _:
                return value

    def _value(self, node: Schema, at: _Place) -> Schema:
        """The schema of a value, which may be one that comes later."""
        strict, _ = _followed(node, at.home)
        made = self.part(node, at)
        if _takes_any_text(strict):
            return made
        hidden = _is_secret(strict) or (at.secret and "string" in strict.get("type", ()))
        about = {keyword: made.pop(keyword) for keyword in _ABOUT if keyword in made}
        return {**about, **_offered(strict, made), "if": _OPEN if hidden else _LATER, "else": made}

    def _referred(self, reference: str, at: _Place) -> str:
        strict, home = _followed({"$ref": reference}, at.home)
        there = _Place(home, at.whole, _is_secret(strict))
        name = reference.rpartition("/")[2].removesuffix(".schema.json")
        if (name, there) not in self._begun:
            self._begun.add((name, there))
            made = self.part({k: v for k, v in strict.items() if k not in {"$schema", "$id"}}, there)
            if self.defs.setdefault(name, made) != made:
                raise ValueError(f"two definitions would be called {name}")
        return f"#/$defs/{name}"


def _is_secret(strict: Schema) -> bool:
    return bool(strict.get("x-lmroute-secret"))


def _offered(strict: Schema, made: Schema) -> Schema:
    """Words for editors to offer. It says nothing about validity, and editors do not look into an ``else``."""
    closed = "enum" in strict or strict.get("type") == "boolean"
    return {"anyOf": [made, {}]} if closed else {}


def _takes_any_text(strict: Schema) -> bool:
    return "string" in strict.get("type", "string") and strict.keys().isdisjoint({"enum", "const", "pattern"})


def _where_known(conditional: Schema) -> Schema:
    """A condition whose ``else`` waits until the keys that it asks for are there, with values."""
    if "else" not in conditional:
        return conditional
    keys = conditional["if"].get("required", [])
    known = {"required": keys, "properties": {key: {"not": _LATER} for key in keys}}
    return {"if": known, "then": conditional}


def _asked(node: Schema, home: str, above: frozenset[str] = frozenset()) -> Schema:
    """What a strict schema asks for, and nothing else of it. ``above`` are the references that led here."""
    if node.get("$ref") in above:  # a definition that contains itself asks for nothing more in there
        return {}
    above |= {node["$ref"]} if "$ref" in node else set()
    node, home = _followed(node, home)
    made: Schema = {keyword: node[keyword] for keyword in ("if", *_ASKING) if keyword in node}
    made |= {keyword: _asked(node[keyword], home, above) for keyword in ("then", "else") if keyword in node}
    made["properties"] = {
        key: inner for key, value in node.get("properties", {}).items() if (inner := _asked(value, home, above))
    }
    made["allOf"] = [inner for part in node.get("allOf", ()) if (inner := _asked(part, home, above))]
    return _pruned(made)


def _pruned(made: Schema) -> Schema:
    """A schema without branches that say nothing."""
    kept = {k: v for k, v in made.items() if v or k not in {"then", "else", "allOf", "properties"}}
    if not {"then", "else"} & kept.keys():
        kept.pop("if", None)
    return kept


def _followed(node: Schema, home: str) -> tuple[Schema, str]:
    """What a schema refers to in the end, and the file that stands in."""
    while "$ref" in node:
        file, _, pointer = node["$ref"].partition("#")
        home = file or home
        node = schema(home)
        for step in pointer.split("/")[1:]:
            node = node[step]
    return node, home


if __name__ == "__main__":
    main()
