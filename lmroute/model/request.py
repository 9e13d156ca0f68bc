"""What is known about one request, and what each of these facts may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Privacy(StrEnum):
    """What a request says about its data."""

    PUBLIC = "public"
    INTERNAL = "internal"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class Attributes:
    """The facts about one request that a predicate may read.

    ``task``, ``module``, ``signature`` and ``predictor`` are empty strings when unknown. ``prompt_tokens`` is an
    estimate (``lmroute.engine.request.attributes`` says how); ``max_output_tokens`` is 0 when the request leaves it
    open.

    Attributes:
        own: the policy's own attributes, those that the caller stated; the others have their defaults.
        use: the provider, or ``provider/model``, that the caller chose; empty when the policy is to choose. No
            predicate reads it.
        lot: a number below ``LOTS`` drawn from the prompt, the same for the same prompt, by which ``weighted`` orders
            share requests out. 0 where no rule needs it; no predicate reads it either.
    """

    task: str = ""
    module: str = ""
    signature: str = ""
    predictor: str = ""
    tags: frozenset[str] = frozenset()
    privacy: Privacy = Privacy.INTERNAL
    needs_tools: bool = False
    needs_response_schema: bool = False
    needs_vision: bool = False
    needs_reasoning: bool = False
    prompt_tokens: int = 0
    max_output_tokens: int = 0
    stream: bool = False
    own: Mapping[str, Any] = field(default_factory=dict, hash=False)
    use: str = ""
    lot: int = 0

    @property
    def total_tokens(self) -> int:
        """What has to fit into a context window: prompt and answer together."""
        return self.prompt_tokens + self.max_output_tokens


LOTS = 1 << 16
"""How many lots there are: fine enough for any weights, too few to tell a prompt by its lot."""


class Kind(StrEnum):
    """The type of a request attribute. ``text`` is the only one that a policy cannot declare."""

    ENUM = "enum"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    SET = "set"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Domain:
    """What a request attribute may be.

    Attributes:
        values: the words of an enum; those a text or a set may have, ``None`` for any.
        low, high: the bounds of a number, both included; ``None`` for no bound.
        default: what a request that does not state it has. A set's is a frozenset.
    """

    kind: Kind
    default: Any
    values: tuple[str, ...] | None = None
    low: float | None = None
    high: float | None = None


_ANY_TEXT = Domain(Kind.TEXT, "")
_FLAG = Domain(Kind.BOOL, False)
_COUNT = Domain(Kind.INT, 0, low=0)

BUILT_IN: Mapping[str, Domain] = MappingProxyType(
    {
        "task": _ANY_TEXT,
        "module": _ANY_TEXT,
        "signature": _ANY_TEXT,
        "predictor": _ANY_TEXT,
        "tags": Domain(Kind.SET, frozenset()),
        "privacy": Domain(Kind.ENUM, Privacy.INTERNAL.value, tuple(word.value for word in Privacy)),
        "needs_tools": _FLAG,
        "needs_response_schema": _FLAG,
        "needs_vision": _FLAG,
        "needs_reasoning": _FLAG,
        "prompt_tokens": _COUNT,
        "max_output_tokens": _COUNT,
        "total_tokens": _COUNT,
        "stream": _FLAG,
    }
)
"""The attributes that every request has, by their field of ``Attributes``. A policy may bound the words of ``task``
and ``tags``; it cannot change the others."""

BOUNDABLE = frozenset({"task", "tags"})
"""The built-in attributes whose words a policy may list."""


def shown(attribute: str) -> str:
    """An attribute as people write it: ``needs_tools`` is ``needs.tools``."""
    return attribute.replace("needs_", "needs.", 1) if attribute.startswith("needs_") else attribute
