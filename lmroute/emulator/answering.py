"""One answer on its way to its client, whole or as a stream, in the words of whatever route was asked."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from lmroute.emulator import failures
from lmroute.emulator.backends import Finish, GenerationError, Reasoning, ToolCall
from lmroute.emulator.faults import faults_of
from lmroute.emulator.reasoning import place_of, placed
from lmroute.emulator.transport.wire import EventStream, json_response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable

    from starlette.types import Receive, Scope, Send

    from lmroute.emulator.backends import Event, Prompt
    from lmroute.emulator.house import House
    from lmroute.emulator.machine.instances import Instance
    from lmroute.emulator.refusals import Refused

Frame: TypeAlias = tuple[dict[str, Any] | str, str]
"""Data and name of one server-sent event; most have no name."""


@dataclass(slots=True)
class Said:
    """What a generation has said so far.

    Attributes:
        finish: ``None`` until it ends.
        first_s: seconds to the first event. ``total_s``: seconds to the last one.
    """

    text: str = ""
    reasoning: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    finish: Finish | None = None
    first_s: float | None = None
    total_s: float = 0.0

    def add(self, event: Event, seconds: float) -> None:
        """Take in one event that came so many seconds after the start."""
        self.first_s, self.total_s = seconds if self.first_s is None else self.first_s, seconds
        if isinstance(event, str):
            self.text += event
        elif isinstance(event, Reasoning):
            self.reasoning += event.text
        elif isinstance(event, ToolCall):
            self.calls.append(event)
        else:
            self.finish = event

    @property
    def end(self) -> Finish:
        """How it ended; every generation that did not fail has an end."""
        if self.finish is None:
            raise RuntimeError("the backend ended without a Finish")
        return self.finish


class Words(ABC):
    """How one route words one answer. Nothing is sent before the model has said something."""

    @abstractmethod
    def whole(self, said: Said) -> dict[str, Any]:
        """The body of an answer that is not streamed."""

    def opening(self) -> Iterable[Frame]:
        """What a stream begins with."""
        return ()

    @abstractmethod
    def frames(self, event: Event, said: Said) -> Iterable[Frame]:
        """What a stream says to one event, which ``said`` includes."""

    def refusal(self, refused: Refused) -> Refused:
        """A failure before anything was sent, in this route's form."""
        return refused

    def failure(self, message: str) -> Frame:
        """A failure inside a stream."""
        return {"error": {"message": message}, "message": message}, "error"


class Answering:
    """An ASGI response that generates while it is sent, and stops generating when its client is gone."""

    def __init__(self, house: House, instance: Instance, prompt: Prompt, words: Words, *, stream: bool) -> None:
        self._house = house
        self._instance = instance
        self._prompt = prompt
        self._words = words
        self._streams = stream
        self._said = Said()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer.

        Raises:
            Refused: when the generation failed before anything was sent.
        """
        await while_connected(self._answer(scope, receive, send), receive)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._events(scope)) as events:
            if self._streams:
                await self._stream(events, EventStream(send, self._house.settings.split), scope)
            else:
                await json_response(await self._whole(events, scope))(scope, receive, send)

    async def _events(self, scope: Scope) -> AsyncGenerator[Event, None]:
        """What is generated, with reasoning where it belongs; ``_said`` takes it in."""
        clock, prompt = self._house.state.clock, self._prompt
        reasoning_only = faults_of(scope).reasoning_only and prompt.schema is not None and prompt.effort != "none"
        place = place_of(self._instance.model, self._house.version, reasoning_only=reasoning_only)
        start = clock()
        generated = self._house.generate(scope, self._instance, prompt)
        async with aclosing(generated), aclosing(placed(generated, place)) as events:
            async for event in events:
                self._said.add(event, clock() - start)
                yield event

    async def _whole(self, events: AsyncIterator[Event], scope: Scope) -> dict[str, Any]:
        try:
            async for _ in events:
                pass
        except GenerationError as error:
            raise self._refused(error, scope) from error
        return self._words.whole(self._said)

    async def _stream(self, events: AsyncIterator[Event], stream: EventStream, scope: Scope) -> None:
        version, faults = self._house.version, faults_of(scope)
        try:
            async for event in events:
                for frame in () if stream.started else self._words.opening():
                    await stream.event(*frame)
                for frame in self._words.frames(event, self._said):
                    await stream.event(*frame)
        except GenerationError as error:
            if not stream.started and not failures.ends_stream(error, version, faults):
                raise self._refused(error, scope) from error
            await stream.event(*self._words.failure(failures.message(error, version, faults, streaming=True)))
        await stream.end()

    def _refused(self, error: GenerationError, scope: Scope) -> Refused:
        refused = failures.refused(error, self._house.version, faults_of(scope), streaming=self._streams)
        return self._words.refusal(refused)


async def while_connected(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Do ``work``, and give it up when the client goes away."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
    if not working.cancelled():
        working.result()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
