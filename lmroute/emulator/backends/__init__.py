"""What generates text behind the emulator."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


ToolChoice: TypeAlias = Literal["none", "auto", "required"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a generation starts from.

    Attributes:
        messages: in OpenAI's form, tool calls and tool results included.
        sampling: ``temperature``, ``max_tokens``, ``stop`` ... as the client sent them.
        schema: JSON Schema that the answer must satisfy.
        context_length: tokens of prompt and answer together.
        tools: what may be called, in OpenAI's form: ``{"type": "function", "function": {...}}``.
        effort: how much to reason first, one of ``catalog.EFFORTS``; see ``catalog.Model.effort``.
        template: whether the chat template applies; without it there is one message, whose text is continued.
    """

    messages: tuple[dict[str, Any], ...]
    sampling: dict[str, Any]
    schema: dict[str, Any] | bool | None
    context_length: int
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: ToolChoice = "auto"
    effort: str = "none"
    template: bool = True


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of what the model thinks before it answers."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool, whole. ``id`` has nine digits, as LM Studio's have; ``arguments`` is JSON text."""

    name: str
    arguments: str
    id: str = field(default_factory=lambda: str(secrets.randbelow(900_000_000) + 100_000_000))


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a generation: why it ended and what it took, in tokens.

    Attributes:
        completion_tokens: reasoning included.
        stop_string: the one of the request's ``stop`` that ended the text.
    """

    reason: Literal["stop", "length", "tool_calls"]
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int = 0
    stop_string: str | None = None


Event: TypeAlias = str | Reasoning | ToolCall | Finish
"""Reasoning first, then text, then tool calls, then the end, which comes once and last."""


class Backend(Protocol):
    """Something that answers prompts."""

    def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Generate text; closing the generator stops the generation.

        Raises:
            GenerationError: when it cannot, or cannot go on.
        """

    async def embed(self, text: str, context_length: int) -> list[float]:
        """The vector of a text, of which only the first ``context_length`` tokens count.

        Raises:
            GenerationError: when it cannot.
        """

    async def aclose(self) -> None:
        """Let go of connections."""


class GenerationError(Exception):
    """Base of what a backend raises."""


class RequestRefused(GenerationError):
    """The model cannot do what the request asks; the message says what."""


class ModelCrashed(GenerationError):
    """The model went away."""


class ComputeFailed(GenerationError):
    """The engine failed, and the model lives on."""


class ContextOverflow(GenerationError):
    """The prompt alone does not fit the window. Both numbers are tokens."""

    def __init__(self, prompt_tokens: int, context_length: int) -> None:
        self.prompt_tokens = prompt_tokens
        self.context_length = context_length
        super().__init__(f"{prompt_tokens} tokens of prompt do not fit a window of {context_length}")
