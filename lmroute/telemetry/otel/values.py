"""Values of our records as attributes: of exactly the type that a convention asks for, or ``None`` if that cannot be.

The types are OTLP's. One value that it cannot hold would cost all spans of its batch, so none gets that far.
"""

from __future__ import annotations

import json
from typing import Any

_INT64 = 2**63


def string(value: Any) -> str | None:
    """A text that says something."""
    return value if isinstance(value, str) and value else None


def strings(value: Any) -> tuple[str, ...] | None:
    """Several texts, if there are any; one alone is a list of one."""
    items = (value,) if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        return None
    return tuple([item for item in items if isinstance(item, str) and item]) or None


def reasons(value: Any) -> tuple[str, ...] | None:
    """Why an answer ended; the next conventions call it an ``error`` when that was not told."""
    return strings(value or "error")


def number(value: Any) -> int | None:
    """A whole number of 64 bits, which is what ``int`` means to OTLP."""
    is_whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    return int(value) if is_whole and -_INT64 <= value < _INT64 else None


def double(value: Any) -> float | None:
    """A float, of whole numbers as well."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 2.0**1023 else None


def milliseconds(value: Any) -> float | None:
    """Milliseconds as seconds."""
    known = double(value)
    return None if known is None else known / 1000


def truth(value: Any) -> bool | None:
    """True or nothing: what is not set is false already."""
    return True if value is True else None


def messages(value: Any) -> str | None:
    """Messages in the conventions' own form, as the JSON text that a span may hold."""
    return json.dumps(value, ensure_ascii=False, default=str) if value else None
