"""Which model answers a request. LM Studio does not simply refuse an unknown name: see ``resolve``."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from lmroute.emulator.catalog import Kind, Model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.emulator.machine.instances import Instance


class Unresolved(Enum):
    """Why no model answers."""

    NOTHING_LOADED = auto()
    UNKNOWN_NAME = auto()
    NAME_MISSING = auto()
    """Several models are loaded and the request does not say which one it means."""


def resolve(
    name: str | None, models: Sequence[Model], instances: Sequence[Instance], *, jit: bool, kind: Kind = Kind.LLM
) -> Instance | Model | Unresolved:
    """What a request for ``name`` (``None`` when it names nothing) gets.

    In this order: the instance of exactly that id; the first instance of a model of that key; with ``jit``, a
    downloaded model of that key, which the caller then loads; the only loaded model, whatever it is called.
    Only models of ``kind`` count.
    """
    chats = [instance for instance in instances if instance.model.kind is kind]
    if name is None:
        return _only(chats, Unresolved.NAME_MISSING)
    if not name:
        return Unresolved.UNKNOWN_NAME
    exact = next((instance for instance in chats if instance.id == name), None)
    loaded = next((instance for instance in chats if instance.model.answers_to(name)), None)
    downloaded = next((m for m in models if jit and m.kind is kind and m.answers_to(name)), None)
    return exact or loaded or downloaded or _only(chats, Unresolved.UNKNOWN_NAME)


def _only(chats: Sequence[Instance], several: Unresolved) -> Instance | Unresolved:
    if not chats:
        return Unresolved.NOTHING_LOADED
    return chats[0] if len(chats) == 1 else several
