"""What the bodies of requests have in common. As in LM Studio, a field that nobody knows is ignored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lmroute.emulator import refusals

if TYPE_CHECKING:
    from starlette.requests import Request


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object in the body.

    Raises:
        Refused: when there is none.
    """
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise refusals.not_json() from None
    if not isinstance(body, dict):
        raise refusals.not_json()
    return body


def model_of(body: dict[str, Any]) -> str | None:
    """The model that a request names; ``None`` when it names none."""
    value = body.get("model")
    return None if value is None else str(value)


def ttl_s_of(body: dict[str, Any]) -> int | None:
    """Idle seconds that the request wants for a model that it loads."""
    value = body.get("ttl")
    # LM Studio takes its default for nonsense, silently.
    return value if type(value) is int and value > 0 else None
