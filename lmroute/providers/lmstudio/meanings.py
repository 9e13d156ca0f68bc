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
            r"tokens to keep from the initial prompt(?: is greater than the context length)?"
            r"(?: \(n_keep: ?\d+ ?>=? ?n_ctx: ?\d+\))?",
            r"trying to keep the first(?: \d+ tokens)?(?: when context the overflows\."
            r" However, the model is loaded with context length of only \d+ tokens)?",
            r"does not fit in context length"
            r"(?:\. The input has \d+ tokens, but the context length only supports \d+ tokens)?",
            "context size has been exceeded",
            r"(?:request \(\d+ tokens\) )?exceeds the available context size(?: \(\d+ tokens\))?",
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
            'model "[^"]*" not found',
        ),
        Failure.UNSUPPORTED_MODEL,
    ),
    (
        _any_of(
            r"model (?:is |has )?(?:unloaded|crashed)"
            r"(?: without additional information\. \(Exit code: (?:\d+|null)\))?",
            "unloaded or crashed",
            "compute error",
        ),
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
_QUOTED = re.compile('"[^"]*"')
_ECHO = re.compile(r"(?<=LM Studio API token provided: )\S+")


def meaning_of(message: str) -> Failure | None:
    """What an error text of LM Studio or llama.cpp really is, whatever status it came with; ``None`` when unknown."""
    return next((failure for pattern, failure in _MEANINGS if pattern.search(message)), None)


def phrase_in(message: str) -> str:
    """The wording that shows what an error text is, with its numbers and nothing of anybody else's; empty when unknown.

    Names in quotes are left out: LM Studio quotes what it was sent there.
    """
    found = next(filter(None, (pattern.search(message) for pattern, _ in _MEANINGS)), None)
    return _QUOTED.sub('"…"', found.group()) if found else ""


def without_token(message: str) -> str:
    """A refusal of a malformed token without the ten characters of it that LM Studio quotes."""
    return _ECHO.sub("***", message)
