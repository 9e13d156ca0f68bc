"""What LM Studio says when a generation fails: plain refusals, and events inside a stream that has begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.emulator import refusals
from lmroute.emulator.backends import ComputeFailed, ContextOverflow, ModelCrashed
from lmroute.emulator.machine.instances import ModelUnloaded
from lmroute.emulator.versions import OVERFLOW_IN_STREAM, Version

if TYPE_CHECKING:
    from lmroute.emulator.backends import GenerationError
    from lmroute.emulator.faults import Faults
    from lmroute.emulator.refusals import Refused

_LARGER = "Try to load the model with a larger context length, or provide a shorter input"


def as_told(faults: Faults) -> GenerationError:
    """The failure that ``faults.failure`` names."""
    if faults.failure == "unloaded":
        return ModelUnloaded()
    return ComputeFailed("Compute error.") if faults.failure == "compute" else ModelCrashed("as told")


def refused(error: GenerationError, version: Version, faults: Faults, *, streaming: bool) -> Refused:
    """The answer to a request whose generation failed before anything was sent."""
    if isinstance(error, ContextOverflow) and _variant(version, faults, streaming=streaming) == "E14":
        return refusals.Refused(400, {"error": _llama_server(error)})
    return refusals.text(message(error, version, faults, streaming=streaming))


def ends_stream(error: GenerationError, version: Version, faults: Faults) -> bool:
    """Whether a stream tells this failure inside of status 200 even when nothing was sent yet."""
    return isinstance(error, ContextOverflow) and _variant(version, faults, streaming=True) == "E12"


def message(error: GenerationError, version: Version, faults: Faults, *, streaming: bool) -> str:
    """LM Studio's words for a failed generation."""
    if isinstance(error, ContextOverflow):
        return _overflow(error, _variant(version, faults, streaming=streaming))
    if isinstance(error, ModelCrashed):
        return "The model has crashed without additional information. (Exit code: null)"
    return str(error)


def _variant(version: Version, faults: Faults, *, streaming: bool) -> str:
    """Which of the known refusals of a prompt that does not fit."""
    if faults.overflow:
        return faults.overflow
    if not version.has(OVERFLOW_IN_STREAM):
        return "E10"
    return "E12" if streaming else "E11"


def _overflow(error: ContextOverflow, variant: str) -> str:
    prompt, window = error.prompt_tokens, error.context_length
    if variant == "E10":  # the odd order of words is LM Studio's
        return (
            f"Trying to keep the first {prompt} tokens when context the overflows. However, the model is loaded "
            f"with context length of only {window} tokens, which is not enough. {_LARGER}"
        )
    if variant == "E11":
        return f"The number of tokens to keep from the initial prompt is greater than the context length. {_LARGER}"
    if variant == "E12":
        return (
            f"Input does not fit in context length. The input has {prompt} tokens, "
            f"but the context length only supports {window} tokens."
        )
    return f"request ({prompt} tokens) exceeds the available context size ({window} tokens), try increasing it"


def _llama_server(error: ContextOverflow) -> dict[str, str | int]:
    return {
        "code": 400,
        "message": _overflow(error, "E14"),
        "type": "exceed_context_size_error",
        "n_prompt_tokens": error.prompt_tokens,
        "n_ctx": error.context_length,
    }
