"""The object that a prompt asks for in words, for requests whose schema only says that it is to be an object.

DSPy asks that way wherever an output is a ``dict``, for each step of its ``ReAct`` too: "Respond with a JSON object in
the following order of fields: `label` (must be formatted as a valid Python Literal['yes', 'no']), then `notes`."
"""

from __future__ import annotations

import ast
import re
from typing import Any

_ASKED = re.compile(r"Respond with a JSON object in the following order of fields: (.+)")
_FIELD = re.compile(r"`(\w+)`(?: \(must be formatted as a valid Python (.+?)\))?(?=, then `|\.$)")
_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "dict": "object", "list": "array"}
_OPEN = {"type", "title", "description", "additionalProperties"}


def is_open(schema: dict[str, Any] | bool) -> bool:
    """Whether a schema allows any object and says no more."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return False
    return schema.keys() <= _OPEN and schema.get("additionalProperties", True) is True


def asked_schema(text: str) -> dict[str, Any] | None:
    """The schema of the object that the last such sentence of ``text`` asks for; ``None`` without one."""
    sentences = _ASKED.findall(text)
    fields = _FIELD.findall(sentences[-1].rstrip()) if sentences else []
    if not fields:
        return None
    properties = {name: _schema_of(annotation or "str") for name, annotation in fields}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _schema_of(annotation: str) -> dict[str, Any]:
    try:
        return _translated(ast.parse(annotation, mode="eval").body)
    except (SyntaxError, ValueError):
        return {"type": "string"}


def _translated(node: ast.expr) -> dict[str, Any]:
    """What a Python annotation says about JSON; a text where it says something else."""
    if isinstance(node, ast.Name):
        return {"type": _TYPES.get(node.id, "string")}
    if not isinstance(node, ast.Subscript) or not isinstance(node.value, ast.Name):
        return {"type": "string"}
    kind = node.value.id
    arguments = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if kind == "Literal":
        return {"enum": [ast.literal_eval(argument) for argument in arguments]}
    if kind == "list":
        return {"type": "array", "items": _translated(arguments[0])}
    if kind == "dict":
        is_any = isinstance(arguments[-1], ast.Name) and arguments[-1].id == "Any"
        return {"type": "object"} if is_any else {"type": "object", "additionalProperties": _translated(arguments[-1])}
    return _translated(arguments[0])  # Union and Optional: the first alternative
