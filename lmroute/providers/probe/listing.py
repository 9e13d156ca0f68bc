"""How each kind of server lists its models, as data, and what a list tells of each."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lmroute.model import AUTO
from lmroute.providers import lmstudio
from lmroute.providers.catalog import TYPES, Dialect
from lmroute.providers.probe.faults import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from lmroute.model import Profile, Secret


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model that a server offers. ``None`` where the server does not say.

    Attributes:
        id: what to send as ``model``.
        chats: whether it can answer a chat; embedding models cannot.
        context_window: tokens that it takes now: those of the loaded instance.
        max_context_window: tokens that it could take at most.
    """

    id: str
    chats: bool = True
    loaded: bool | None = None
    context_window: int | None = None
    max_context_window: int | None = None
    tools: bool | None = None
    vision: bool | None = None

    @property
    def window(self) -> int | None:
        """The tokens that a request can count on: now if that is told, else at most."""
        return self.context_window or self.max_context_window


@dataclass(frozen=True, slots=True)
class Listing:
    """How a dialect lists models.

    Attributes:
        path: under the base URL; the longest page where there are pages.
        key, name: where the list stands in the answer, and a model's name in an entry.
        prefix: what stands before a name there and not in requests.
        token: the header that carries the token, and what stands before it.
    """

    path: str = "/models"
    key: str = "data"
    name: str = "id"
    prefix: str = ""
    token: tuple[str, str] = ("Authorization", "Bearer ")
    headers: tuple[tuple[str, str], ...] = ()

    def headers_with(self, token: Secret | None) -> list[tuple[str, str]]:
        """The headers of a request."""
        name, before = self.token
        return [*self.headers, *([] if token is None else [(name, before + token.reveal())])]

    def read(self, body: Any) -> list[ListedModel] | None:
        """The models of an answer; ``None`` when it is no such list."""
        entries = body.get(self.key) if isinstance(body, dict) else None
        if not isinstance(entries, list):
            return None
        return [_read(entry, entry[self.name].removeprefix(self.prefix)) for entry in _named(entries, self.name)]


LISTINGS: dict[Dialect, Listing] = {
    Dialect.OPENAI_CHAT: Listing(),
    Dialect.ANTHROPIC: Listing(
        "/models?limit=1000", token=("x-api-key", ""), headers=(("anthropic-version", "2023-06-01"),)
    ),
    Dialect.GEMINI: Listing("/models?pageSize=1000", "models", "name", "models/", token=("x-goog-api-key", "")),
}
"""LiteLLM's is missing on purpose: there is nobody to ask."""

PUBLIC = frozenset({"openrouter"})
"""Types whose list is open to everybody, so that it proves nothing about a token."""

_ANY_NAME = frozenset({"llamacpp", "embedded"})
"""Types that answer with their only model whatever name is asked for."""

_ALIASES = {
    "ollama": re.compile(r":latest$"),
    "anthropic": re.compile(r"-(\d{8}|latest)$"),
    "openrouter": re.compile(r":[a-z]+$"),
}
"""What may stand behind a name without making it another model."""

_WINDOWS = ("max_model_len", "context_length", "max_input_tokens", "inputTokenLimit")
"""vLLM's and SGLang's, OpenRouter's, Anthropic's and Gemini's word for the context window."""


def _named(entries: Sequence[Any], name: str) -> Iterator[dict[str, Any]]:
    """The entries that have a name, which is all that a list needs to tell."""
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get(name), str) and entry[name]:
            yield entry


def _read(entry: dict[str, Any], name: str) -> ListedModel:
    can = entry.get("supported_parameters")
    seen = entry.get("architecture")
    inputs = seen.get("input_modalities") if isinstance(seen, dict) else None
    return ListedModel(
        one_line(name),
        # Most lists have no types; embedding models are known by their name only.
        chats="embed" not in name.lower(),
        context_window=next((window for key in _WINDOWS if (window := _tokens(entry.get(key)))), None),
        tools="tools" in can if isinstance(can, list) else None,
        vision="image" in inputs if isinstance(inputs, list) else None,
    )


@dataclass(frozen=True, slots=True)
class Native:
    """A native list of LM Studio's, which tells state, window and capabilities. ``key`` proves it."""

    path: str
    key: str
    name: str
    read: Callable[[dict[str, Any], str], Iterable[ListedModel]]

    def details(self, body: Any) -> dict[str, ListedModel] | None:
        """What the list tells, by lower-case id; ``None`` when it is no such list."""
        entries = body.get(self.key) if isinstance(body, dict) else None
        if not isinstance(entries, list):
            return None
        found: dict[str, ListedModel] = {}
        for entry in _named(entries, self.name):
            for model in self.read(entry, entry[self.name]):
                found.setdefault(model.id.casefold(), model)
        return found


def _read_v1(entry: dict[str, Any], key: str) -> Iterator[ListedModel]:
    able = entry.get("capabilities")
    able = able if isinstance(able, dict) else {}
    model = ListedModel(
        one_line(key),
        chats=entry.get("type") == "llm",
        loaded=False,
        max_context_window=_tokens(entry.get("max_context_length")),
        tools=_told(able.get("trained_for_tool_use")),
        vision=_told(able.get("vision")),
    )
    instances = entry.get("loaded_instances")
    for instance in _named(instances if isinstance(instances, list) else [], "id"):
        config = instance.get("config")
        window = _tokens(config.get("context_length")) if isinstance(config, dict) else None
        # A request for the key goes to the first instance, whatever that is called.
        model = model if model.loaded else replace(model, loaded=True, context_window=window)
        yield replace(model, id=one_line(instance["id"]), context_window=window)
    yield model


def _read_v0(entry: dict[str, Any], key: str) -> Iterator[ListedModel]:
    able = entry.get("capabilities")
    yield ListedModel(
        one_line(key),
        chats=entry.get("type") in {"llm", "vlm"},
        loaded=entry.get("state") == "loaded",
        context_window=_tokens(entry.get("loaded_context_length")),
        max_context_window=_tokens(entry.get("max_context_length")),
        tools="tool_use" in able if isinstance(able, list) else None,
        vision=entry.get("type") == "vlm",
    )


NATIVE = (
    Native("/api/v1/models", "models", "key", _read_v1),
    Native("/api/v0/models", "data", "id", _read_v0),
)
"""LM Studio's native lists, newest first."""


def with_details(offered: Sequence[ListedModel], details: dict[str, ListedModel]) -> list[ListedModel]:
    """What is offered, with what the native list tells of it, and instances under names of their own."""
    known = [replace(details.get(model.id.casefold(), model), id=model.id) for model in offered]
    listed = {model.id.casefold() for model in offered}
    return known + [model for name, model in details.items() if model.loaded and name not in listed]


def find(models: Sequence[ListedModel], name: str, profile: Profile) -> ListedModel | None:
    """The listed model that a request for ``name`` gets; ``auto`` is the first loaded one, else the first."""
    chats = sorted((model for model in models if model.chats), key=lambda model: not model.loaded)
    if name == AUTO:
        return chats[0] if chats else None
    same = next((model for model in models if model.id == name), None) or next(
        (model for model in models if _is_same(model.id, name, profile.type)), None
    )
    return same or (chats[0] if profile.type in _ANY_NAME and len(chats) == 1 else None)


def _is_same(listed: str, asked: str, kind: str) -> bool:
    if TYPES[kind].strict_model:
        return lmstudio.is_same_model(asked, listed)
    alias = _ALIASES.get(kind)
    return alias is not None and alias.sub("", listed) == alias.sub("", asked)


def _tokens(told: object) -> int | None:
    return told if isinstance(told, int) and not isinstance(told, bool) and told > 0 else None


def _told(value: object) -> bool | None:
    return value if isinstance(value, bool) else None
