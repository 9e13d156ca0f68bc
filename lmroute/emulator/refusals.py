"""Every error body the emulator sends. LM Studio has two shapes of them: a bare text, and an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmroute.emulator.backends import ContextOverflow, GenerationError, ModelCrashed
from lmroute.emulator.resolution import Unresolved
from lmroute.emulator.versions import OPENAI_ERRORS, OVERFLOW_IN_STREAM, TEXT_FORMAT, Version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.emulator.catalog import Model


class Refused(Exception):
    """A request that is answered with an error. ``body`` is the whole JSON body."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status = status
        self.body = body
        super().__init__(f"{status} {body}")


def text(message: str, status: int = 400) -> Refused:
    """The error as a bare text."""
    return Refused(status, {"error": message})


def unexpected_endpoint(method: str, path: str) -> Refused:
    """An unknown path or method: an error that LM Studio sends with status 200."""
    return text(f"Unexpected endpoint or method. ({method} {path})", 200)


def not_emulated(method: str, path: str) -> Refused:
    """Something that LM Studio has and the emulator does not."""
    message = f"{method} {path} exists in LM Studio; lmroute's emulator does not answer it"
    return Refused(501, {"error": {"type": "not_implemented", "message": message}})


def not_json() -> Refused:
    """A request body that is no JSON object. LM Studio's own words for it are unknown."""
    return text("The request body must be a JSON object")


def no_messages() -> Refused:
    """A chat request without messages."""
    return text("'messages' field is required")


def format_type(version: Version) -> Refused:
    """A ``response_format`` that LM Studio does not take, ``json_object`` first of all."""
    accepted = "'json_schema' or 'text'" if version.has(TEXT_FORMAT) else "'json_schema'"
    return text(f"'response_format.type' must be {accepted}")


def unresolved(why: Unresolved, name: str | None, models: Sequence[Model], version: Version) -> Refused:
    """No model answers a request for ``name``."""
    if why is Unresolved.NOTHING_LOADED:
        message = "No models loaded. Please load a model in the developer page or use the 'lms load' command."
        return _about_model(message, None, version)
    if why is Unresolved.NAME_MISSING:
        message = "Multiple models are loaded. Please specify a model by providing a 'model' field in the request."
    elif version.has(OPENAI_ERRORS):
        examples = ", ".join(example for model in models[:2] for example in (model.variant, model.key))
        message = f'Invalid model identifier "{name}". Please specify a valid downloaded model (e.g., {examples}).'
    else:
        keys = "\n".join(model.key for model in models)
        message = f'Model "{name}" not found. Please specify a valid model.\n\nYour models:\n\n{keys}'
    return _about_model(message, "model_not_found", version)


def unknown_in_v0(name: str) -> Refused:
    """A single model of the v0 list that is not on disk. LM Studio's own words for it are unknown."""
    return text(f'Model "{name}" not found', 404)


def generation_failed(error: GenerationError, version: Version) -> Refused:
    """A generation that failed before anything was sent."""
    return text(failure_text(error, version, streaming=False))


def ends_stream(error: GenerationError, version: Version) -> bool:
    """Whether this failure is told inside a stream of status 200 even when nothing was sent yet."""
    return isinstance(error, ContextOverflow) and version.has(OVERFLOW_IN_STREAM)


def failure_text(error: GenerationError, version: Version, *, streaming: bool) -> str:
    """LM Studio's words for a failed generation."""
    if isinstance(error, ContextOverflow):
        return _overflow(error, version, streaming=streaming)
    if isinstance(error, ModelCrashed):
        return "The model has crashed without additional information. (Exit code: null)"
    return str(error)


def _overflow(error: ContextOverflow, version: Version, *, streaming: bool) -> str:
    larger = "Try to load the model with a larger context length, or provide a shorter input"
    if not version.has(OVERFLOW_IN_STREAM):  # the odd order of words is LM Studio's
        return (
            f"Trying to keep the first {error.prompt_tokens} tokens when context the overflows. However, "
            f"the model is loaded with context length of only {error.context_length} tokens, "
            f"which is not enough. {larger}"
        )
    if streaming:
        return (
            f"Input does not fit in context length. The input has {error.prompt_tokens} tokens, "
            f"but the context length only supports {error.context_length} tokens."
        )
    return f"The number of tokens to keep from the initial prompt is greater than the context length. {larger}"


def _about_model(message: str, code: str | None, version: Version) -> Refused:
    body = {"message": message, "type": "invalid_request_error", "param": "model", "code": code}
    return Refused(400 if version.has(OPENAI_ERRORS) else 404, {"error": body})
