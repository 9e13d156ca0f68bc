"""The words of chat completions: one whole answer, or its chunks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lmroute.emulator.answering import Words
from lmroute.emulator.backends import Finish, Reasoning, ToolCall
from lmroute.emulator.ids import new_id
from lmroute.emulator.versions import FULL_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.emulator.answering import Frame, Said
    from lmroute.emulator.backends import Event
    from lmroute.emulator.machine.instances import Instance
    from lmroute.emulator.versions import Version


class ChatWords(Words):
    """The bodies of one answer, which share its id and its time.

    Args:
        instance: what answers; its id is the ``model`` of the answer, which need not be the name that was asked for.
        include_usage: whether a stream ends with what it took.
    """

    def __init__(self, instance: Instance, version: Version, *, include_usage: bool = False) -> None:
        self._model = instance.id
        self._reasoning_field = instance.model.reasoning_field
        self._version = version
        self._include_usage = include_usage
        self._head = {"id": new_id("chatcmpl-"), "created": int(time.time())}
        self._calls = 0
        self._is_first = True

    def whole(self, said: Said) -> dict[str, Any]:
        """The answer to a request without ``stream``."""
        return {
            "id": self._head["id"],
            "object": "chat.completion",
            "created": self._head["created"],
            "model": self._model,
            "choices": [self._choice(said)],
            "usage": self._usage(said.end),
            "stats": {},
            "system_fingerprint": self._model,
        }

    def frames(self, event: Event, said: Said) -> Iterator[Frame]:
        """The chunks for one event."""
        for delta in self._deltas(event, said):
            yield self._chunk(delta, None), ""
        if not isinstance(event, Finish):
            return
        yield self._chunk({}, event.reason), ""
        if self._include_usage:
            yield {**self._chunk_head(), "choices": [], "usage": self._usage(event)}, ""
        yield "[DONE]", ""

    def _deltas(self, event: Event, said: Said) -> Iterator[dict[str, Any]]:
        role = {"role": "assistant"} if self._is_first else {}
        self._is_first = False
        if isinstance(event, str):
            yield {**role, "content": event}
        elif isinstance(event, Reasoning):
            yield {**role, self._reasoning_field: event.text}
        elif isinstance(event, ToolCall):
            head = {"index": self._calls, "id": event.id, "type": "function"}
            yield {**role, "tool_calls": [{**head, "function": {"name": event.name, "arguments": ""}}]}
            del head["id"]
            yield {"tool_calls": [{**head, "function": {"arguments": event.arguments}}]}
            self._calls += 1
        elif not said.calls:
            yield {**role, "content": ""}

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._chunk_head(), "choices": [choice]}

    def _chunk_head(self) -> dict[str, Any]:
        return {
            "id": self._head["id"],
            "object": "chat.completion.chunk",
            "created": self._head["created"],
            "model": self._model,
            "system_fingerprint": self._model,
        }

    def _choice(self, said: Said) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": said.text}
        calls = [
            {"type": "function", "id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
            for call in said.calls
        ]
        full = self._version.has(FULL_MESSAGE)
        if full or said.reasoning:
            message[self._reasoning_field] = said.reasoning
        if full or calls:
            message["tool_calls"] = calls
        if full:
            return {"index": 0, "message": message, "logprobs": None, "finish_reason": said.end.reason}
        return {"index": 0, "logprobs": None, "finish_reason": said.end.reason, "message": message}

    def _usage(self, finish: Finish) -> dict[str, Any]:
        usage: dict[str, Any] = usage_of(finish)
        if self._version.has(FULL_MESSAGE):
            usage["completion_tokens_details"] = {"reasoning_tokens": finish.reasoning_tokens}
        return usage


def usage_of(finish: Finish) -> dict[str, Any]:
    """What an answer took, in tokens."""
    return {
        "prompt_tokens": finish.prompt_tokens,
        "completion_tokens": finish.completion_tokens,
        "total_tokens": finish.prompt_tokens + finish.completion_tokens,
    }
