"""What generates text behind the emulator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a generation starts from.

    Attributes:
        sampling: ``temperature``, ``max_tokens``, ``stop`` ... as the client sent them.
        schema: JSON Schema that the answer must satisfy.
        context_length: tokens of prompt and answer together.
    """

    messages: tuple[dict[str, Any], ...]
    sampling: dict[str, Any]
    schema: dict[str, Any] | bool | None
    context_length: int


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a generation: why it ended and what it took, in tokens."""

    reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


Event: TypeAlias = str | Finish
"""A piece of text, or the end, which comes once and last."""


class Backend(Protocol):
    """Something that answers prompts."""

    def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Generate text; closing the generator stops the generation.

        Raises:
            GenerationError: when it cannot, or cannot go on.
        """

    async def aclose(self) -> None:
        """Let go of connections."""


class GenerationError(Exception):
    """Base of what a backend raises."""


class RequestRefused(GenerationError):
    """The model cannot do what the request asks; the message says what."""


class ModelCrashed(GenerationError):
    """The model went away."""


class ContextOverflow(GenerationError):
    """The prompt alone does not fit the window. Both numbers are tokens."""

    def __init__(self, prompt_tokens: int, context_length: int) -> None:
        self.prompt_tokens = prompt_tokens
        self.context_length = context_length
        super().__init__(f"{prompt_tokens} tokens of prompt do not fit a window of {context_length}")
