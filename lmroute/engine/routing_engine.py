"""The engine that DSPy calls: a policy over provider engines, in a sync and an async form.

Both are thin: they ask children and report back; ``LogicalCall`` decides. They follow DSPy 3.4's engine contract:
one call is one answer, errors are ``dspy.lm15`` errors, nothing is cached or retried here but what the policy says, a
stream falls back only before its first token, and copies share the engine.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Self

from dspy import lm15
from dspy.clients.engines.lifecycle import aclosing_stream, closing_stream
from dspy.clients.engines.stream_guard import achecked_stream, checked_stream

from lmroute.engine.call import LogicalCall
from lmroute.engine.children import AsyncProviderEngine, ProviderEngine
from lmroute.engine.choice import known_facts
from lmroute.engine.live import Live
from lmroute.engine.live.pauses import Pause
from lmroute.engine.provider import Providers
from lmroute.engine.refusals import guard
from lmroute.engine.request import scope as scopes
from lmroute.engine.request.attributes import ambient
from lmroute.engine.routing import Routing
from lmroute.engine.sinks import sink_of
from lmroute.engine.supports import Supports
from lmroute.forks import Locked
from lmroute.routing.decide import decide
from lmroute.telemetry.sinks.sink import NoSink, SafeSink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from dspy.lm15 import Request, Response

    from lmroute.engine.attempt import Try
    from lmroute.model import Stack
    from lmroute.telemetry.sinks.sink import Sink


class _Engine(Locked):
    """What both engines have: the routing, what they claim to support, how they are copied and saved.

    Args:
        stack: the configuration to route by.
        children: an engine for each provider id, anything with DSPy's ``complete`` and ``stream``.
        sink: where call records go; nowhere by default.
        live: what is known of the servers; the sync and the async engine of one LM share it.
        providers: what children are made of when ``reroute`` brings new ones.
    """

    child: type[ProviderEngine | AsyncProviderEngine]
    """What this kind of engine makes of a provider."""

    def __init__(
        self,
        stack: Stack,
        children: Mapping[str, Any],
        *,
        sink: Sink | None = None,
        live: Live | None = None,
        providers: Providers | None = None,
    ) -> None:
        super().__init__()
        live = live or Live()
        self._providers = providers or Providers(live.learnt)
        self._retired: list[Any] = []
        self.routing = Routing.of(stack, children, live, SafeSink.of(sink or NoSink()))
        live.adopt(self.routing.policy)

    @classmethod
    def of(cls, stack: Stack, live: Live, providers: Providers, sink: Sink | None = None) -> Self:
        """An engine with children of its own kind."""
        children = {id_: cls.child(providers.of(profile)) for id_, profile in stack.providers.items()}
        return cls(stack, children, sink=sink, live=live, providers=providers)

    @property
    def stack(self) -> Stack:
        """The configuration this engine routes by."""
        return self.routing.stack

    @property
    def children(self) -> Mapping[str, Any]:
        """The engine of each provider id."""
        return self.routing.children

    def reroute(self, stack: Stack) -> None:
        """Route by another configuration from the next call on; calls under way end by the one they began with.

        Providers whose profile stays the same keep their engine with its connections, and all that is known of the
        servers is kept. The others' are closed with this engine. DSPy's cache goes by the LM's name, which its owner
        has to change to ``lmroute/{engine.routing.name}``.
        """
        with self._lock:
            old = self.routing
            children = {id_: self._kept(profile.id, stack) for id_, profile in stack.providers.items()}
            new = Routing.of(stack, children, old.live, old.sink)
            old.live.adopt(new.policy)
            self.routing = new
            kept = {id(child) for child in children.values()}
            self._retired += [child for child in old.children.values() if id(child) not in kept]

    def _kept(self, id_: str, stack: Stack) -> Any:
        """The engine of a provider: the one there is, if its profile is the same, else a new one."""
        profile = stack.providers[id_]
        if self.stack.providers.get(id_) == profile and id_ in self.children:
            return self.children[id_]
        return self.child(self._providers.of(profile))

    def _child(self, attempt: Try) -> Any:
        """The engine that an attempt asks: the one way to any of them, and so where guarantees are guarded.

        Raises:
            GuaranteeError: a guarantee forbids to ask it, whatever was decided.
        """
        provider = attempt.candidate.provider
        guard(attempt.routing.policy, provider, attempt.attributes)
        return attempt.routing.children[provider]

    def _every_child(self) -> list[Any]:
        return [*self.children.values(), *self._retired]

    def _supports(self) -> Supports:
        """What adapters may ask for: what the candidate that would be tried first can do."""
        routing, scope = self.routing, scopes.current()
        attributes = ambient()
        if routing.vocabulary.problem(attributes):
            return Supports.of(None)  # the call itself will be refused, and say why
        decision = decide(routing.policy, attributes, known_facts(routing, scope))
        first = next((routing.stack.providers[c.provider] for c in decision.candidates), None)
        return Supports.of(first)

    @property
    def supports_function_calling(self) -> bool:
        """Whether adapters may send tools."""
        return self._supports().function_calling

    @property
    def supports_reasoning(self) -> bool:
        """Whether adapters may ask for reasoning."""
        return self._supports().reasoning

    @property
    def supports_response_schema(self) -> bool:
        """Whether adapters may send a JSON schema."""
        return self._supports().response_schema

    @property
    def supported_params(self) -> frozenset[str]:
        """Request parameters that adapters may use."""
        return self._supports().params

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Pools, learned windows and an embedded server belong to the process, not to one copy of a program.
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self).load_state, (self.dump_state(),))

    def dump_state(self) -> dict[str, Any]:
        """The composed configuration, which holds references to secrets and no secret.

        Raises:
            TypeError: the stack was put together in Python, so there is none.
        """
        if not self.stack.document:
            raise TypeError("only an engine of a composed configuration can be saved; this stack was made in Python")
        return {"document": self.stack.document}

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> Self:
        """The engine of a dumped configuration, validated anew."""
        from lmroute import validate  # noqa: PLC0415 - only loading a saved program needs the config room

        stack = validate.read(state["document"])
        live = Live.of(stack)
        return cls.of(stack, live, Providers(live.learnt), sink_of(stack))


class RoutingEngine(_Engine):
    """A policy as a synchronous DSPy engine.

    Attributes:
        twin: the asynchronous engine of the same LM, if there is one: DSPy's LM does not show it.
    """

    child = ProviderEngine
    twin: AsyncRoutingEngine | None = None

    def complete(self, request: Request) -> Response:
        """One answer from the first candidate that gives one."""
        call = LogicalCall(self.routing, request)
        with closing(call.tries()) as tries:
            for attempt in tries:
                if isinstance(attempt, Pause):
                    attempt.block()
                    continue
                try:
                    with attempt.bounded():
                        response = self._child(attempt).complete(attempt.request)
                except lm15.LM15Error as error:
                    call.failed(attempt, error)
                else:
                    return call.succeeded(attempt, response)
        raise AssertionError("tries() ends by raising")

    def stream(self, request: Request) -> Iterator[Any]:
        """The events of the first candidate that gets as far as a token."""
        call = LogicalCall(self.routing, request, stream=True)
        with closing(call.tries()) as tries:
            for attempt in tries:
                if isinstance(attempt, Pause):
                    attempt.block()
                    continue
                shown = False
                try:
                    with closing_stream(checked_stream(self._child(attempt).stream(attempt.request))) as events:
                        # Held back until something visible comes: up to there the next candidate may still take over.
                        with attempt.bounded():
                            start, event = next(events), next(events)
                        shown = True
                        call.begun(attempt, start)
                        yield start
                        while event.type != "end":
                            call.saw(event)
                            yield event
                            event = next(events)
                        next(events, None)  # an end that something follows is none
                        yield call.streamed(attempt, start.model, event)
                except lm15.LM15Error as error:
                    call.stream_failed(attempt, error, visible=shown)
                else:
                    return

    def close(self) -> None:
        """Close connections and sinks, let go of an embedded server, and stop watching the servers."""
        self.routing.live.close()
        for child in self._every_child():
            if hasattr(child, "close"):  # DSPy's contract asks an engine for no more than complete and stream
                child.close()
        self.routing.sink.close()


class AsyncRoutingEngine(_Engine):
    """``RoutingEngine`` for event loops."""

    child = AsyncProviderEngine

    async def complete(self, request: Request) -> Response:
        """One answer from the first candidate that gives one."""
        call = LogicalCall(self.routing, request)
        with closing(call.tries()) as tries:
            for attempt in tries:
                if isinstance(attempt, Pause):
                    await attempt.passed()
                    continue
                try:
                    with attempt.bounded():
                        response = await self._child(attempt).complete(attempt.request)
                except lm15.LM15Error as error:
                    call.failed(attempt, error)
                else:
                    return call.succeeded(attempt, response)
        raise AssertionError("tries() ends by raising")

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        """The events of the first candidate that gets as far as a token."""
        call = LogicalCall(self.routing, request, stream=True)
        with closing(call.tries()) as tries:
            for attempt in tries:
                if isinstance(attempt, Pause):
                    await attempt.passed()
                    continue
                shown = False
                try:
                    stream = achecked_stream(self._child(attempt).stream(attempt.request))
                    async with aclosing_stream(stream) as events:
                        with attempt.bounded():
                            start, event = await anext(events), await anext(events)
                        shown = True
                        call.begun(attempt, start)
                        yield start
                        while event.type != "end":
                            call.saw(event)
                            yield event
                            event = await anext(events)
                        await anext(events, None)
                        yield call.streamed(attempt, start.model, event)
                except lm15.LM15Error as error:
                    call.stream_failed(attempt, error, visible=shown)
                else:
                    return

    async def aclose(self) -> None:
        """Close the children's connections that belong to this event loop."""
        for child in self._every_child():
            if hasattr(child, "aclose"):
                await child.aclose()
