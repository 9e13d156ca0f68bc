"""LM Studio's contract, as far as a call needs it: what is loaded, what a refusal means, which model really answered.

Verified against LM Studio 0.3.5 to 0.4.25. Nothing here asks for a version; the server shows what it can.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmroute import redact
from lmroute.errors import ProviderUnavailable, TokenRefused
from lmroute.model import Failure
from lmroute.providers.catalog import TYPES, server_root
from lmroute.providers.http import Reply, get_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmroute.model import Locality, Secret

_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class Model:
    """A chat model of the server.

    Attributes:
        key: what to send as ``model``; the instance id for a loaded model.
        loaded: whether it can answer without a load.
        context_window: tokens of the *loaded* instance; ``None`` when it is not loaded or not told.
    """

    key: str
    loaded: bool
    context_window: int | None = None


def list_models(endpoint: str, *, locality: Locality, token: Secret | None, connect_s: float = 2.0) -> list[Model]:
    """The server's chat models, loaded ones first.

    Asks the native API of 0.4 first, then the one of 0.3.6, then the OpenAI list, which knows neither state nor type.

    Raises:
        ServerUnreachable: nobody answers there.
        TokenRefused: the server wants an API token, or another one.
        ProviderUnavailable: it answers, but not like LM Studio.
    """
    root = _root(endpoint)
    for path, key, read in _LISTS:
        reply = get_json(root + path, locality=locality, token=token, connect_s=connect_s)
        if reply.status == _UNAUTHORIZED:
            # A 401 means a new server that wants a token, never an old one without this path.
            raise TokenRefused(f"{root} wants an API token (Developer > Server Settings > Manage Tokens)")
        entries = reply.body.get(key) if reply.ok and isinstance(reply.body, dict) else None
        if isinstance(entries, list):
            try:
                models = [model for entry in entries for model in read(entry)]
            except (AttributeError, KeyError, TypeError) as error:
                raise ProviderUnavailable(f"{root}{path} has another shape than LM Studio's model list") from error
            return sorted(models, key=lambda model: not model.loaded)
    raise ProviderUnavailable(f"{root} answers, but it lists no models: {_said(reply)}")


def choose(models: list[Model], endpoint: str) -> Model:
    """What ``models: [auto]`` means: the first loaded model, else the first one the server can load by itself.

    Raises:
        ProviderUnavailable: the server has no chat model.
    """
    if not models:
        raise ProviderUnavailable(f"{_root(endpoint)} has no chat model; load one in LM Studio (or: lms load)")
    return models[0]


def is_same_model(asked: str, answered: str) -> bool:
    """Whether the answering model is the one asked for.

    Keys are case-insensitive, a second copy is called ``key:2``, and ``key@quant`` names a variant of ``key``.
    """
    return _plain_key(asked) == _plain_key(answered)


def _plain_key(name: str) -> str:
    return re.sub(r"(:\d+)?$", "", name.casefold()).partition("@")[0]


_OVERFLOW = re.compile(
    r"tokens to keep from the initial prompt|trying to keep the first|does not fit in context length"
    r"|context size has been exceeded|exceeds the available context size|reached context length"
    r"|exceed_context_size_error",
    re.IGNORECASE,
)
_NO_SUCH_MODEL = re.compile(
    r'no models loaded|multiple models are loaded|invalid model identifier|model ".*" not found', re.IGNORECASE
)
_MEANINGS: tuple[tuple[re.Pattern[str], Failure], ...] = (
    (_OVERFLOW, Failure.CONTEXT_LENGTH),
    (re.compile(r"unexpected endpoint or method", re.IGNORECASE), Failure.BAD_REPLY),
    (_NO_SUCH_MODEL, Failure.UNSUPPORTED_MODEL),
    (re.compile(r"failed to load (model|llm)|model_load_failed", re.IGNORECASE), Failure.UNAVAILABLE),
    (
        re.compile(r"model (is |has )?(unloaded|crashed)|unloaded or crashed|compute error", re.IGNORECASE),
        Failure.SERVER,
    ),
)


def meaning_of(message: str) -> Failure | None:
    """What an error text of LM Studio or llama.cpp really is, whatever status it came with; ``None`` when unknown."""
    return next((failure for pattern, failure in _MEANINGS if pattern.search(message)), None)


def _read_v1(entry: dict[str, Any]) -> Iterator[Model]:
    if entry.get("type") != "llm":
        return
    for instance in entry.get("loaded_instances") or ():
        config = instance.get("config") or {}
        yield Model(str(instance["id"]), loaded=True, context_window=_window(config.get("context_length")))
    if not entry.get("loaded_instances"):
        yield Model(str(entry["key"]), loaded=False)


def _read_v0(entry: dict[str, Any]) -> Iterator[Model]:
    if entry.get("type") in {"llm", "vlm"}:
        yield Model(str(entry["id"]), entry.get("state") == "loaded", _window(entry.get("loaded_context_length")))


def _read_openai(entry: dict[str, Any]) -> Iterator[Model]:
    # The list has no types; embedding models are known by their name only.
    if "embed" not in str(entry.get("id", "")).lower():
        yield Model(str(entry["id"]), loaded=False)


_LISTS: tuple[tuple[str, str, Callable[[dict[str, Any]], Iterator[Model]]], ...] = (
    ("/api/v1/models", "models", _read_v1),
    ("/api/v0/models", "data", _read_v0),
    ("/v1/models", "data", _read_openai),
)
"""Where lists are, the key that proves them, and how an entry is read. A server without one answers something else."""


def _window(tokens: object) -> int | None:
    """A context window as told, if it is one."""
    return tokens if isinstance(tokens, int) and tokens > 0 else None


def _root(endpoint: str) -> str:
    return server_root(endpoint, TYPES["lmstudio"])


def _said(reply: Reply) -> str:
    error = reply.body.get("error") if isinstance(reply.body, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return redact.text(str(message))[:200] if message else f"HTTP {reply.status}"
