"""The engines that routing chooses among: one pair (sync, async) for each provider profile.

Where the server speaks a dialect that DSPy knows, the child is DSPy's native engine over our transport; for
``type: litellm`` it is DSPy's LiteLLM engine. Both are built when first used, so a provider that is never chosen costs
nothing and an offline run imports nothing of LiteLLM.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from dspy import lm15
from dspy.clients.engines import AsyncLiteLLMEngine, AsyncLM15Engine, LiteLLMEngine, LM15Engine

from lmroute.engine.readiness import OnFetch, Place, Readiness
from lmroute.engine.verdicts import ModelSubstitutedError, classify, refine
from lmroute.engine.wire import AsyncTransport, Exchange, Transport, exchanging
from lmroute.model import AUTO, Failure, Profile
from lmroute.providers import dialing
from lmroute.providers.catalog import TYPES, Dialect
from lmroute.providers.lmstudio import is_same_model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from dspy.lm15 import Request, Response

    from lmroute.model import Candidate

_SAYS_NOTHING_OF_THE_SERVER = frozenset(
    {
        Failure.INVALID_REQUEST,
        Failure.CONTEXT_LENGTH,
        Failure.UNSUPPORTED_FEATURE,
        Failure.RATE_LIMIT,
        Failure.BILLING,
        Failure.TIMEOUT,
    }
)
_KEYLESS = "none"  # lm15 wants a key even where the server does not


@dataclass(slots=True)
class Call:
    """One request aimed at one provider: the request as the native engine gets it, and what its answer taught."""

    request: Request
    asked: str
    exchange: Exchange


class Provider:
    """What the sync and the async child of one profile share: readiness, aim and judgement. No I/O of its own."""

    def __init__(self, profile: Profile, windows: dict[Candidate, int], on_fetch: OnFetch | None = None) -> None:
        self.profile = profile
        self.readiness = Readiness(profile, windows, on_fetch)
        self._row = TYPES[profile.type]

    @property
    def engine_id(self) -> str:
        """What lm15 knows this provider by. Own ids for OpenAI-compatible servers, so that no table of lm15 applies."""
        if self._row.dialect is Dialect.OPENAI_CHAT:
            return f"lmroute-{self.profile.id.replace('_', '-').lower()}"
        return self._row.dialect.value

    def aim(self, request: Request) -> Call:
        """Resolve the model and set the clocks. May block while a server or model is made ready."""
        model = self.readiness.model(request.model)
        prefix = "" if self._row.dialect is Dialect.LITELLM else f"{self.engine_id}:"
        exchange = Exchange(self._patience(), needs_choices=self._row.dialect is Dialect.OPENAI_CHAT)
        return Call(replace(request, model=prefix + model), model if request.model != AUTO else "", exchange)

    def _patience(self) -> dialing.Patience:
        times = self.profile.timeouts
        own = time.monotonic() + times.total_s
        outer = dialing.deadline()
        return dialing.Patience(
            deadline=own if outer is None else min(own, outer),
            connect_s=times.connect_s,
            first_byte_s=times.first_token_s,
            idle_s=times.idle_s,
        )

    def check_model(self, call: Call, answered: str) -> None:
        """Refuse an answer from another model than the one asked for, where the profile says so."""
        if not (self._row.strict_model and call.asked and answered) or is_same_model(call.asked, answered):
            return
        if self.profile.on_substitution == "error":
            raise ModelSubstitutedError(f"asked for {call.asked!r}, answered by {answered!r}", provider=self.profile.id)

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Errors under the class their text reveals; what is known about the server is forgotten when it fails."""
        try:
            yield
        except lm15.LM15Error as error:
            refined = refine(error)
            if classify(refined) not in _SAYS_NOTHING_OF_THE_SERVER:
                self.readiness.forget()
            if refined is error:
                raise
            raise refined from error

    def native_config(self, place: Place, transport: object) -> lm15.RouterConfig:
        """lm15's configuration for this provider: our transport, this address, this token, no environment."""
        token = place.token.reveal() if place.token else _KEYLESS
        common = {"transport": transport, "env": {}, "api_keys": {self.engine_id: token}}
        if self._row.dialect is not Dialect.OPENAI_CHAT:
            return lm15.RouterConfig(base_urls={self.engine_id: place.address}, **common)
        access = lm15.AccessPolicy(
            provider=self.engine_id,
            supports=lm15.EndpointSupport(complete=True, stream=True),
            auth_modes=("bearer",),
            env_keys=(),
            base_url=place.address,
        )
        compat = lm15.OpenAIChatCompat.preset(self._row.compat)
        return lm15.RouterConfig(providers=(lm15.ProviderDefinition.chat(access, compat=compat),), **common)

    def litellm_options(self, place: Place) -> dict[str, Any]:
        """LiteLLM's connection settings. Its timeout is per read; the routing deadline is not enforced inside it."""
        options: dict[str, Any] = {"timeout": self.profile.timeouts.total_s}
        if place.token is not None:
            options["api_key"] = place.token.reveal()
        if self.profile.endpoint is not None:
            options["api_base"] = self.profile.endpoint
        return options


class ProviderEngine:
    """A provider as a synchronous DSPy engine. ``request.model`` is a model of the profile, or ``auto``."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._lock = threading.Lock()
        self._built: tuple[Place, Any] | None = None

    def complete(self, request: Request) -> Response:
        """One attempt, one answer."""
        with self._provider.judged():
            call = self._provider.aim(request)
            with exchanging(call.exchange):
                response: Response = self._engine().complete(call.request)
            self._provider.check_model(call, response.model)
            return response

    def stream(self, request: Request) -> Iterator[Any]:
        """One attempt, its events. The start event names the model that answers."""
        with self._provider.judged():
            call = self._provider.aim(request)
            events = self._engine().stream(call.request)
            try:
                # Sending happens at the first event; a context variable must not stay set across a yield.
                with exchanging(call.exchange):
                    first = next(events)
                yield self._named(call, first)
                yield from events
            finally:
                events.close()

    def _named(self, call: Call, start: Any) -> Any:
        self._provider.check_model(call, call.exchange.answered)
        return _with_model(start, call.exchange.answered)

    def _engine(self) -> Any:
        place = self._provider.readiness.place()
        with self._lock:
            if self._built is None or self._built[0] != place:
                if self._built is not None:
                    self._built[1].close()  # the address or the token changed; nothing useful is under way there
                self._built = (place, self._build(place))
            return self._built[1]

    def _build(self, place: Place) -> Any:
        profile = self._provider.profile
        if TYPES[profile.type].dialect is Dialect.LITELLM:
            return LiteLLMEngine(**self._provider.litellm_options(place))
        transport = Transport(dialing.pool(place.address, profile.locality))
        return LM15Engine(self._provider.native_config(place, transport))

    def close(self) -> None:
        """Close connections and let go of an embedded server."""
        with self._lock:
            if self._built is not None:
                self._built[1].close()
                self._built = None
        self._provider.readiness.close()


class AsyncProviderEngine:
    """A provider as an asynchronous DSPy engine. Native pools belong to an event loop, so there is one for each."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._built: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Place, Any]] = WeakKeyDictionary()

    async def complete(self, request: Request) -> Response:
        """One attempt, one answer."""
        with self._provider.judged():
            call = await asyncio.to_thread(self._provider.aim, request)
            with exchanging(call.exchange):
                response: Response = await self._engine().complete(call.request)
            self._provider.check_model(call, response.model)
            return response

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        """One attempt, its events. The start event names the model that answers."""
        with self._provider.judged():
            call = await asyncio.to_thread(self._provider.aim, request)
            events = self._engine().stream(call.request)
            try:
                with exchanging(call.exchange):
                    first = await anext(events)
                self._provider.check_model(call, call.exchange.answered)
                yield _with_model(first, call.exchange.answered)
                async for event in events:
                    yield event
            finally:
                await events.aclose()

    def _engine(self) -> Any:
        # aim() has made the place ready, so this does not block.
        place = self._provider.readiness.place()
        loop = asyncio.get_running_loop()
        built = self._built.get(loop)
        if built is None or built[0] != place:
            built = self._built[loop] = (place, self._build(place))
        return built[1]

    def _build(self, place: Place) -> Any:
        profile = self._provider.profile
        if TYPES[profile.type].dialect is Dialect.LITELLM:
            return AsyncLiteLLMEngine(**self._provider.litellm_options(place))
        transport = AsyncTransport(dialing.async_pool(place.address, profile.locality))
        return AsyncLM15Engine(self._provider.native_config(place, transport))

    async def aclose(self) -> None:
        """Close this loop's connections."""
        built = self._built.pop(asyncio.get_running_loop(), None)
        if built is not None:
            await built[1].aclose()


def _with_model(start: Any, answered: str) -> Any:
    return replace(start, model=answered) if answered and start.type == "start" else start


def providers(
    profiles: Mapping[str, Profile], windows: dict[Candidate, int], on_fetch: OnFetch | None = None
) -> dict[str, Provider]:
    """What the children of each profile share. ``windows`` collects the context windows learned from servers."""
    return {id_: Provider(profile, windows, on_fetch) for id_, profile in profiles.items()}
