"""The words of ``/v1/completions``, where a text is continued."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lmroute.emulator.answering import Words
from lmroute.emulator.backends import Finish
from lmroute.emulator.ids import new_id
from lmroute.emulator.openai.chat_words import usage_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.emulator.answering import Frame, Said
    from lmroute.emulator.backends import Event
    from lmroute.emulator.machine.instances import Instance


class TextWords(Words):
    """The bodies of one continued text. Those of its stream are OpenAI's; LM Studio's own are unknown.

    Args:
        include_usage: whether a stream ends with what it took.
    """

    def __init__(self, instance: Instance, *, include_usage: bool = False) -> None:
        self._include_usage = include_usage
        self._head = {
            "id": new_id("cmpl-"),
            "object": "text_completion",
            "created": int(time.time()),
            "model": instance.id,
        }

    def whole(self, said: Said) -> dict[str, Any]:
        """The answer to a request without ``stream``."""
        return {**self._head, "choices": [_choice(said.text, said.end.reason)], "usage": usage_of(said.end)}

    def frames(self, event: Event, _said: Said) -> Iterator[Frame]:
        """The chunks for one event."""
        if isinstance(event, str):
            yield {**self._head, "choices": [_choice(event, None)]}, ""
        elif isinstance(event, Finish):
            yield {**self._head, "choices": [_choice("", event.reason)]}, ""
            if self._include_usage:
                yield {**self._head, "choices": [], "usage": usage_of(event)}, ""
            yield "[DONE]", ""


def _choice(text: str, finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
