"""The one redactor that every message, record and log line goes through.

Two nets: values that were revealed in this process are replaced exactly (plain, base64, URL-encoded, and as they stand
in JSON), and text that has the shape of a key is replaced even when nobody registered it, because servers echo what
they were sent.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

MASK = "***"
_SHORTEST = 6
"""Shorter values would mask ordinary words; nothing that short protects anything."""

_LONGEST = 240
"""Characters of one line of somebody else's text."""

_PLACEHOLDERS = frozenset({"lm-studio", "lmstudio", "llamacpp", "llama.cpp", "ollama", "openai", "sglang"})
"""What people send to servers that want no key. To mask these is to mask the names of providers everywhere."""

_KEY_SHAPES = re.compile(
    r"(?:\b|(?<=\\[bfnrt]))(?:"  # in JSON text, the letter of an escape stands before a key on a new line
    r"(?:sk|pk|rk)-[A-Za-z0-9_-]{8,}(?::[A-Za-z0-9]+)?"  # OpenAI, Anthropic, OpenRouter; LM Studio's has a colon
    r"|AIza[A-Za-z0-9_-]{20,}"  # Google
    r"|gh[pousr]_[A-Za-z0-9]{20,})"  # GitHub
    r"|(?<=[Bb]earer )[A-Za-z0-9._~+/=:-]{6,}"
)
_HINTS = ("k-", "AIza", "gh", "earer ")
"""What is in every text that ``_KEY_SHAPES`` matches; looking for these takes a tenth of the pattern's time."""

_lock = threading.Lock()
_known: dict[str, None] = {}


def remember(value: str) -> None:
    """Have this exact value, and its base64, URL-encoded and JSON forms, masked from now on."""
    if len(value) < _SHORTEST or value in _PLACEHOLDERS:
        return
    encoded = base64.b64encode(value.encode()).decode()
    with _lock:
        for form in (value, encoded, encoded.rstrip("="), quote(value, safe=""), json.dumps(value)[1:-1]):
            _known[form] = None


def text(message: str) -> str:
    """``message`` with every known secret and everything shaped like a key replaced by ``***``."""
    shown, at = [], 0
    # All are looked for in the text as it came: what one leaves behind may be half of another, in a shape nobody knows.
    for start, end in sorted(_secrets_in(message)):
        if start >= at:
            shown += [message[at:start], MASK]
        at = max(at, end)
    return "".join([*shown, message[at:]]) if at else message


def one_line(told: str, longest: int = _LONGEST) -> str:
    """What a person may be shown of somebody else's text: no secret, no control character, not too long."""
    # Redacted before it is cut: half a secret has no shape any more.
    plain = "".join(c if c.isprintable() else " " for c in text(told))
    shown = " ".join(plain.split())
    return shown if len(shown) <= longest else f"{shown[:longest]}…"


def _secrets_in(message: str) -> Iterator[tuple[int, int]]:
    """Where secrets stand, as start and end; they may overlap."""
    with _lock:
        known = [form for form in _known if form in message]
    for form in known:
        yield from (found.span() for found in re.finditer(re.escape(form), message))
    for hint in _HINTS:
        if hint in message:
            yield from (found.span() for found in _KEY_SHAPES.finditer(message))
            return
