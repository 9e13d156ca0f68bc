"""What the scripted model reads in a prompt, and how it counts and cuts text."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmroute.emulator.backends import Prompt

_TOKEN = re.compile(r"\s*(?:\w{1,4}|[^\w\s])|\s+")
"""A stand-in for a tokenizer: up to four letters or one sign, with the space before it."""


def tokens_of(text: str) -> list[str]:
    """The text in pieces that join to it again."""
    return _TOKEN.findall(text)


def tokens_in(prompt: Prompt) -> int:
    """How many tokens the prompt takes; as in LM Studio, tools count."""
    tools = json.dumps(prompt.tools) if prompt.tools else ""
    return sum(len(tokens_of(text_of(message))) for message in prompt.messages) + len(tokens_of(tools))


def text_of(message: dict[str, Any]) -> str:
    """The text of a message, whose content may be a text or a list of parts."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


def whole_text(prompt: Prompt) -> str:
    """The texts of all messages."""
    return "\n".join(map(text_of, prompt.messages))


def last_question(prompt: Prompt) -> str:
    """The text of the last user message; of the last message when no user spoke."""
    asked = [message for message in prompt.messages if message.get("role") == "user"] or list(prompt.messages)
    return text_of(asked[-1]) if asked else ""


def cut_at_stop(text: str, stop: Any) -> tuple[str, str | None]:
    """The text before the first of the ``stop`` strings, and which one that was."""
    stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    found = {text.find(s): s for s in stops if isinstance(s, str) and s and s in text}
    if not found:
        return text, None
    return text[: min(found)], found[min(found)]
