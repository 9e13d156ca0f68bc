"""The one redactor that every message, record and log line goes through.

Two nets: values that were revealed in this process are replaced exactly (plain, base64 and URL-encoded), and text that
has the shape of a key is replaced even when nobody registered it, because servers echo what they were sent.
"""

from __future__ import annotations

import base64
import re
import threading
from urllib.parse import quote

MASK = "***"
_SHORTEST = 6
"""Shorter values would mask ordinary words; nothing that short protects anything."""

_KEY_SHAPES = re.compile(
    r"sk-lm-[A-Za-z0-9]{8}:[A-Za-z0-9]{20}"  # LM Studio API token
    r"|\b(?:sk|pk|rk)-[A-Za-z0-9_-]{8,}"  # OpenAI, Anthropic, OpenRouter and their imitators
    r"|\bAIza[A-Za-z0-9_-]{20,}"  # Google
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}"  # GitHub
    r"|(?<=Bearer )[A-Za-z0-9._~+/=:-]{6,}"
)
_BEGINNINGS = ("sk-", "pk-", "rk-", "AIza", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "Bearer ")
"""How everything that ``_KEY_SHAPES`` matches begins, or what stands before it."""

_lock = threading.Lock()
_known: dict[str, None] = {}


def remember(value: str) -> None:
    """Have this exact value, and its base64 and URL-encoded forms, masked from now on."""
    if len(value) < _SHORTEST:
        return
    encoded = base64.b64encode(value.encode()).decode()
    with _lock:
        for form in (value, encoded, encoded.rstrip("="), quote(value, safe="")):
            _known[form] = None


def text(message: str) -> str:
    """``message`` with every known secret and everything shaped like a key replaced by ``***``."""
    with _lock:
        known = sorted(_known, key=len, reverse=True)  # a longer form may contain a shorter one
    for form in known:
        message = message.replace(form, MASK)
    if not any(beginning in message for beginning in _BEGINNINGS):
        return message  # the pattern takes ten times as long as looking for how its matches begin
    return _KEY_SHAPES.sub(MASK, message)
