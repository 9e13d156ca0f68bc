"""The bodies of ``/v1/chat/completions``: one whole answer, or its chunks."""

from __future__ import annotations

import secrets
import string
import time
from typing import TYPE_CHECKING, Any

from lmroute.emulator.versions import FULL_MESSAGE, Version

if TYPE_CHECKING:
    from lmroute.emulator.backends import Finish

_ID_ALPHABET = string.ascii_lowercase + string.digits


class Completion:
    """The bodies of one answer, which share its id and its time.

    Args:
        model: id of the instance that answers, which need not be the name that was asked for.
    """

    def __init__(self, model: str, version: Version) -> None:
        self._model = model
        self._full = version.has(FULL_MESSAGE)
        self._id = "chatcmpl-" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(20))
        self._created = int(time.time())

    def whole(self, content: str, finish: Finish) -> dict[str, Any]:
        """The answer to a request without ``stream``."""
        choice = self._full_choice(content, finish) if self._full else self._old_choice(content, finish)
        head = {"id": self._id, "object": "chat.completion", "created": self._created, "model": self._model}
        tail = {"usage": self._usage(finish), "stats": {}, "system_fingerprint": self._model}
        return {**head, "choices": [choice], **tail}

    def delta(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        """One chunk of a stream."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._chunk_head(), "choices": [choice]}

    def usage(self, finish: Finish) -> dict[str, Any]:
        """The chunk that only a client who asked for usage gets."""
        return {**self._chunk_head(), "choices": [], "usage": self._usage(finish)}

    def _chunk_head(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "system_fingerprint": self._model,
        }

    @staticmethod
    def _full_choice(content: str, finish: Finish) -> dict[str, Any]:
        message = {"role": "assistant", "content": content, "reasoning_content": "", "tool_calls": []}
        return {"index": 0, "message": message, "logprobs": None, "finish_reason": finish.reason}

    @staticmethod
    def _old_choice(content: str, finish: Finish) -> dict[str, Any]:
        message = {"role": "assistant", "content": content}
        return {"index": 0, "logprobs": None, "finish_reason": finish.reason, "message": message}

    def _usage(self, finish: Finish) -> dict[str, Any]:
        usage: dict[str, Any] = {
            "prompt_tokens": finish.prompt_tokens,
            "completion_tokens": finish.completion_tokens,
            "total_tokens": finish.prompt_tokens + finish.completion_tokens,
        }
        if self._full:
            usage["completion_tokens_details"] = {"reasoning_tokens": 0}
        return usage
