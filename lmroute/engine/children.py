"""The engines that routing chooses among: one pair (sync, async) for each provider profile.

Where the server speaks a dialect that DSPy knows, the child is DSPy's native engine over our transport; for
``type: litellm`` it is DSPy's LiteLLM engine. Both are built when first used, so a provider that is never chosen costs
nothing and an offline run imports nothing of LiteLLM.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dspy.clients.engines import AsyncLiteLLMEngine, AsyncLM15Engine, LiteLLMEngine, LM15Engine
from dspy.clients.engines.lifecycle import aclosing_stream, closing_stream

from lmroute.engine.exchange import exchanging, understood
from lmroute.engine.wire import AsyncTransport, Transport
from lmroute.forks import Forked, Locked, in_child

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from dspy.lm15 import Request, Response

    from lmroute.engine.provider import Provider
    from lmroute.engine.readiness import Place


@dataclass(frozen=True, slots=True)
class _Built:
    """A native engine, where it sends, and its connections, which outlive it when only the token changes."""

    place: Place
    engine: Any
    transport: Any = None


def _build(provider: Provider, place: Place, previous: _Built | None, kind: tuple[Any, Any, Any]) -> _Built:
    """An engine of a kind: (native, LiteLLM's, transport)."""
    native, litellm, transport_to = kind
    if provider.is_litellm:
        return _Built(place, litellm(**provider.litellm_options(place)))
    if previous is not None and previous.place.address == place.address:
        transport = previous.transport
    else:
        transport = transport_to(place.address, provider.profile.locality)
    return _Built(place, native(provider.native_config(place, transport)), transport)


class ProviderEngine(Locked):
    """A provider as a synchronous DSPy engine. ``request.model`` is a model of the profile, or ``auto``."""

    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self._provider = provider
        self._built: _Built | None = None

    def complete(self, request: Request) -> Response:
        """One attempt, one answer."""
        with self._provider.judged():
            call = self._provider.aim(request)
            with exchanging(call.exchange):
                response: Response = self._engine(call.place).complete(call.request)
            self._provider.check_model(call, response.model)
            return call.noted(response)

    def stream(self, request: Request) -> Iterator[Any]:
        """One attempt, its events. The start event names the model that answers."""
        with self._provider.judged():
            call = self._provider.aim(request, stream=True)
            with closing_stream(self._engine(call.place).stream(call.request)) as events:
                # Sending happens at the first event; a context variable must not stay set across a yield.
                with exchanging(call.exchange):
                    first = next(events)
                self._provider.check_model(call, call.exchange.answered)
                yield call.shown(_with_model(first, call.exchange.answered))
                with understood(call.exchange):
                    for event in events:
                        yield call.noted(event) if event.type == "end" else event

    def _engine(self, place: Place) -> Any:
        with self._lock:
            if self._built is None or self._built.place != place:
                self._built = _build(self._provider, place, self._built, (LM15Engine, LiteLLMEngine, Transport))
            return self._built.engine

    def close(self) -> None:
        """Close connections and let go of an embedded server."""
        with self._lock:
            built, self._built = self._built, None
        if built is not None and built.transport is not None:
            built.transport.close()  # lm15 leaves a transport that it was given to whoever gave it
        self._provider.readiness.close()

    def _begin_in_child(self) -> None:
        super()._begin_in_child()
        self._built = None


class AsyncProviderEngine(Forked):
    """A provider as an asynchronous DSPy engine. Connections belong to an event loop, so there is one set for each."""

    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self._provider = provider
        self._built: dict[asyncio.AbstractEventLoop, _Built] = {}
        self._keepers: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}

    async def complete(self, request: Request) -> Response:
        """One attempt, one answer."""
        with self._provider.judged():
            call = await asyncio.to_thread(self._provider.aim, request)
            engine = await self._engine(call.place)
            with exchanging(call.exchange):
                response: Response = await engine.complete(call.request)
            self._provider.check_model(call, response.model)
            return call.noted(response)

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        """One attempt, its events. The start event names the model that answers."""
        with self._provider.judged():
            call = await asyncio.to_thread(self._provider.aim, request, stream=True)
            engine = await self._engine(call.place)
            async with aclosing_stream(engine.stream(call.request)) as events:
                with exchanging(call.exchange):
                    first = await anext(events)
                self._provider.check_model(call, call.exchange.answered)
                yield call.shown(_with_model(first, call.exchange.answered))
                with understood(call.exchange):
                    async for event in events:
                        yield call.noted(event) if event.type == "end" else event

    async def _engine(self, place: Place) -> Any:
        loop = asyncio.get_running_loop()
        previous = self._built.get(loop)
        if previous is not None and previous.place == place:
            return previous.engine
        built = _build(self._provider, place, previous, (AsyncLM15Engine, AsyncLiteLLMEngine, AsyncTransport))
        self._built[loop] = built
        if loop not in self._keepers:
            keeper = self._keepers[loop] = self._closed_with(loop)
            await anext(keeper)
        await _aclose(previous, unless=built.transport)
        return built.engine

    async def _closed_with(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
        """A generator that closes the loop's connections when it is closed, which ``asyncio.run`` does at its end."""
        try:
            yield
        finally:
            self._keepers.pop(loop, None)
            await _aclose(self._built.pop(loop, None))

    async def aclose(self) -> None:
        """Close this loop's connections."""
        keeper = self._keepers.get(asyncio.get_running_loop())
        if keeper is not None:
            await keeper.aclose()

    def _begin_in_child(self) -> None:
        _INHERITED.append((self._built, self._keepers))
        self._built, self._keepers = {}, {}


_LITELLMS = ("in_memory_llm_clients_cache", "module_level_client", "module_level_aclient")
"""Where LiteLLM keeps its clients, and so their connections. It makes another one when there is none."""
_INHERITED: list[object] = []
"""The parent's, and kept as it is: to close an event loop takes from the parent's what it waits with."""


@in_child
def _begin_in_child() -> None:
    litellm = vars(sys.modules["litellm"]) if "litellm" in sys.modules else {}
    _INHERITED.extend(litellm.pop(name) for name in _LITELLMS if name in litellm)


async def _aclose(built: _Built | None, unless: Any = None) -> None:
    if built is not None and built.transport is not unless:
        await built.transport.aclose()


def _with_model(start: Any, answered: str) -> Any:
    return replace(start, model=answered) if answered and start.type == "start" else start
