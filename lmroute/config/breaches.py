"""What jsonschema finds, said in words, at the place that a person would mend.

Besides the standard keywords the schemas use two of ours: ``x-lmroute-help`` says what to write instead, and
``x-lmroute-secret`` marks what must be a reference and never the secret itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lmroute.config.complaints import did_you_mean, instead
from lmroute.config.keypaths import dotted
from lmroute.config.secrecy import quoted
from lmroute.diagnostics import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema.exceptions import ValidationError

    from lmroute.config.keypaths import KeyPath
    from lmroute.config.provenance import Locate

_KINDS = {
    "object": "a mapping",
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
    "exclusiveMinimum": "is not more than {}",
    "minItems": "has fewer than {} items",
    "maxItems": "has more than {} items",
    "minLength": "is empty",
    "minProperties": "is empty",
    "maxProperties": "has more than one key",
    "uniqueItems": "has an item twice",
    "pattern": "does not have the right form",
    "const": "is not {}",
    "not": "cannot stand here",
}
_CHOICES = {("provider",), ("routing",), ("task",)}
"""What is chosen in a defaults list, and easily written where the chosen file's own keys go."""


@dataclass(frozen=True, slots=True)
class Breach:
    """One keyword of a schema that an instance does not keep to.

    Attributes:
        path: where the instance stands in the document; for a key's name, the mapping that has the key.
        expected: the keyword's value in ``schema``.
        of_name: the instance is the name of a key.
    """

    path: KeyPath
    keyword: str
    expected: Any
    instance: Any
    schema: dict[str, Any]
    of_name: bool

    @classmethod
    def of(cls, error: ValidationError) -> Breach:
        """A jsonschema error without the cases that cannot occur in an error it has reported."""
        return cls(
            path=tuple(map(str, error.absolute_path)),
            keyword=str(error.validator),
            expected=error.validator_value,
            instance=error.instance,
            schema=dict(error.schema) if isinstance(error.schema, dict) else {},
            of_name="propertyNames" in error.relative_schema_path,
        )


def diagnostics(breach: Breach, locate: Locate) -> Iterator[Diagnostic]:
    """The findings a breach amounts to: one, or one for each missing or unknown key."""
    match breach.keyword:
        case "required":
            missing = [name for name in breach.expected if name not in breach.instance]
            yield from (_missing((*breach.path, name), locate) for name in missing if not _misspelt(name, breach))
        case "additionalProperties":
            known = breach.schema["properties"]
            unknown = {(*breach.path, str(key)): value for key, value in breach.instance.items() if key not in known}
            judged = _unknown_source if breach.schema.get("x-lmroute-secret") else _unknown
            yield from (judged(path, value, list(known), locate) for path, value in unknown.items())
        case "type" if breach.schema.get("x-lmroute-secret"):
            message, advice = "a secret must not stand in the configuration", breach.schema["x-lmroute-help"]
            yield Diagnostic("LMR005", message, locate(breach.path), dotted(breach.path), advice)
        case _:
            path = (*breach.path, str(breach.instance)) if breach.of_name else breach.path
            place = locate(path, key=breach.of_name)
            yield Diagnostic("LMR103", _message(breach), place, dotted(path), _advice(breach))


def _misspelt(name: str, breach: Breach) -> bool:
    """Whether a missing key is there under another spelling, which is told as an unknown key with this as its fix."""
    others = (str(key) for key in breach.instance if key not in breach.expected)
    return any(did_you_mean(other, [name]) for other in others)


def _missing(path: KeyPath, locate: Locate) -> Diagnostic:
    return Diagnostic("LMR101", "a required key is missing", locate(path), dotted(path))


def _unknown(path: KeyPath, value: Any, known: list[str], locate: Locate) -> Diagnostic:
    advice = _choice(path, value) or instead(path[-1], known) or f"known: {', '.join(known)}"
    if path == ("provider",) and isinstance(value, dict):  # where Hydra puts a file that does not say where it belongs
        advice = "a profile's first line must be `# @package providers.<name>`, with its keys below"
    return Diagnostic("LMR102", "unknown key", locate(path, key=True), dotted(path), advice)


def _unknown_source(path: KeyPath, value: Any, known: list[str], locate: Locate) -> Diagnostic:
    """An unknown key where a secret's source is named: in ``auth_token: {sk-123}`` the key is the secret itself."""
    found = _unknown(path, value, known, locate)
    near = did_you_mean(path[-1], known)
    return found if near else replace(found, message="holds an unknown key", key=dotted(path[:-1]))


def _choice(path: KeyPath, value: Any) -> str:
    """How to choose a file of a group, for who wrote its name where its keys go."""
    if path not in _CHOICES or isinstance(value, dict):
        return ""
    return f"to choose a file, write `{path[0]}: …` into the defaults list; in an experiment `override /{path[0]}: …`"


def _message(breach: Breach) -> str:
    shown = quoted(breach.instance, *breach.path)
    match breach.keyword:
        case "enum":
            return f"{shown} is not one of {', '.join(map(str, breach.expected))}"
        case "type":
            kinds = [breach.expected] if isinstance(breach.expected, str) else breach.expected
            return f"{shown} is not {' or '.join(_KINDS[kind] for kind in kinds)}"
        case "minItems" if breach.expected == 1:
            return f"{shown} is empty"
        case "oneOf":
            return f"needs exactly one of {', '.join(branch['required'][0] for branch in breach.expected)}"
        case _:
            return f"{shown} {_BOUNDS[breach.keyword].format(breach.expected)}"


def _advice(breach: Breach) -> str:
    advice: str = breach.schema.get("x-lmroute-help", "") or _choice(breach.path, breach.instance)
    if breach.keyword == "enum" and isinstance(breach.instance, str):
        return did_you_mean(breach.instance, map(str, breach.expected)) or advice
    return advice
