"""Fit a request to the candidate that is about to get it, and say what was changed.

Nothing is dropped silently: every change that a caller could notice is returned in words and ends up in the trace.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dspy import lm15

from lmroute.model import JsonMode
from lmroute.providers.catalog import TYPES, Dialect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dspy.lm15 import Config, Request

    from lmroute.model import Profile

# Sampler settings that DSPy's Config has a field for; any other goes onto the wire as it is.
_CONFIG_FIELDS = (
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "max_tokens",
    "stop",
    "frequency_penalty",
    "presence_penalty",
)
_HINTS = ("metadata",)
"""Extensions that are meant for the router and never for a server."""


def fit(request: Request, profile: Profile) -> tuple[Request, tuple[str, ...]]:
    """The request as this provider is to get it, and what differs from what was asked, in words.

    Raises:
        lm15.ConfigurationError: the profile's ``params`` hold a value that no model takes.
    """
    config, degraded, instruction = _fit_json(request.config, profile.capabilities.json_mode)
    try:
        if profile.params or config.extensions:
            config = _with_params(config, dict(profile.params))
    except (TypeError, ValueError) as error:
        raise lm15.ConfigurationError(f"providers.{profile.id}.params: {error}") from error
    if config.top_k is not None and _takes_top_k(profile):
        config = replace(config, top_k=None, extensions={"top_k": config.top_k, **(config.extensions or {})})
    if config is request.config:
        return request, ()
    if instruction:
        return replace(request, config=config, system=_appended(request.system, instruction)), degraded
    return replace(request, config=config), degraded


def _fit_json(config: Config, mode: JsonMode) -> tuple[Config, tuple[str, ...], str]:
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


def _appended(system: Any, instruction: str) -> Any:
    if system is None:
        return instruction
    if isinstance(system, str):
        return f"{system}\n\n{instruction}"
    return (*system, lm15.TextPart(instruction))


def _with_params(config: Config, params: dict[str, Any]) -> Config:
    """The profile's sampler settings under the caller's own, which win; hints for the router taken out."""
    extensions = {k: v for k, v in (config.extensions or {}).items() if k not in _HINTS}
    fields = {name: params.pop(name) for name in _CONFIG_FIELDS if name in params}
    changes = {name: value for name, value in fields.items() if getattr(config, name) in {None, ()}}
    extensions = {**params, **extensions}
    if extensions != (config.extensions or {}):
        changes["extensions"] = extensions or None
    return replace(config, **changes) if changes else config


def _takes_top_k(profile: Profile) -> bool:
    """Whether a server of OpenAI's dialect takes ``top_k`` all the same: all do but OpenAI's own.

    lm15 takes the dialect by its word and would drop the field.
    """
    return TYPES[profile.type].dialect is Dialect.OPENAI_CHAT and profile.type != "openai"
