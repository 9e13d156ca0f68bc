"""A model that answers by a script, and otherwise by the same rule every time."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

from lmroute.emulator.backends import ContextOverflow, Finish, RequestRefused
from lmroute.emulator.backends.from_schema import instance_of
from lmroute.emulator.backends.schemas import Unsupported

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from lmroute.emulator.backends import Event, Prompt
    from lmroute.emulator.backends.script import Line

_TOKEN = re.compile(r"\s*(?:\w{1,4}|[^\w\s])|\s+")
"""A stand-in for a tokenizer: up to four letters or one sign, with the space before it."""
ECHOED_WORDS = 12


class ScriptedModel:
    """Deterministic: the same prompt gets the same answer, whatever temperature and seed say.

    A line of the script answers first. Otherwise a request with a schema gets an instance of it, chosen by a
    hash of the prompt, and any other request the beginning of its last user message.
    """

    def __init__(self, script: Sequence[Line] = ()) -> None:
        self._script = tuple(script)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Answer in small pieces."""
        used = sum(len(tokens_of(text_of(message))) for message in prompt.messages)
        if used >= prompt.context_length:
            raise ContextOverflow(used, prompt.context_length)
        tokens = tokens_of(_until_stop(self._answer(prompt), prompt.sampling.get("stop")))
        limit = prompt.context_length - used
        if (asked := prompt.sampling.get("max_tokens", -1)) >= 0:
            limit = min(limit, asked)
        for token in tokens[:limit]:
            yield token
            await asyncio.sleep(0)  # let others run, and a cancellation in
        yield Finish("length" if len(tokens) > limit else "stop", used, min(len(tokens), limit))

    async def aclose(self) -> None:
        """Nothing to let go of."""

    def _answer(self, prompt: Prompt) -> str:
        question = last_question(prompt)
        for line in self._script:
            if line.pattern.search(question):
                return line.reply
        if prompt.schema is None:
            return "You said: " + " ".join(question.split()[:ECHOED_WORDS])
        try:
            value = instance_of(prompt.schema, "\n".join(map(text_of, prompt.messages)))
        except Unsupported as error:
            raise RequestRefused(
                f"The scripted model cannot make an answer to this schema: {error}. "
                "Script one (--script) or use --model embedded."
            ) from error
        return json.dumps(value, ensure_ascii=False)


def tokens_of(text: str) -> list[str]:
    """The text in pieces that join to it again."""
    return _TOKEN.findall(text)


def text_of(message: dict[str, Any]) -> str:
    """The text of a message, whose content may be a text or a list of parts."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


def last_question(prompt: Prompt) -> str:
    """The text of the last user message; of the last message when no user spoke."""
    asked = [message for message in prompt.messages if message.get("role") == "user"] or list(prompt.messages)
    return text_of(asked[-1]) if asked else ""


def _until_stop(text: str, stop: Any) -> str:
    stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    cuts = [text.find(s) for s in stops if isinstance(s, str) and s and s in text]
    return text[: min(cuts, default=len(text))]
