"""A chat request's body, checked. As in LM Studio, a field that nobody knows is ignored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmroute.emulator import refusals
from lmroute.emulator.versions import STREAM_USAGE, TEXT_FORMAT, Version

if TYPE_CHECKING:
    from starlette.requests import Request

SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "max_tokens",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "repeat_penalty",
    "logit_bias",
)
"""Fields that go to the model as they came. ``max_completion_tokens`` is another name for ``max_tokens``."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a client asked of ``/v1/chat/completions``.

    Attributes:
        model: ``None`` when it names none.
        schema: JSON Schema that the answer must satisfy.
        ttl_s: idle seconds for a model that this request loads; ``None`` when unset or nonsense.
    """

    model: str | None
    messages: tuple[dict[str, Any], ...]
    sampling: dict[str, Any]
    schema: dict[str, Any] | bool | None = None
    stream: bool = False
    include_usage: bool = False
    ttl_s: int | None = None


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


def chat_request(body: dict[str, Any], version: Version) -> ChatRequest:
    """The checked request.

    Raises:
        Refused: with what LM Studio says about a field that it does not take.
    """
    options = body.get("stream_options")
    return ChatRequest(
        model=_model(body.get("model")),
        messages=_messages(body.get("messages")),
        sampling=_sampling(body),
        schema=_schema(body.get("response_format"), version),
        stream=body.get("stream") is True,
        include_usage=isinstance(options, dict) and bool(options.get("include_usage")) and version.has(STREAM_USAGE),
        ttl_s=_ttl_s(body.get("ttl")),
    )


def _model(value: Any) -> str | None:
    return None if value is None else str(value)


def _messages(value: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, list):
        raise refusals.no_messages()
    if not all(isinstance(message, dict) for message in value):
        raise refusals.text("'messages' must be an array of objects")
    return tuple({**m, "role": "system"} if m.get("role") == "developer" else m for m in value)


def _sampling(body: dict[str, Any]) -> dict[str, Any]:
    sampling = {name: body[name] for name in SAMPLING if body.get(name) is not None}
    if (limit := body.get("max_completion_tokens")) is not None:
        sampling.setdefault("max_tokens", limit)
    for name in ("max_tokens", "seed"):
        if not isinstance(sampling.get(name, 0), int):
            raise refusals.text(f"'{name}' must be an integer")
    return sampling


def _schema(response_format: Any, version: Version) -> dict[str, Any] | bool | None:
    if response_format is None:
        return None
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if kind == "text" and version.has(TEXT_FORMAT):
        return None
    if kind != "json_schema":
        raise refusals.format_type(version)
    wrapper = response_format.get("json_schema")
    schema = wrapper.get("schema") if isinstance(wrapper, dict) else None
    if not isinstance(schema, dict | bool):
        raise refusals.text("'response_format.json_schema.schema' must be a JSON Schema")
    return schema


def _ttl_s(value: Any) -> int | None:
    # LM Studio takes its default for nonsense, silently.
    return value if type(value) is int and value > 0 else None
