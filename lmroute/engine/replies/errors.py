"""Error bodies in the one shape that DSPy's engine reads: ``{"error": {"message": ...}}``.

LM Studio answers with a text, with an object, with a validator's list and, from its web framework, with a page.
"""

from __future__ import annotations

import json
import re
from typing import Any

from dspy import lm15

_TELLING = frozenset({"exceed_context_size_error", "model_load_failed"})
"""Types that say more than their message; DSPy's engine forgets the type where there is a code."""
_MARKUP = re.compile(r"<(script|style|title)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)


def parsed(data: bytes) -> Any:
    """A JSON document, ``None`` if it is none; DSPy's engine says what is wrong with it then."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def as_error(said: Any) -> dict[str, Any]:
    """What a server puts under ``error``, or instead of it, as an object with a message."""
    if isinstance(said, dict):
        message, kind = str(said.get("message") or ""), str(said.get("type") or "")
        if kind in _TELLING and kind not in message:
            message = f"{message} ({kind})" if message else kind
        return {**said, "message": message or json.dumps(said)}
    if isinstance(said, list):
        return {"message": "; ".join(_place_and_message(entry) for entry in said)}
    return {"message": str(said)}


def readable(body: bytes) -> bytes:
    """The body of an answer whose status is an error, in the shape that is read."""
    document = parsed(body)
    if isinstance(document, dict) and "error" in document:
        error = as_error(document["error"])
    elif isinstance(document, list):
        error = as_error(document)
    elif document is None and body.lstrip().startswith(b"<"):
        error = as_error(f"a web page: {' '.join(_MARKUP.sub(' ', body.decode(errors='replace')).split())[:300]}")
    else:
        return body
    return json.dumps({"error": error}).encode()


def raised(error: dict[str, Any], status: int | None = None) -> lm15.ProviderError:
    """An error that came with a success."""
    code = str(error.get("code") or error.get("type") or "") or None
    return lm15.ProviderError(error["message"], status=status, provider_code=code)


def _place_and_message(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    path = entry.get("path")
    place = ".".join(str(step) for step in path) if isinstance(path, list) else ""
    message = str(entry.get("message") or json.dumps(entry))
    return f"{place}: {message}" if place else message
