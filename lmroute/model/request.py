"""What is known about one request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Privacy(StrEnum):
    """What a request says about its data."""

    PUBLIC = "public"
    INTERNAL = "internal"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class Attributes:
    """The facts about one request that a predicate may read.

    ``task``, ``module`` and ``signature`` are empty strings when unknown. ``prompt_tokens`` is an estimate
    (``lmroute.engine.attributes`` says how); ``max_output_tokens`` is 0 when the request leaves it open.
    """

    task: str = ""
    module: str = ""
    signature: str = ""
    tags: frozenset[str] = frozenset()
    privacy: Privacy = Privacy.INTERNAL
    needs_tools: bool = False
    needs_response_schema: bool = False
    needs_vision: bool = False
    needs_reasoning: bool = False
    prompt_tokens: int = 0
    max_output_tokens: int = 0
    stream: bool = False
