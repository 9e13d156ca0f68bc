"""What DSPy's adapters may ask of a provider, in DSPy's terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from lmroute.model import JsonMode

if TYPE_CHECKING:
    from lmroute.model import Profile

_ALWAYS = frozenset({"temperature", "max_tokens", "max_completion_tokens", "top_p", "stop", "seed", "n", "stream"})


@dataclass(frozen=True, slots=True)
class Supports:
    """DSPy's capability flags. Nothing is supported unless the profile says so."""

    function_calling: bool = False
    reasoning: bool = False
    response_schema: bool = False
    params: frozenset[str] = _ALWAYS

    @classmethod
    def of(cls, profile: Profile | None) -> Self:
        """What a provider's profile states."""
        if profile is None:
            return cls()
        stated = profile.capabilities
        extra = {
            "response_format": stated.json_mode is not JsonMode.NONE,
            "tools": stated.tools,
            "tool_choice": stated.tools,
            "reasoning_effort": stated.reasoning,
        }
        return cls(
            function_calling=stated.tools,
            reasoning=stated.reasoning,
            response_schema=stated.json_mode is JsonMode.JSON_SCHEMA,
            params=_ALWAYS | {name for name, given in extra.items() if given},
        )
