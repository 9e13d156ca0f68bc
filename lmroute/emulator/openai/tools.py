"""The tools of a request, checked: ``tools`` and ``tool_choice`` of the OpenAI-style routes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast, get_args

from lmroute.emulator import refusals
from lmroute.emulator.backends import ToolChoice
from lmroute.emulator.versions import TOOLS

if TYPE_CHECKING:
    from lmroute.emulator.versions import Version

_CHOICES = get_args(ToolChoice)
_SUPPORTED = f"Supported string values: {', '.join(_CHOICES)}"


def tools_of(value: Any, version: Version) -> tuple[dict[str, Any], ...]:
    """The tools as they came.

    Raises:
        Refused: when LM Studio would not take them. Only what it says about ``parameters`` is known.
    """
    if not value or not version.has(TOOLS):
        return ()
    if not isinstance(value, list):
        raise refusals.text("'tools' must be an array")
    if issues := [issue for index, tool in enumerate(value) for issue in _issues(index, tool)]:
        raise refusals.text(json.dumps(issues, indent=2))  # LM Studio sends its validator's list as a text
    return tuple(value)


def tool_choice_of(value: Any, version: Version) -> ToolChoice:
    """``none``, ``auto`` or ``required``.

    Raises:
        Refused: when it is anything else, OpenAI's object that names one tool first of all.
    """
    if value is None or not version.has(TOOLS):
        return "auto"
    if not isinstance(value, str):
        kind = "object" if isinstance(value, dict | list) else type(value).__name__
        raise refusals.text(f"Invalid tool_choice type: '{kind}'. {_SUPPORTED}")
    if value not in _CHOICES:
        raise refusals.text(f"Invalid tool_choice value: '{value}'. {_SUPPORTED}")
    return cast("ToolChoice", value)


def _issues(index: int, tool: Any) -> list[dict[str, Any]]:
    """What LM Studio's validator finds wrong with one tool."""
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        return [_required("object", index, "function")]
    if not isinstance(function.get("name"), str):
        return [_required("string", index, "function", "name")]
    if "parameters" not in function:
        return []
    parameters = function["parameters"]
    if not isinstance(parameters, dict) or parameters.get("type") != "object":
        return [
            {
                "code": "invalid_union_discriminator",
                "options": ["object"],
                "path": [index, "function", "parameters", "type"],
                "message": "Invalid discriminator value. Expected 'object'",
            }
        ]
    if not isinstance(parameters.get("properties"), dict):
        return [_required("object", index, "function", "parameters", "properties")]
    return []


def _required(expected: str, *path: str | int) -> dict[str, Any]:
    return {
        "code": "invalid_type",
        "expected": expected,
        "received": "undefined",
        "path": list(path),
        "message": "Required",
    }
