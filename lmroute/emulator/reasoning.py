"""Where a route puts what a model thinks before it answers."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from lmroute.emulator.backends import Finish, Reasoning
from lmroute.emulator.versions import GPT_OSS_REASONING, SEPARATE_REASONING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from lmroute.emulator.backends import Event
    from lmroute.emulator.catalog import Model
    from lmroute.emulator.versions import Version

GPT_OSS_FIELD = "reasoning"


class Place(Enum):
    """Where the reasoning of an answer goes."""

    APART = auto()
    IN_CONTENT = auto()
    """Before the answer, between ``<think>`` and ``</think>``."""
    INSTEAD = auto()
    """The answer goes where the reasoning is, and there is no content: what JSON answers are known to do."""


def place_of(model: Model, version: Version, *, reasoning_only: bool) -> Place:
    """Where ``model`` of a release has its reasoning. Only newer releases keep it apart by default."""
    if reasoning_only:
        return Place.INSTEAD
    since = GPT_OSS_REASONING if model.reasoning_field == GPT_OSS_FIELD else SEPARATE_REASONING
    return Place.APART if version.has(since) else Place.IN_CONTENT


async def placed(events: AsyncGenerator[Event, None], place: Place) -> AsyncGenerator[Event, None]:
    """The same events with reasoning where it belongs."""
    before: Event = ""
    async for event in events:
        if place is Place.APART:
            yield event
        elif place is Place.INSTEAD:
            if not isinstance(event, Reasoning):
                yield Reasoning(event) if isinstance(event, str) else event
        else:
            for piece in _tagged(event, before):
                yield piece
        before = event


def _tagged(event: Event, before: Event) -> Iterator[Event]:
    """An event with the tag that belongs between it and the one ``before``."""
    if isinstance(event, Reasoning):
        yield event.text if isinstance(before, Reasoning) else f"<think>\n{event.text}"
        return
    cut_off = isinstance(event, Finish) and event.reason == "length"
    if isinstance(before, Reasoning) and not cut_off:
        yield "\n</think>\n\n"
    yield event
