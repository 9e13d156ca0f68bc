"""The record of one call in the making, with prompt and answer where the configuration wants them kept."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from lmroute.providers.catalog import TYPES, Dialect
from lmroute.telemetry.events import CallEvent, Usage, records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dspy.lm15 import Request, Response

    from lmroute.engine.choice import Choice
    from lmroute.engine.routing import Routing
    from lmroute.model import Attempt, Profile

_SETTINGS = ("temperature", "top_p", "top_k", "max_tokens", "seed", "frequency_penalty", "presence_penalty")
"""What a record keeps of a request's configuration: numbers, and nothing that a person wrote."""


class Recording:
    """What one call's record is made of.

    Attributes:
        is_written: whether the call has ended.
    """

    def __init__(self, routing: Routing, request: Request) -> None:
        self.is_written = False
        self._id = os.urandom(12).hex()
        self._routing, self._request = routing, request
        self._captures = routing.stack.telemetry.capture_content
        self._usage = Usage()
        self._ended: dict[str, Any] = {"finish_reason": None, "response_id": None}
        self._answer: list[dict[str, Any]] = []
        self._streamed: list[str] = []

    def answered(self, response: Response, profile: Profile) -> None:
        """A whole answer of this provider."""
        self._usage = usage_of(response.usage, TYPES[profile.type].dialect)
        self._ended = {"finish_reason": response.finish_reason, "response_id": response.id}
        if self._captures:
            self._answer = [_message(response.message)]

    def began(self, start: Any) -> None:
        """The event that a stream begins with."""
        self._ended["response_id"] = start.id

    def saw(self, event: Any) -> None:
        """An event of a stream that the caller gets."""
        if self._captures and event.type == "delta" and event.delta.type == "text":
            self._streamed.append(event.delta.text)

    def streamed(self, end: Any, profile: Profile) -> None:
        """The event that a stream of this provider ends with."""
        self._usage = usage_of(end.usage, TYPES[profile.type].dialect)
        self._ended["finish_reason"] = end.finish_reason

    @property
    def usage(self) -> Usage:
        """The tokens that the server told."""
        return self._usage

    def write(
        self, choice: Choice, attempts: Sequence[Attempt], *, started: float, waited_s: float, refusal: str
    ) -> None:
        """Hand the record to the sink.

        Args:
            started: when the call began, on the monotonic clock.
            refusal: as in ``CallEvent``.
        """
        self.is_written = True
        duration, waited = (time.monotonic() - started) * 1000, waited_s * 1000
        event = CallEvent(
            call_id=self._id,
            stack=self._routing.name,
            attributes=choice.attributes,
            decision=choice.decision,
            attempts=tuple(attempts),
            usage=self._usage,
            duration_ms=duration,
            overhead_us=max(0.0, duration - waited - sum(a.duration_ms for a in attempts)) * 1000,
            facts=choice.facts,
            load=choice.load,
            latency_ms=choice.latency_ms,
            waited_ms=waited,
            refusal=refusal,
            profiles=self._routing.stack.providers,
            settings=_settings(self._request),
            content=self._content() if self._captures else None,
            **self._ended,
        )
        # No line is made before it is taken: on a sink's own thread, if it has one; never, if it keeps nothing.
        self._routing.sink.write(records(event))

    def _content(self) -> dict[str, Any]:
        """Prompt and answer, in the shape of OpenTelemetry's ``gen_ai.input.messages``."""
        request = self._request
        system = [{"role": "system", "parts": [_text(_system(request))]}] if request.system else []
        told = "".join(self._streamed)
        said = self._answer or ([{"role": "assistant", "parts": [_text(told)]}] if told else [])
        return {"prompt": [*system, *map(_message, request.messages)], "answer": said}


def usage_of(told: Any, dialect: Dialect) -> Usage:
    """The tokens that an answer tells, which may be none.

    lm15 hands on what a vendor counts. Here ``input_tokens`` are all of the prompt, and ``output_tokens`` all that was
    put out: Anthropic leaves out what its cache holds, Gemini and xAI what the model thought.
    """
    if told is None:
        return Usage()
    read, out, thought = told.input_tokens, told.output_tokens, told.reasoning_tokens
    cached, written = told.cache_read_tokens, told.cache_write_tokens
    if dialect is Dialect.ANTHROPIC and read is not None:
        read += (cached or 0) + (written or 0)
    if thought and None not in (read, out) and told.total_tokens == read + out + thought:
        out += thought
    return Usage(read, out, cached, thought, written)


def _settings(request: Request) -> dict[str, Any]:
    config = request.config
    return {name: value for name in _SETTINGS if (value := getattr(config, name)) is not None}


def _system(request: Request) -> str:
    system = request.system
    return system if isinstance(system, str) else "".join(getattr(part, "text", "") for part in system or ())


def _message(message: Any) -> dict[str, Any]:
    return {"role": message.role, "parts": [_part(part) for part in message.parts]}


def _part(part: Any) -> dict[str, Any]:
    """A part of a message. Of pictures and the like only that they were there."""
    match part.type:
        case "text":
            return _text(part.text)
        case "thinking":
            return {"type": "reasoning", "content": part.text}
        case "tool_call":
            return {"type": "tool_call", "id": part.id, "name": part.name, "arguments": part.input}
        case "tool_result":
            return {"type": "tool_call_response", "id": part.id, "response": [_part(inner) for inner in part.content]}
        case other:
            return {"type": str(other)}


def _text(content: str) -> dict[str, Any]:
    return {"type": "text", "content": content}
