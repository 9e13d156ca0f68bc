"""Which of a server's models a request gets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lmroute.model import AUTO, LoadMode, Locality
from lmroute.providers.catalog import TYPES
from lmroute.providers.lmstudio.names import is_same_model

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


def not_offered(models: Sequence[ListedModel], name: str, profile: Profile) -> ListedModel | None:
    """The model of that name that the server has and that a request cannot have, because it is not loaded."""
    return next((m for m in models if not m.offered and (m.id == name or _is_same(m, name, profile.type))), None)


def _leaves(model: ListedModel, profile: Profile) -> bool:
    return model.elsewhere is not None and profile.locality is not Locality.CLOUD


def _is_same(listed: ListedModel, asked: str, kind: str) -> bool:
    if TYPES[kind].strict_model:
        return is_same_model(asked, listed.id) or is_same_model(asked, listed.key)
    alias = _ALIASES.get(kind)
    return alias is not None and alias.sub("", listed.id) == alias.sub("", asked)
