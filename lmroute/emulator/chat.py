"""One chat answer on its way to its client."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from lmroute.emulator import refusals
from lmroute.emulator.backends import Finish, GenerationError, Prompt
from lmroute.emulator.completions import Completion
from lmroute.emulator.wire import EventStream, json_response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator

    from starlette.types import Receive, Scope, Send

    from lmroute.emulator.backends import Backend, Event
    from lmroute.emulator.requests import ChatRequest
    from lmroute.emulator.settings import Settings
    from lmroute.emulator.state import Instance, State


class ChatAnswer:
    """An ASGI response that generates while it is sent, and stops generating when its client is gone."""

    def __init__(
        self, asked: ChatRequest, instance: Instance, *, settings: Settings, state: State, backend: Backend
    ) -> None:
        self._asked = asked
        self._instance = instance
        self._settings = settings
        self._state = state
        self._backend = backend
        self._completion = Completion(instance.id, settings.version)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer.

        Raises:
            Refused: when the generation failed before anything was sent.
        """
        await _while_connected(self._answer(scope, receive, send), receive)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._events()) as events:
            if self._asked.stream:
                await self._stream(events, EventStream(send, self._settings.split))
            else:
                await json_response(await self._whole(events))(scope, receive, send)

    async def _events(self) -> AsyncGenerator[Event, None]:
        """What the backend generates. The instance is free again once the last event has been taken."""
        asked, window = self._asked, self._instance.model.context_length
        prompt = Prompt(asked.messages, asked.sampling, asked.schema, window)
        async with self._state.using(self._instance), aclosing(self._backend.generate(prompt)) as events:
            async for event in events:
                yield event

    async def _whole(self, events: AsyncIterator[Event]) -> dict[str, Any]:
        try:
            generated = [event async for event in events]
        except GenerationError as error:
            raise refusals.generation_failed(error, self._settings.version) from error
        (finish,) = (event for event in generated if isinstance(event, Finish))
        return self._completion.whole("".join(event for event in generated if isinstance(event, str)), finish)

    async def _stream(self, events: AsyncIterator[Event], stream: EventStream) -> None:
        version = self._settings.version
        try:
            async for event in events:
                for chunk in self._chunks(event, first=not stream.started):
                    await stream.event(chunk)
            await stream.event("[DONE]")
        except GenerationError as error:
            if not stream.started and not refusals.ends_stream(error, version):
                raise refusals.generation_failed(error, version) from error
            message = refusals.failure_text(error, version, streaming=True)
            await stream.event({"error": {"message": message}, "message": message}, "error")
        await stream.end()

    def _chunks(self, event: Event, *, first: bool) -> Iterator[dict[str, Any]]:
        role = {"role": "assistant"} if first else {}
        if isinstance(event, str):
            yield self._completion.delta({**role, "content": event})
            return
        yield self._completion.delta({**role, "content": ""})
        yield self._completion.delta({}, event.reason)
        if self._asked.include_usage:
            yield self._completion.usage(event)


async def _while_connected(work: Coroutine[Any, Any, None], receive: Receive) -> None:
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
