"""The engine that DSPy calls: a policy over provider engines, in a sync and an async form.

Both are thin: they ask children and report back; ``LogicalCall`` decides. They follow DSPy 3.4's engine contract:
one call is one answer, errors are ``dspy.lm15`` errors, nothing is cached or retried here, a stream falls back only
before its first token, and copies share the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from dspy import lm15
from dspy.clients.engines.lifecycle import aclosing_stream, closing_stream
from dspy.clients.engines.stream_guard import achecked_stream, checked_stream

from lmroute.engine.attributes import ambient
from lmroute.engine.call import LogicalCall, Routing, Try
from lmroute.engine.children import AsyncProviderEngine, ProviderEngine
from lmroute.engine.identity import stack_name
from lmroute.engine.provider import providers
from lmroute.engine.supports import Supports
from lmroute.routing.decide import NO_WINDOWS, decide
from lmroute.routing.policy import compile_policy
from lmroute.telemetry.sink import NoSink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from dspy.lm15 import Request, Response

    from lmroute.model import Candidate, Stack
    from lmroute.telemetry.sink import Sink


class _Engine:
    """What both engines have: the routing, what they claim to support, how they are copied and saved.

    Args:
        stack: the configuration to route by.
        children: an engine for each provider id, anything with DSPy's ``complete`` and ``stream``.
        sink: where call records go; nowhere by default.
        windows: context windows that the children learn from their servers, in tokens.
    """

    child: type[ProviderEngine | AsyncProviderEngine]
    """What this kind of engine makes of a provider when it is loaded from a saved program."""

    def __init__(
        self,
        stack: Stack,
        children: Mapping[str, Any],
        *,
        sink: Sink | None = None,
        windows: Mapping[Candidate, int] = NO_WINDOWS,
    ) -> None:
        policy = compile_policy(stack.policy, stack.providers)
        self.routing = Routing(stack, policy, stack_name(stack), windows, sink or NoSink())
        self.children = children

    @property
    def stack(self) -> Stack:
        """The configuration this engine routes by."""
        return self.routing.stack

    def _child(self, attempt: Try) -> Any:
        return self.children[attempt.candidate.provider]

    def _supports(self) -> Supports:
        """What adapters may ask for: what the candidate that would be tried first can do."""
        decision = decide(self.routing.policy, ambient(), self.routing.windows)
        first = next((self.stack.providers[c.provider] for c in decision.candidates), None)
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
        windows: dict[Candidate, int] = {}
        made = providers(stack.providers, windows)
        return cls(stack, {id_: cls.child(provider) for id_, provider in made.items()}, windows=windows)


class RoutingEngine(_Engine):
    """A policy as a synchronous DSPy engine."""

    child = ProviderEngine

    def complete(self, request: Request) -> Response:
        """One answer from the first candidate that gives one."""
        call = LogicalCall(self.routing, request)
        for attempt in call.tries():
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
        for attempt in call.tries():
            with closing_stream(checked_stream(self._child(attempt).stream(attempt.request))) as events:
                shown = False
                try:
                    # Held back until something visible comes: up to there the next candidate may still take over.
                    with attempt.bounded():
                        start, event = next(events), next(events)
                    shown = True
                    yield start
                    while event.type != "end":
                        yield event
                        event = next(events)
                    next(events, None)  # an end that something follows is none
                    yield call.streamed(attempt, start.model, event)
                except lm15.LM15Error as error:
                    call.stream_failed(attempt, error, visible=shown)
                else:
                    return

    def close(self) -> None:
        """Close the children's connections and let go of an embedded server."""
        for child in self.children.values():
            if hasattr(child, "close"):  # DSPy's contract asks an engine for no more than complete and stream
                child.close()


class AsyncRoutingEngine(_Engine):
    """``RoutingEngine`` for event loops."""

    child = AsyncProviderEngine

    async def complete(self, request: Request) -> Response:
        """One answer from the first candidate that gives one."""
        call = LogicalCall(self.routing, request)
        for attempt in call.tries():
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
        for attempt in call.tries():
            async with aclosing_stream(achecked_stream(self._child(attempt).stream(attempt.request))) as events:
                shown = False
                try:
                    with attempt.bounded():
                        start, event = await anext(events), await anext(events)
                    shown = True
                    yield start
                    while event.type != "end":
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
        for child in self.children.values():
            if hasattr(child, "aclose"):
                await child.aclose()
