"""Is a schema stricter than an older one? Compared by structure, and on the safe side: what cannot be judged is."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

Schema = dict[str, Any]
Schemas = dict[str, Schema]
"""Schemas by file name."""

ANNOTATIONS = {"$schema", "title", "description", "examples", "deprecated", "x-lmroute-help", "x-lmroute-secret"}
LOWER = {"minimum", "exclusiveMinimum", "minItems", "minLength", "minProperties"}
UPPER = {"maximum", "exclusiveMaximum", "maxItems", "maxLength", "maxProperties"}
INNER = {"items", "propertyNames", "then", "else"}
ANYTHING: Schema = {}


def stricter(old: Schemas, new: Schemas) -> list[str]:
    """Each way in which ``new`` refuses what ``old`` accepts: ``provider.schema.json/properties/id: …``."""
    if lost := sorted(old.keys() - new.keys()):
        return [f"{name}: the file is gone" for name in lost]
    comparison, found = Comparison(old, new), list[str]()
    for name in sorted(old):
        if old[name]["$id"] != new[name]["$id"]:
            found.append(f"{name}: another $id")
        found.extend(comparison.of({"$ref": name}, {"$ref": name}, (name, name), name))
    return found


@dataclass
class Comparison:
    """One comparison of two versions; ``seen`` ends it where schemas refer to themselves."""

    old: Schemas
    new: Schemas
    seen: set[tuple[int, int]] = field(default_factory=set)

    @cached_property
    def news(self) -> set[str]:
        """The enum members that only the new version has."""
        return members(self.new) - members(self.old)

    def of(self, old: Schema, new: Schema, homes: tuple[str, str], at: str) -> Iterator[str]:
        """What is stricter in one schema. ``homes`` are the files the two stand in, ``at`` is said to the reader."""
        if len(new) > 1 and "$ref" in new:
            yield f"{at}: what stands beside a $ref cannot be judged"
        old, old_home = followed(old, homes[0], self.old)
        new, new_home = followed(new, homes[1], self.new)
        homes = (old_home, new_home)
        if (id(old), id(new)) in self.seen:
            return
        self.seen.add((id(old), id(new)))
        for keyword in sorted(new.keys() - {"$schema", "$id", "$defs"}):
            yield from self.keyword(keyword, old, new, homes, f"{at}/{keyword}")
        yield from gone(old, new, at)

    def keyword(self, keyword: str, old: Schema, new: Schema, homes: tuple[str, str], at: str) -> Iterator[str]:
        was, now = old.get(keyword), new[keyword]
        match keyword:
            case "properties":
                yield from self.properties(old, new, homes, at)
            case "additionalProperties":
                yield from self.others(old.get(keyword, True), now, homes, at)
            case "allOf":
                for index, part in enumerate(now):
                    if index >= len(was or ()) and about_news(old, part):
                        continue
                    before = was[index] if was and index < len(was) else ANYTHING
                    yield from self.of(before, part, homes, f"{at}/{index}")
            case _ if keyword in INNER:
                yield from self.of(was or ANYTHING, now, homes, at)
            case "if":
                if was != now and was != self.without_news(now):
                    yield f"{at}: another condition"
            case _ if tightened(keyword, old, new):
                yield f"{at}: was {was}, is {now}"

    def properties(self, old: Schema, new: Schema, homes: tuple[str, str], at: str) -> Iterator[str]:
        others = old.get("additionalProperties", True)
        for key, part in new["properties"].items():
            before = old.get("properties", {}).get(key, ANYTHING if others is True else others)
            if before is not False:  # refused till now, so that any schema takes more
                yield from self.of(before, part, homes, f"{at}/{key}")

    def others(self, was: Any, now: Any, homes: tuple[str, str], at: str) -> Iterator[str]:
        if now is False and was is not False:
            yield f"{at}: was {was}, is {now}"
        elif isinstance(now, dict) and was is not False:
            yield from self.of(ANYTHING if was is True else was, now, homes, at)

    def without_news(self, condition: Any) -> Any:
        """A condition without the enum members that no older schema knows: it was never asked about them."""
        if isinstance(condition, list):
            return [self.without_news(item) for item in condition if not self.is_news(item)]
        if isinstance(condition, dict):
            return {key: self.without_news(value) for key, value in condition.items()}
        return condition

    def is_news(self, value: Any) -> bool:
        return isinstance(value, str) and value in self.news


def about_news(old: Schema, part: Schema) -> bool:
    """Whether a condition decides only about keys that were refused till now, so that nothing valid can break it."""
    decided = [part.get(branch, {}) for branch in ("then", "else")]
    return (
        old.get("additionalProperties") is False
        and part.keys() <= {"if", "then", "else"}
        and all(branch.keys() <= {"properties"} for branch in decided)
        and all(key not in old.get("properties", {}) for branch in decided for key in branch.get("properties", {}))
    )


def gone(old: Schema, new: Schema, at: str) -> Iterator[str]:
    """Properties that are no longer described where only described ones may stand."""
    if new.get("additionalProperties", True) is not True:
        for key in old.get("properties", {}).keys() - new.get("properties", {}).keys():
            yield f"{at}/properties/{key}: gone"


def tightened(keyword: str, old: Schema, new: Schema) -> bool:
    """Whether a keyword that has no schemas in it takes less than it did."""
    was, now = old.get(keyword), new[keyword]
    if keyword in {"enum", "const"}:
        return lacks(values(new), values(old))
    if keyword in LOWER | UPPER:
        return was is None or (now > was if keyword in LOWER else now < was)
    return TIGHTENED.get(keyword, operator.ne)(was, now)  # whatever is new here is told when it differs


def lacks(now: set[str] | None, was: set[str] | None) -> bool:
    """Whether something of what was allowed is so no more; None allows everything."""
    return now is not None and (was is None or not was <= now)


def types(value: str | list[str] | None) -> set[str] | None:
    if value is None:
        return None
    named = {value} if isinstance(value, str) else set(value)
    return named | ({"integer"} if "number" in named else set())


TIGHTENED: dict[str, Callable[[Any, Any], bool]] = {
    "type": lambda was, now: lacks(types(now), types(was)),
    "required": lambda was, now: not set(now) <= set(was or ()),
    # One of several keys: a further one was unknown before.
    "oneOf": lambda was, now: was is None or any(branch not in now for branch in was),
    "uniqueItems": lambda was, now: now and not was,
}


def values(node: Schema) -> set[str] | None:
    listed = node["enum"] if "enum" in node else [node["const"]] if "const" in node else None
    return None if listed is None else set(map(repr, listed))


def members(node: Any) -> set[str]:
    """Every enum member of a schema or of many."""
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    own = {value for value in node.get("enum", ()) if isinstance(value, str)} if isinstance(node, dict) else set()
    return own.union(*map(members, inner))


def followed(node: Schema, home: str, schemas: Schemas) -> tuple[Schema, str]:
    while "$ref" in node:
        file, _, pointer = node["$ref"].partition("#")
        home = file or home
        node = schemas[home]
        for step in pointer.split("/")[1:]:
            node = node[step]
    return node, home


def read(folder: Path) -> Schemas:
    """The schemas that a configuration is held to, as they are compared: without what only people read."""
    schemas: Schemas = {}
    wanted = {"config.schema.json", "policy_test.schema.json"}
    while wanted:
        name = wanted.pop()
        schemas[name] = bare(json.loads((folder / name).read_text(encoding="utf-8")))
        wanted |= set(files_named_in(schemas[name])) - schemas.keys()
    return schemas


def files_named_in(node: Any) -> Iterator[str]:
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for value in inner:
        yield from files_named_in(value)
    if isinstance(node, dict) and (file := node.get("$ref", "#").partition("#")[0]):
        yield file


def bare(node: Any, *, names: bool = False) -> Any:
    """``names`` says that the keys of this mapping are no keywords."""
    if isinstance(node, list):
        return [bare(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if names or key not in ANNOTATIONS}
    return {key: bare(value, names=not names and key in {"properties", "$defs"}) for key, value in kept.items()}


if __name__ == "__main__":
    here = Path(__file__).resolve()
    snapshot = here.parents[1] / "golden" / "v1" / "snapshot.json"
    current = read(here.parents[2] / "schemas" / "v1")
    if snapshot.exists() and (broken := stricter(json.loads(snapshot.read_text(encoding="utf-8")), current)):
        raise SystemExit("v1 must not get stricter:\n" + "\n".join(broken))
    snapshot.write_text(json.dumps(current, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
