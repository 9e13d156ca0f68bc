"""What a message may show of the user's input: people paste secrets where references belong."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECRET_NAME = re.compile(
    r"api[_-]?key|auth|bearer|credential|passw|secret|token(?!s|_s)|(?:^|[_.-])key$", re.IGNORECASE
)
_SECRET_VALUE = re.compile(r"://[^/\s]*@|\bsk-|\b(?:key|token)=|\bbearer\b", re.IGNORECASE)
_LONGEST = 60


def names_secret(key: str) -> bool:
    """Whether a key's name says that its value may be a secret."""
    return bool(_SECRET_NAME.search(key))


def masked(override: str) -> str:
    """A command-line override without what may be a secret: ``providers.openai.auth_token=***``."""
    key, equals, value = override.partition("=")
    return f"{key}{equals}***" if equals and _suspect(key, value) else override


def scrubbed(text: str, overrides: Sequence[str]) -> str:
    """A text of somebody else's making, without what the overrides may have carried into it."""
    for override in overrides:
        key, _, value = override.partition("=")
        if value and _suspect(key, value):
            text = text.replace(value, "***")
    return text


def quoted(value: Any, *keys: str) -> str:
    """A value as a message shows it: short, and not at all when it or a key on the way to it is suspect."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    if _SECRET_VALUE.search(text) or any(map(names_secret, keys)):
        return "the value"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _suspect(key: str, value: str) -> bool:
    return names_secret(key) or bool(_SECRET_NAME.search(value) or _SECRET_VALUE.search(value))
