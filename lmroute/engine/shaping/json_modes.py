"""Structured output, as each provider does it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dspy import lm15

from lmroute.model import JsonMode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dspy.lm15 import Config


def fit_json(config: Config, mode: JsonMode) -> tuple[Config, tuple[str, ...], str]:
    """Structured output as the provider does it: the config, what changed, and what the prompt must now say."""
    wanted = config.response_format
    if wanted is None or wanted["type"] == mode:
        return config, (), ""
    if mode is JsonMode.JSON_SCHEMA and wanted["type"] == "json_object":
        # LM Studio refuses json_object outright; a schema that allows any object asks for the same.
        loose = {"type": "json_schema", "name": "object", "schema": {"type": "object"}}
        return replace(config, response_format=loose), ("json_object sent as json_schema",), ""
    if mode is JsonMode.JSON_OBJECT:
        note = ("json_schema sent as json_object, schema in the prompt",)
        return replace(config, response_format={"type": "json_object"}), note, _instruction(wanted)
    if mode is JsonMode.NONE:
        note = (f"{wanted['type']} not sent, asked for in the prompt",)
        return replace(config, response_format=None), note, _instruction(wanted)
    return config, (), ""


def _instruction(response_format: Mapping[str, Any]) -> str:
    schema = response_format.get("schema")
    if schema is None:
        return "Answer with one JSON object and nothing else."
    return f"Answer with one JSON object and nothing else. It must match this JSON Schema: {json.dumps(schema)}"


def appended(system: Any, instruction: str) -> Any:
    """A system prompt that also says ``instruction``."""
    if system is None:
        return instruction
    if isinstance(system, str):
        return f"{system}\n\n{instruction}"
    return (*system, lm15.TextPart(instruction))
