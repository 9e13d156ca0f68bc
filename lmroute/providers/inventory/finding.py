"""Which of a server's models a request gets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lmroute.model import AUTO, LoadMode, Locality
from lmroute.providers.catalog import TYPES
from lmroute.providers.lmstudio.names import is_same_model, split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.model import Profile
    from lmroute.providers.inventory.models import ListedModel

_ANY_NAME = frozenset({"llamacpp", "embedded"})
"""Types that answer with their only model whatever name is asked for."""

_ALIASES = {
    "ollama": re.compile(r":latest$"),
    "anthropic": re.compile(r"-(\d{8}|latest)$"),
    "openrouter": re.compile(r":[a-z]+$"),
}
"""What may stand behind a name without making it another model."""


def find(models: Sequence[ListedModel], name: str, profile: Profile) -> ListedModel | None:
    """The offered model that a request for ``name`` gets; ``auto`` is the first loaded one, else the first."""
    loads = profile.load.mode is LoadMode.EXPLICIT  # then lmroute loads what is only on disk
    # That it cannot chat is known of a model whose type is told; a name with "embed" in it proves nothing.
    able = [m for m in models if (m.chats or m.loaded is None) and not _leaves(m, profile)]
    offered = [model for model in able if model.offered or loads]
    chats = sorted((model for model in offered if model.chats), key=lambda model: not model.loaded)
    if name == AUTO:
        return chats[0] if chats else None
    same = next((model for model in offered if model.id == name), None) or next(
        # A loaded instance of it, whatever that is called, answers before the model itself is loaded once more.
        (m for m in sorted(offered, key=lambda model: not model.loaded) if _is_same(m, name, profile.type)),
        None,
    )
    return same or (chats[0] if profile.type in _ANY_NAME and len(chats) == 1 else None)


def passed_on(models: Sequence[ListedModel], name: str, profile: Profile) -> ListedModel | None:
    """The model of that name for which a request would leave the place that the profile promises."""
    return next((m for m in models if _leaves(m, profile) and (m.id == name or _is_same(m, name, profile.type))), None)


def no_chat(models: Sequence[ListedModel], name: str) -> str:
    """That the model of this name answers no chat, in words; empty where it does, or where nobody says."""
    known = (m for m in models if not m.chats and m.loaded is not None)
    other = next((m for m in known if name.casefold() in {m.id.casefold(), m.key.casefold()}), None)
    return "" if other is None else f"'{other.id}' is an embedding model, it answers no chat"


def not_offered(models: Sequence[ListedModel], name: str, profile: Profile) -> ListedModel | None:
    """The model of that name that the server has and that a request cannot have, because it is not loaded."""
    return next((m for m in models if not m.offered and (m.id == name or _is_same(m, name, profile.type))), None)


def is_answer(models: Sequence[ListedModel], asked: str, answered: str) -> bool:
    """Whether LM Studio's answer under one name is from the model asked for under another.

    The list decides. The names do only where the list does not have who answered: it was loaded since.
    """
    if asked.casefold() == answered.casefold():
        return True
    given = next((m for m in models if m.id == answered), None) or next(
        (m for m in models if _names(answered, m)), None
    )
    if given is None:
        return is_same_model(asked, answered)
    return any(_names(asked, m) and m.key.casefold() == given.key.casefold() for m in models)


def _leaves(model: ListedModel, profile: Profile) -> bool:
    return model.elsewhere is not None and profile.locality is not Locality.CLOUD


def _is_same(listed: ListedModel, asked: str, kind: str) -> bool:
    if TYPES[kind].strict_model:
        return _names(asked, listed)
    alias = _ALIASES.get(kind)
    return alias is not None and alias.sub("", listed.id) == alias.sub("", asked)


def _names(asked: str, listed: ListedModel) -> bool:
    """Whether a name is one of LM Studio's for this model: its identifier, its key, a copy or a variant of it.

    What stands behind a colon is a copy's number only where the name before it is known; an identifier that people
    chose may end the same way and be another model.
    """
    if asked.casefold() == listed.id.casefold():
        return True
    variant = split(asked)[1]
    if not is_same_model(asked, listed.key):
        return bool(listed.of) and not variant and split(listed.id)[2] == "" and is_same_model(asked, listed.id)
    return not variant or _has(listed, variant)


def _has(listed: ListedModel, variant: str) -> bool:
    """Whether a model is there in this variant; where nobody tells any, it may be."""
    if listed.variants:
        return any(split(name)[1] == variant for name in listed.variants)
    return listed.quantization is None or _bare(listed.quantization) == _bare(variant)


def _bare(quantization: str) -> str:
    return re.sub(r"[^0-9a-z]", "", quantization.casefold())
