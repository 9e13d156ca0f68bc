"""Which model or instance of LM Studio's a name means, and which ones may have been meant instead."""

from __future__ import annotations

import difflib
import shlex
from typing import TYPE_CHECKING

from lmroute.model import AUTO
from lmroute.providers.lmstudio.names import plain_key, split
from lmroute.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lmroute.providers.inventory import Inventory, ListedModel

_SHOWN = 3


def instance_of(inventory: Inventory, key: str) -> ListedModel | None:
    """The loaded instance that a request for this name gets: of exactly that name, else of that model.

    ``key:2`` is that very instance and no other.
    """
    instances = [model for model in inventory.models if model.loaded and model.of]
    if exact := next((m for m in instances if m.id == key), None):
        return exact
    if names_a_copy(inventory, key):
        return next((m for m in instances if m.id.casefold() == key.casefold()), None)
    return next((m for m in instances if plain_key(m.of) == plain_key(key)), None)


def names_a_copy(inventory: Inventory, name: str) -> bool:
    """Whether a name ends with the number of an instance, and is not the whole name of a model."""
    return bool(split(name)[2]) and name.casefold() not in {model.key.casefold() for model in inventory.models}


def model_of(inventory: Inventory, name: str) -> ListedModel | None:
    """The model that a name, or an instance of that name, is of."""
    return next((m for m in inventory.models if m.id == name), None) or next(
        (m for m in inventory.models if plain_key(m.key) == plain_key(name)), None
    )


def near(name: str, known: Iterable[str]) -> str:
    """The names that somebody may have meant, as advice; what there is when none is near."""
    names = list(dict.fromkeys(known))
    short = {other.rpartition("/")[2].casefold(): other for other in names}
    wanted = name.casefold()
    alike = [other for other in names if wanted in other.casefold()]
    alike += [short[other] for other in difflib.get_close_matches(wanted.rpartition("/")[2], short, n=_SHOWN)]
    shown = list(dict.fromkeys(alike))[:_SHOWN]
    if shown:
        return f"did you mean {_enumerated(shown)}?"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"there are {_enumerated(names[:_SHOWN])}{more}" if names else "there is none"


def instead(inventory: Inventory, key: str) -> str:
    """What to do about a name that the server does not know."""
    alike = near(key, (model.key for model in inventory.models))
    _, variant, number = split(key)
    if key == AUTO or variant or number:
        return alike
    return f"{alike}{'' if alike.endswith('?') else '.'} Or get it: lmroute models download {shlex.quote(key)}"


def _enumerated(names: Iterable[str]) -> str:
    return ", ".join(f"'{one_line(name)}'" for name in names)
