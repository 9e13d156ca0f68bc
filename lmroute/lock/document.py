"""What a lock says: of each provider its server, its models, and apart from these what was loaded at the moment."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_COPY = re.compile(r":[0-9]+$")


class Kind(StrEnum):
    """What a model is for."""

    CHAT = "chat"
    EMBEDDING = "embedding"
    OTHER = "other"
    """No type was told, and the name is not one of a chat model."""


@dataclass(frozen=True, slots=True)
class LockedModel:
    """A model that a server has, loaded or not. ``None`` where the server does not say.

    Attributes:
        kind: whether it answers chats.
        context_window: tokens that it always takes; ``None`` where that depends on how it is loaded.
        max_context_window: tokens that it can take at most.
        reasoning: the settings of reasoning that it takes.
    """

    id: str
    kind: Kind = Kind.CHAT
    context_window: int | None = None
    max_context_window: int | None = None
    tools: bool | None = None
    vision: bool | None = None
    reasoning: tuple[str, ...] | None = None
    quantization: str | None = None
    format: str | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """A model in memory: what it is called there, which model it is, its tokens and its predictions at once."""

    id: str
    model: str
    context_window: int | None = None
    parallel: int | None = None


@dataclass(frozen=True, slots=True)
class LockedProvider:
    """What one provider's server was found to be.

    Attributes:
        taken: when, in UTC to the second: ``2026-03-01T09:30:00Z``.
        endpoint: as ``address`` gives it; ``None`` for a service whose address is fixed.
        api: a word of ``lmroute.providers.inventory.Api``.
        state, error_code: of the health probe; no error code is nothing wrong.
        paths: whether the server has each of some paths; ``None`` when its answer told nothing. Only LM Studio's.
        loads_on_demand: whether a request for a model that is not loaded loads it.
        answers: by each name that the profile or the policy sends, the model or instance that answers to it.
        loaded: of servers that tell it.
    """

    type: str
    taken: str
    endpoint: str | None = None
    api: str = "plain"
    state: str = "healthy"
    error_code: str | None = None
    paths: Mapping[str, bool | None] = field(default_factory=dict)
    loads_on_demand: bool | None = None
    models: tuple[LockedModel, ...] = ()
    answers: Mapping[str, str | None] = field(default_factory=dict)
    loaded: tuple[Instance, ...] = ()

    def answering(self, name: str) -> LockedModel | None:
        """The model that a request for ``name`` gets, as far as that was found out or names one of the list."""
        instance = self._instance(name)
        return self.named(instance.model if instance else self._answer(name))

    def named(self, name: str) -> LockedModel | None:
        """The model of a name, whether it answered or not: its id, or what else LM Studio calls it."""
        wanted = name.casefold()
        same = next((model for model in self.models if model.id.casefold() == wanted), None)
        if same or self.type != "lmstudio":
            return same
        key, _, variant = _COPY.sub("", wanted).partition("@")
        return next((m for m in self.models if m.id.casefold() == key and _is_packed(m, variant)), None)

    def window(self, name: str) -> int | None:
        """The tokens that a request for ``name`` can count on; ``None`` when that was not told, or depends."""
        if instance := self._instance(name):
            return instance.context_window
        model = self.answering(name)
        return model.context_window if model else None

    def most(self, name: str) -> int | None:
        """``window``; of a model that is not loaded, what it can take at most."""
        model = self.answering(name)
        return self.window(name) or (model.max_context_window if model else None)

    def _answer(self, name: str) -> str:
        # A name that was written into the profile later may still be one of the list.
        return (self.answers[name] or "") if name in self.answers else name

    def _instance(self, name: str) -> Instance | None:
        wanted = self._answer(name).casefold()
        return next((instance for instance in self.loaded if instance.id.casefold() == wanted), None)


def _is_packed(model: LockedModel, variant: str) -> bool:
    """Whether a model is there in a variant, which is called by its quantization; where nobody says, it may be."""
    return not variant or model.quantization is None or _bare(model.quantization) == _bare(variant)


def _bare(quantization: str) -> str:
    return re.sub(r"[^0-9a-z]", "", quantization.casefold())


@dataclass(frozen=True, slots=True)
class Lock:
    """What is locked, by provider id."""

    providers: Mapping[str, LockedProvider] = field(default_factory=dict)


def address(endpoint: str | None) -> str | None:
    """An endpoint as a lock may show it: people paste passwords and tokens into it."""
    if endpoint is None:
        return None
    try:
        parts = urlsplit(endpoint.strip())
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")
    except ValueError:
        return ""
