"""What changed at a server since it was locked, in words, and how much that matters."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

from lmroute.model import Capabilities

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.lock.document import Instance, LockedModel, LockedProvider

    _Changes: TypeAlias = "Iterator[tuple[str, str, Weight]]"
    """What each is about, a model or nothing; in words; and how much it matters."""


class Weight(StrEnum):
    """How much a difference matters."""

    DRIFT = "drift"
    """The server is not what was locked."""
    MORE = "more"
    """It has something besides: a model, a path, a fact that it did not tell before."""
    NOW = "now"
    """What is loaded at the moment, which comes and goes by itself."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it was locked. ``model`` is empty when it is about the server."""

    provider: str
    model: str
    message: str
    weight: Weight = Weight.DRIFT

    def __str__(self) -> str:
        about = f"'{self.model}' " if self.model else ""
        return f"{self.provider}: {about}{self.message}"


_ABILITIES = (("tools", "calls tools"), ("vision", "sees images"))
_FACTS = (
    ("kind", "kind"),
    ("context_window", "window"),
    ("max_context_window", "largest window"),
    *_ABILITIES,
    ("reasoning", "settings of reasoning"),
    ("quantization", "quantization"),
    ("format", "format"),
)
"""The fields of a model, and what people call them."""


_NOTHING_DECLARED = Capabilities()


def differences(
    provider: str, locked: LockedProvider, found: LockedProvider, declared: Capabilities = _NOTHING_DECLARED
) -> tuple[Difference, ...]:
    """Everything about a provider that is not as it was locked: its server first, what is loaded last.

    Args:
        declared: what the profile says that its models can. Requests are routed by that, whatever the server says.
    """
    changes = chain(
        _of_server(locked, found),
        _of_paths(locked, found),
        _of_models(locked, found, declared),
        _of_answers(locked, found, declared),
        _of_memory(locked, found),
    )
    return tuple(Difference(provider, model, message, weight) for model, message, weight in changes)


def _of_server(locked: LockedProvider, found: LockedProvider) -> _Changes:
    for name, what in (("type", "type"), ("endpoint", "endpoint"), ("api", "API level")):
        before, after = getattr(locked, name), getattr(found, name)
        if before != after:
            yield "", f"{what} {_told(before)} -> {_told(after)}", Weight.DRIFT
    before, after = locked.loads_on_demand, found.loads_on_demand
    if None not in (before, after) and before != after:
        message = f"models {'no longer load' if before else 'now load'} when a request names them (just in time)"
        yield "", message, Weight.DRIFT if before else Weight.MORE
    if locked.state != found.state:
        why = f" ({found.error_code})" if found.error_code else ""
        weight = Weight.MORE if found.state == "healthy" else Weight.DRIFT
        yield "", f"state {locked.state} -> {found.state}{why}", weight


def _of_paths(locked: LockedProvider, found: LockedProvider) -> _Changes:
    for path in sorted({*locked.paths, *found.paths}):
        before, after = locked.paths.get(path), found.paths.get(path)
        if before and after is False:
            yield "", f"{path} is gone", Weight.DRIFT
        elif after and not before:
            yield "", f"{path} is there now", Weight.MORE


def _of_models(locked: LockedProvider, found: LockedProvider, declared: Capabilities) -> _Changes:
    before, after = ({model.id: model for model in entry.models} for entry in (locked, found))
    for name in sorted({*before, *after}):
        if name not in after:
            yield name, "is gone", Weight.DRIFT
        elif name not in before:
            yield name, "is new", Weight.MORE
        else:
            yield from _of_model(before[name], after[name], declared)


def _of_model(before: LockedModel, after: LockedModel, declared: Capabilities) -> _Changes:
    for field, what in _FACTS:
        one, two = getattr(before, field), getattr(after, field)
        if _plain(one) == _plain(two):
            continue
        # What an older API level does not tell has not changed; that level is a difference of its own.
        weight = Weight.DRIFT if None not in (one, two) else Weight.MORE
        lost = _still_sent(field, declared) if two is False else ""
        yield before.id, f"{what} {_told(one)} -> {_told(two)}{lost}", weight


def _still_sent(field: str, declared: Capabilities) -> str:
    """What becomes of the requests that need what the server says a model cannot."""
    if not getattr(declared, field, False):
        return ""
    return f", the server says; lmroute still sends them there, for the profile says {field}: true"


def _of_answers(locked: LockedProvider, found: LockedProvider, declared: Capabilities) -> _Changes:
    for name in sorted({*locked.answers} & {*found.answers}):
        before, after = locked.answers[name], found.answers[name]
        if before is None and after is not None:
            yield name, f"is answered now, by {after}", Weight.MORE
        elif after is None and before is not None:
            yield name, f"is answered by nobody now; it was by {before}", Weight.DRIFT
        elif before != after:
            yield name, f"means {after} now; it was {before}", Weight.NOW
            yield from _of_abilities(name, locked.answering(name), found.answering(name), declared)


def _of_abilities(name: str, before: LockedModel | None, after: LockedModel | None, declared: Capabilities) -> _Changes:
    """What the profile promises under a name, and the model that answers to it now cannot, unlike the one before."""
    for field, what in _ABILITIES:
        if getattr(before, field, None) and getattr(after, field, None) is False and getattr(declared, field):
            yield name, f"{what} yes -> no{_still_sent(field, declared)}", Weight.DRIFT


def _of_memory(locked: LockedProvider, found: LockedProvider) -> _Changes:
    before, after = ({instance.id: instance for instance in entry.loaded} for entry in (locked, found))
    for name in sorted({*before, *after}):
        if name not in after:
            yield name, "is not loaded now", Weight.NOW
        elif name not in before:
            window = after[name].context_window
            yield name, f"is loaded now{f', with a window of {window}' if window else ''}", Weight.NOW
        else:
            yield from _of_instance(before[name], after[name])


def _of_instance(before: Instance, after: Instance) -> _Changes:
    for what, one, two in (
        ("is of model", before.model, after.model),
        ("window", before.context_window, after.context_window),
        ("predictions at once", before.parallel, after.parallel),
    ):
        if one != two:
            yield before.id, f"{what} {_told(one)} -> {_told(two)}", Weight.MORE if None in (one, two) else Weight.DRIFT


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, tuple) else value


def _told(value: Any) -> str:
    """A fact as people write it."""
    if value is None:
        return "not told"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"[{', '.join(sorted(value))}]" if isinstance(value, tuple) else str(value)
