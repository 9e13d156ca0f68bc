"""Every error body the emulator sends. LM Studio has two shapes of them: a bare text, and an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmroute.emulator.machine.resolution import Unresolved
from lmroute.emulator.versions import OPENAI_ERRORS, TEXT_FORMAT, Version

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


def load_failed(name: str | None, version: Version) -> Refused:
    """A model that a request asked for and that could not be loaded."""
    return _about_model(f'Failed to load model "{name}". Error: Failed to load model.', None, version)


def unknown_in_v0(name: str) -> Refused:
    """A single model of the v0 list that is not on disk. LM Studio's own words for it are unknown."""
    return text(f'Model "{name}" not found', 404)


def invalid_value(param: str, value: object, supported: Sequence[str]) -> Refused:
    """A value that is none of those ``supported``, in the words of the OpenAI-style routes."""
    message = f"Invalid '{param}' value: '{value}'. Supported values: {', '.join(supported)}."
    return openai_error(message, param, "invalid_value")


def openai_error(message: str, param: str | None, code: str | None, status: int = 400) -> Refused:
    """The error as an object, in the form of the OpenAI-style routes."""
    return Refused(
        status,
        {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}},
    )


def not_embedding(name: str, version: Version) -> Refused:
    """A chat model that is asked for embeddings."""
    message = f'Failed to load model "{name}". Error: Model is not embedding.'
    return _about_model(message, "model_not_found", version)


def _about_model(message: str, code: str | None, version: Version) -> Refused:
    return openai_error(message, "model", code, 400 if version.has(OPENAI_ERRORS) else 404)
