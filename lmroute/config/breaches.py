"""What jsonschema finds, said in words, at the place that a person would mend.

Besides the standard keywords the schemas use two of ours: ``x-lmroute-help`` says what to write instead, and
``x-lmroute-secret`` marks what must be a reference and never the secret itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmroute.config.complaints import did_you_mean, instead
from lmroute.config.provenance import dotted
from lmroute.config.secrecy import quoted
from lmroute.diagnostics import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema.exceptions import ValidationError

    from lmroute.config.marks import KeyPath
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
    "uniqueItems": "has an item twice",
    "pattern": "does not have the right form",
    "const": "is not {}",
    "not": "cannot stand here",
}


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
            missing = [(*breach.path, name) for name in breach.expected if name not in breach.instance]
            yield from (_missing(path, locate) for path in missing)
        case "additionalProperties":
            known = breach.schema["properties"]
            unknown = [(*breach.path, str(key)) for key in breach.instance if key not in known]
            yield from (_unknown(path, list(known), locate) for path in unknown)
        case "type" if breach.schema.get("x-lmroute-secret"):
            message, advice = "a secret must not stand in the configuration", breach.schema["x-lmroute-help"]
            yield Diagnostic("LMR005", message, locate(breach.path), dotted(breach.path), advice)
        case _:
            path = (*breach.path, str(breach.instance)) if breach.of_name else breach.path
            place = locate(path, key=breach.of_name)
            yield Diagnostic("LMR103", _message(breach), place, dotted(path), _advice(breach))


def _missing(path: KeyPath, locate: Locate) -> Diagnostic:
    return Diagnostic("LMR101", "a required key is missing", locate(path), dotted(path))


def _unknown(path: KeyPath, known: list[str], locate: Locate) -> Diagnostic:
    advice = instead(path[-1], known) or f"known: {', '.join(known)}"
    if path == ("provider",):  # the folder's name: where Hydra puts a file that does not say where it belongs
        advice = "a profile's first line must be `# @package providers.<name>`, with its keys below"
    return Diagnostic("LMR102", "unknown key", locate(path, key=True), dotted(path), advice)


def _message(breach: Breach) -> str:
    shown = quoted(breach.instance, *breach.path)
    match breach.keyword:
        case "enum":
            return f"{shown} is not one of {', '.join(map(str, breach.expected))}"
        case "type":
            kinds = [breach.expected] if isinstance(breach.expected, str) else breach.expected
            return f"{shown} is not {' or '.join(_KINDS[kind] for kind in kinds)}"
        case "oneOf":
            return f"needs exactly one of {', '.join(branch['required'][0] for branch in breach.expected)}"
        case _:
            return f"{shown} {_BOUNDS[breach.keyword].format(breach.expected)}"


def _advice(breach: Breach) -> str:
    advice: str = breach.schema.get("x-lmroute-help", "")
    if breach.keyword == "enum" and isinstance(breach.instance, str):
        return did_you_mean(breach.instance, map(str, breach.expected)) or advice
    return advice
