"""What LM Studio's error texts really mean, whatever status they came with.

Collected from LM Studio 0.3.5 to 0.4.25 and from llama.cpp's server, whose words it passes on.
"""

from __future__ import annotations

import re

from lmroute.model import Failure


def _any_of(*wordings: str) -> re.Pattern[str]:
    return re.compile("|".join(wordings), re.IGNORECASE)


_MEANINGS: tuple[tuple[re.Pattern[str], Failure], ...] = (
    # First, because a failed load names the model as if it were not there, and the code says so too.
    (_any_of(r"failed to load (?:model|llm)", "model_load_failed"), Failure.UNAVAILABLE),
    (
        _any_of(
            "tokens to keep from the initial prompt",
            "trying to keep the first",
            "does not fit in context length",
            "context size has been exceeded",
            "exceeds the available context size",
            "reached context length",
            "exceed_context_size_error",
        ),
        Failure.CONTEXT_LENGTH,
    ),
    (_any_of("unexpected endpoint or method"), Failure.BAD_REPLY),
    (
        _any_of(
            "no models loaded",
            "multiple models are loaded",
            "invalid model identifier",
            'model ".*" not found',
        ),
        Failure.UNSUPPORTED_MODEL,
    ),
    (
        _any_of(r"model (?:is |has )?(?:unloaded|crashed)", "unloaded or crashed", "compute error"),
        Failure.SERVER,
    ),
    (_any_of("LM Studio API token"), Failure.AUTH),
    (
        _any_of(
            r"'response_format\.type' must be",
            "invalid tool_choice type",
            "'messages' field is required",
            "invalid 'reasoning_effort' value",
            "invalid discriminator value",
            "unrecognized key",
        ),
        Failure.INVALID_REQUEST,
    ),
)
_ECHO = re.compile(r"(?<=LM Studio API token provided: )\S+")


def meaning_of(message: str) -> Failure | None:
    """What an error text of LM Studio or llama.cpp really is, whatever status it came with; ``None`` when unknown."""
    return next((failure for pattern, failure in _MEANINGS if pattern.search(message)), None)


def without_token(message: str) -> str:
    """A refusal of a malformed token without the ten characters of it that LM Studio quotes."""
    return _ECHO.sub("***", message)
