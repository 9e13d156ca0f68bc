"""Ids as LM Studio makes them."""

from __future__ import annotations

import secrets
import string

_ALPHABET = string.ascii_lowercase + string.digits


def new_id(prefix: str, length: int = 20) -> str:
    """A new id of so many letters and digits after the prefix."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))
