"""The words of ``/v1/responses``: a body of output items, or the events that build it up.

Known are the body and the events ``response.created``, ``response.output_text.delta`` and ``response.completed``;
the others are OpenAI's.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from lmroute.emulator.answering import Words
from lmroute.emulator.backends import Finish, Reasoning, ToolCall
from lmroute.emulator.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmroute.emulator.answering import Frame, Said
    from lmroute.emulator.backends import Event
    from lmroute.emulator.machine.instances import Instance

_TEXT_PLACE = {"content_index": 0}


class ResponseWords(Words):
    """The bodies of one response.

    Args:
        body: the request, parts of which the answer repeats.
        keep: gets the id of the response and what was said, as a message of a chat.
    """

    def __init__(self, instance: Instance, body: dict[str, Any], keep: Callable[[str, dict[str, Any]], None]) -> None:
        self._id = f"resp_{secrets.token_hex(24)}"
        self._model = instance.id
        self._asked = body
        self._keep = keep
        self._created = int(time.time())
        self._output: list[dict[str, Any]] = []
        self._open: dict[str, Any] | None = None
        self._sequence = 0

    def whole(self, said: Said) -> dict[str, Any]:
        """The answer to a request without ``stream``."""
        for event in _events_of(said):
            list(self._items(event))
        list(self._close())
        return self._finished(said)

    def opening(self) -> Iterator[Frame]:
        """The response that nothing was said in yet."""
        for name in ("response.created", "response.in_progress"):
            yield self._frame(name, {"response": self._body("in_progress")})

    def frames(self, event: Event, said: Said) -> Iterator[Frame]:
        """What one event adds."""
        yield from self._items(event)
        if isinstance(event, Finish):
            yield from self._close()
            name = "incomplete" if event.reason == "length" else "completed"
            yield self._frame(f"response.{name}", {"response": self._finished(said)})

    def failure(self, message: str) -> Frame:
        """OpenAI's error event; LM Studio's own is unknown."""
        return self._frame("error", {"code": None, "message": message, "param": None})

    def _items(self, event: Event) -> Iterator[Frame]:
        """Open the item that ``event`` belongs to and add to it."""
        if isinstance(event, Finish):
            return
        if isinstance(event, ToolCall):
            yield from self._close()
            yield from self._added(_call_item(event))
            yield self._delta("function_call_arguments.delta", {"delta": event.arguments})
            self._item()["arguments"] = event.arguments
            yield from self._close()
            return
        kind = "reasoning" if isinstance(event, Reasoning) else "message"
        if self._open is None or self._open["type"] != kind:
            yield from self._close()
            yield from self._added(_reasoning_item() if kind == "reasoning" else _message_item())
        text = event.text if isinstance(event, Reasoning) else event
        part = self._item()["content"][0]
        part["text"] += text
        yield self._delta(f"{part['type']}.delta", {**_TEXT_PLACE, "delta": text})

    def _added(self, item: dict[str, Any]) -> Iterator[Frame]:
        self._open = item
        self._output.append(item)
        bare = {**item, "content": []} if "content" in item else item
        yield self._frame("response.output_item.added", {**self._place(), "item": {**bare, "status": "in_progress"}})
        if item["type"] == "message":
            yield self._delta("content_part.added", {**_TEXT_PLACE, "part": {**item["content"][0]}})

    def _close(self) -> Iterator[Frame]:
        """End the open item, if there is one."""
        if self._open is None:
            return
        item = self._open
        if item["type"] == "function_call":
            ended = {"name": item["name"], "arguments": item["arguments"]}
            yield self._delta("function_call_arguments.done", ended)
        else:
            part = item["content"][0]
            yield self._delta(f"{part['type']}.done", {**_TEXT_PLACE, "text": part["text"]})
        if item["type"] == "message":
            yield self._delta("content_part.done", {**_TEXT_PLACE, "part": item["content"][0]})
        item["status"] = "completed"
        yield self._frame("response.output_item.done", {**self._place(), "item": item})
        self._open = None

    def _item(self) -> dict[str, Any]:
        return self._output[-1]

    def _place(self) -> dict[str, Any]:
        return {"output_index": len(self._output) - 1}

    def _delta(self, name: str, data: dict[str, Any]) -> Frame:
        return self._frame(f"response.{name}", {"item_id": self._item()["id"], **self._place(), **data})

    def _frame(self, name: str, data: dict[str, Any]) -> Frame:
        self._sequence += 1
        return {"type": name, "sequence_number": self._sequence - 1, **data}, name

    def _finished(self, said: Said) -> dict[str, Any]:
        self._keep(self._id, _as_message(said))
        cut = said.end.reason == "length"
        body = self._body("incomplete" if cut else "completed")
        body["completed_at"] = int(time.time())
        body["incomplete_details"] = {"reason": "max_output_tokens"} if cut else None
        body["output"] = self._output
        body["usage"] = _usage(said.end)
        return body

    def _body(self, status: str) -> dict[str, Any]:
        """Everything but the output. The odd values of some fields are LM Studio's."""
        asked = self._asked
        reasoning = asked.get("reasoning")
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "completed_at": None,
            "status": status,
            "incomplete_details": None,
            "model": self._model,
            "previous_response_id": asked.get("previous_response_id"),
            "instructions": asked.get("instructions"),
            "output": [],
            "error": None,
            "tools": asked.get("tools") or [],
            "tool_choice": asked.get("tool_choice") or "auto",
            "truncation": "auto",
            "parallel_tool_calls": True,
            "text": {"format": {"type": "text"}},
            "top_p": asked.get("top_p") or False,
            "presence_penalty": 0,
            "frequency_penalty": 1.1,
            "top_logprobs": 0,
            "temperature": 0.8 if asked.get("temperature") is None else asked["temperature"],
            "reasoning": {"summary": None, "effort": reasoning.get("effort") if isinstance(reasoning, dict) else None},
            "usage": None,
            "max_output_tokens": asked.get("max_output_tokens"),
            "max_tool_calls": None,
            "store": asked.get("store") is not False,
            "background": False,
            "service_tier": "default",
            "metadata": {},
            "safety_identifier": None,
            "prompt_cache_key": None,
        }


def _events_of(said: Said) -> Iterator[Event]:
    if said.reasoning:
        yield Reasoning(said.reasoning)
    if said.text:
        yield said.text
    yield from said.calls


def _message_item() -> dict[str, Any]:
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    return {"id": new_id("msg_", 22), "type": "message", "role": "assistant", "status": "", "content": [part]}


def _reasoning_item() -> dict[str, Any]:
    part = {"type": "reasoning_text", "text": ""}
    return {"id": new_id("rs_", 22), "type": "reasoning", "status": "", "summary": [], "content": [part]}


def _call_item(call: ToolCall) -> dict[str, Any]:
    head = {"id": new_id("fc_", 22), "type": "function_call", "status": "", "call_id": call.id, "name": call.name}
    return {**head, "arguments": ""}


def _as_message(said: Said) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text}
    if said.calls:
        message["tool_calls"] = [
            {"type": "function", "id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
            for call in said.calls
        ]
    return message


def _usage(finish: Finish) -> dict[str, Any]:
    return {
        "input_tokens": finish.prompt_tokens,
        "output_tokens": finish.completion_tokens,
        "total_tokens": finish.prompt_tokens + finish.completion_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": finish.reasoning_tokens},
    }
