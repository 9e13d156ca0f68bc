"""The contract: a composed document, or one file of it, against the JSON Schemas of ``schemas/v1``.

All findings come at once.
"""

from __future__ import annotations

import json
import math
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from lmroute.config.breaches import Breach, diagnostics
from lmroute.config.interpolation import Unresolved
from lmroute.config.keypaths import dotted, leaves
from lmroute.config.paths import shipped
from lmroute.diagnostics import Diagnostic, ordered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from referencing._core import Resolver

    from lmroute.config.keypaths import KeyPath
    from lmroute.config.provenance import Locate

Schema: TypeAlias = dict[str, Any]

POLICY_TEST = "policy_test"
_ROOT = "config.schema.json"
_OPEN = "???"
"""How Hydra and OmegaConf write a value that somebody else must give."""


def check(document: Any, locate: Locate) -> list[Diagnostic]:
    """Every way in which a composed document breaks the schemas, in the order of their places.

    LMR101 a key or value is missing, LMR102 an unknown key, LMR103 a bad value, LMR005 a literal secret.
    """
    judged = (breach for breach in _breaches(validator(), document) if not _valueless(breach.instance))
    return ordered([*_left_open(document, locate), *_findings(document, judged, locate)])


def check_file(group: str, document: Any, locate: Locate) -> list[Diagnostic]:
    """``check`` for what one file of a group holds, before it is composed. Paths are the file's own.

    A value may be an interpolation or ``???``; a ``defaults`` list may bring what is missing. ``group`` is
    ``config`` for config.yaml itself, ``policy_test`` for a policy's tests, which are never composed and so are held to
    their schema as it is. None is an empty file.
    """
    written = {} if document is None else document
    judge = validator(f"{POLICY_TEST}.schema.json") if group == POLICY_TEST else authoring_validator(group)
    return ordered(_findings(written, _breaches(judge, written), locate))


def known_keys(path: KeyPath) -> list[str]:
    """The keys the schemas allow in the mapping at ``path``; none where it is no mapping of fixed keys."""
    root = schema(_ROOT)
    here, resolver = root, _registry().resolver(root["$id"])
    for step in path:
        others = here.get("items" if step.isdecimal() else "additionalProperties")
        inner = here.get("properties", {}).get(step, others)
        if not isinstance(inner, dict):
            return []
        here, resolver = _followed(inner, resolver)
    return list(here.get("properties", ()))


@cache
def schema(name: str) -> Schema:
    """A schema file, parsed: ``schema("provider.schema.json")``."""
    contents: Schema = json.loads((shipped("schemas") / "v1" / name).read_text(encoding="utf-8"))
    return contents


@cache
def validator(name: str = _ROOT) -> Draft202012Validator:
    """A validator of one of the schemas that finds the others on disk."""
    return Draft202012Validator(schema(name), registry=_registry())


@cache
def authoring_validator(group: str) -> Draft202012Validator:
    """A validator of one file of a group; see ``lmroute.config.authoring``."""
    return Draft202012Validator(schema(f"authoring/{group}.schema.json"))


@cache
def _registry() -> Registry[Any]:
    names = sorted(file.name for file in (shipped("schemas") / "v1").glob("*.schema.json"))
    return Registry[Any]().with_resources((schema(name)["$id"], Resource.from_contents(schema(name))) for name in names)


def _followed(here: Schema, resolver: Resolver[Any]) -> tuple[Schema, Resolver[Any]]:
    while "$ref" in here:
        target = resolver.lookup(here["$ref"])
        here, resolver = target.contents, target.resolver
    return here, resolver


def _breaches(judge: Draft202012Validator, document: Any) -> Iterator[Breach]:
    return map(Breach.of, judge.iter_errors(document))


def _findings(document: Any, breaches: Iterable[Breach], locate: Locate) -> Iterator[Diagnostic]:
    """The breaches in words, and the numbers that JSON does not know and its schemas do not judge."""
    for path, value in leaves(document, ()):
        if _not_finite(value):
            yield Diagnostic("LMR103", "is not a finite number", locate(path), dotted(path))
    for breach in breaches:
        if not _not_finite(breach.instance):  # said already
            yield from diagnostics(breach, locate)


def _left_open(document: Any, locate: Locate) -> Iterator[Diagnostic]:
    for path, value in leaves(document, ()):
        if value == _OPEN:
            advice = f"give it: {dotted(path)}=…"
            yield Diagnostic("LMR101", "a value must be given", locate(path), dotted(path), advice)


def _valueless(value: Any) -> bool:
    """Whether a value was not given or not found; both are findings of their own."""
    return value == _OPEN or isinstance(value, Unresolved)


def _not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
