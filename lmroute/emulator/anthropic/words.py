"""The words of ``/v1/messages``: a message of content blocks, or the events that build it up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lmroute.emulator.answering import Words
from lmroute.emulator.backends import Finish, Reasoning, ToolCall
from lmroute.emulator.ids import new_id
from lmroute.emulator.refusals import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.emulator.answering import Frame, Said
    from lmroute.emulator.backends import Event
    from lmroute.emulator.machine.instances import Instance

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}


def in_anthropic_form(refused: Refused) -> Refused:
    """Another route's refusal as this one words it."""
    error = refused.body.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    kind = _ERROR_TYPES.get(refused.status, "invalid_request_error")
    return Refused(refused.status, {"type": "error", "error": {"type": kind, "message": message}})


def invalid(message: str) -> Refused:
    """A field that is missing or wrong. LM Studio's own words are unknown."""
    return Refused(400, {"error": message})


class MessageWords(Words):
    """The bodies of one message."""

    def __init__(self, instance: Instance) -> None:
        self._head: dict[str, Any] = {
            "id": new_id("msg_", 24),
            "type": "message",
            "role": "assistant",
            "model": instance.id,
        }
        self._blocks = 0
        self._open = ""

    def whole(self, said: Said) -> dict[str, Any]:
        """The answer to a request without ``stream``."""
        return {**self._head, "content": _content(said), **_stop(said.end), "usage": _usage(said.end)}

    def opening(self) -> Iterator[Frame]:
        """An empty message. What the prompt takes is only known at the end."""
        empty = {"stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 0, "output_tokens": 0}}
        yield _frame("message_start", message={**self._head, "content": [], **empty})

    def frames(self, event: Event, _said: Said) -> Iterator[Frame]:
        """What one event adds."""
        if isinstance(event, Finish):
            yield from self._closed()
            yield _frame("message_delta", delta=_stop(event), usage=_usage(event))
            yield _frame("message_stop")
            return
        block, delta = _start_and_delta(event)
        if isinstance(event, ToolCall) or block["type"] != self._open:
            yield from self._closed()
            self._open = block["type"]
            yield _frame("content_block_start", index=self._blocks, content_block=block)
        yield _frame("content_block_delta", index=self._blocks, delta=delta)

    def refusal(self, refused: Refused) -> Refused:
        """In Anthropic's form."""
        return in_anthropic_form(refused)

    def failure(self, message: str) -> Frame:
        """In Anthropic's form."""
        return _frame("error", error={"type": "api_error", "message": message})

    def _closed(self) -> Iterator[Frame]:
        """End the open block, if there is one."""
        if self._open:
            yield _frame("content_block_stop", index=self._blocks)
            self._blocks += 1
            self._open = ""


def _start_and_delta(event: str | Reasoning | ToolCall) -> tuple[dict[str, Any], dict[str, Any]]:
    """The block that an event belongs to, as it starts, and what the event adds to it."""
    if isinstance(event, str):
        return {"type": "text", "text": ""}, {"type": "text_delta", "text": event}
    if isinstance(event, Reasoning):
        delta = {"type": "thinking_delta", "thinking": event.text}
        return {"type": "thinking", "thinking": "", "signature": ""}, delta
    delta = {"type": "input_json_delta", "partial_json": event.arguments}
    return {"type": "tool_use", "id": event.id, "name": event.name, "input": {}}, delta


def _content(said: Said) -> list[dict[str, Any]]:
    thoughts = [{"type": "thinking", "thinking": said.reasoning, "signature": ""}] if said.reasoning else []
    texts = [{"type": "text", "text": said.text}] if said.text else []
    calls = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call.arguments)} for call in said.calls
    ]
    return [*thoughts, *texts, *calls]


def _input(arguments: str) -> dict[str, Any]:
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}  # a real model may write anything


def _stop(finish: Finish) -> dict[str, Any]:
    reason = "stop_sequence" if finish.stop_string else _STOP_REASONS[finish.reason]
    return {"stop_reason": reason, "stop_sequence": finish.stop_string}


def _usage(finish: Finish) -> dict[str, Any]:
    return {"input_tokens": finish.prompt_tokens, "output_tokens": finish.completion_tokens}


def _frame(name: str, **data: Any) -> Frame:
    return {"type": name, **data}, name
