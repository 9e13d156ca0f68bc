"""A profile's sampler settings under the caller's own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dspy.lm15 import Config

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


def with_params(config: Config, params: dict[str, Any]) -> Config:
    """The profile's sampler settings under the caller's own, which win; hints for the router taken out."""
    extensions = {k: v for k, v in (config.extensions or {}).items() if k not in _HINTS}
    fields = {name: params.pop(name) for name in _CONFIG_FIELDS if name in params}
    changes = {name: value for name, value in fields.items() if getattr(config, name) in {None, ()}}
    extensions = {**params, **extensions}
    if extensions != (config.extensions or {}):
        changes["extensions"] = extensions or None
    return replace(config, **changes) if changes else config
