"""Text from the backend, for one request at one instance."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from lmroute.emulator.backends import Finish
from lmroute.emulator.failures import as_told
from lmroute.emulator.machine.instances import WindowExceeded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from lmroute.emulator.backends import Backend, Event, Prompt
    from lmroute.emulator.faults import Faults
    from lmroute.emulator.machine.instances import Instance


async def generate(backend: Backend, instance: Instance, prompt: Prompt, faults: Faults) -> AsyncGenerator[Event, None]:
    """What ``backend`` generates, once ``instance`` has a free slot; it is held until the last event was taken.

    Raises:
        GenerationError: the backend's, or because the instance was unloaded or gave everything up meanwhile.
    """
    async with instance.fate() as fate, aclosing(_held(backend, instance, prompt, faults)) as events:
        while (event := await _next(events, fate)) is not None:
            yield event


async def _held(backend: Backend, instance: Instance, prompt: Prompt, faults: Faults) -> AsyncGenerator[Event, None]:
    async with instance.slot(), aclosing(backend.generate(prompt)) as events:
        first, said = True, 0
        try:
            async for event in events:
                if faults.failure and said >= faults.failure_after:
                    raise as_told(faults)
                said += 1
                if faults.window_exceeded and _fills(event, instance):
                    instance.abort(WindowExceeded())
                instance.generating += first
                first = False
                yield event
        finally:
            instance.generating -= not first


async def _next(events: AsyncGenerator[Event, None], fate: asyncio.Future[None]) -> Event | None:
    """The next event, ``None`` after the last one, unless ``fate`` comes first."""
    step: asyncio.Future[Event | None] = asyncio.ensure_future(anext(events, None))
    try:
        await asyncio.wait((step, fate), return_when=asyncio.FIRST_COMPLETED)
        if fate.done():
            fate.result()
        return step.result()
    finally:
        if not step.done() or fate.done():
            step.cancel()
            await asyncio.gather(step, return_exceptions=True)


def _fills(event: Event, instance: Instance) -> bool:
    """Whether a generation ended because prompt and answer fill the window."""
    if not isinstance(event, Finish) or event.reason != "length":
        return False
    return event.prompt_tokens + event.completion_tokens >= instance.context_length
