"""The body of ``/api/v1/chat``, checked: a closed list of keys, other names than OpenAI's, no assistant turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lmroute.emulator.native.bodies import Field, check, invalid

_SAMPLING = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repeat_penalty": "repeat_penalty",
    "max_output_tokens": "max_tokens",
}
"""Keys that go to the model, and what the backends call them."""
_REASONING = ("off", "low", "medium", "high", "xhigh", "on")
_NUMBER = ("integer", "number")
_CHAT = {
    "model": Field(("string",), required=True),
    "input": Field(("string", "array"), required=True),
    "system_prompt": Field(("string",)),
    "integrations": Field(("array",)),
    "stream": Field(("boolean",)),
    "temperature": Field(_NUMBER, least=0, most=1),
    "top_p": Field(_NUMBER, least=0, most=1),
    "top_k": Field(("integer",), least=0),
    "min_p": Field(_NUMBER, least=0, most=1),
    "repeat_penalty": Field(_NUMBER, least=0),
    "max_output_tokens": Field(("integer",), least=1),
    "reasoning": Field(("string",)),
    "context_length": Field(("integer",), least=1),
    "store": Field(("boolean",)),
    "previous_response_id": Field(("string",)),
}
_ITEMS = {"text": "content", "image": "data_url"}
"""What an item of the input must have, by its type."""


@dataclass(frozen=True, slots=True)
class NativeRequest:
    """What a client asked of ``/api/v1/chat``.

    Attributes:
        messages: the new ones, in OpenAI's form.
        context_length: window in tokens of a model that this request loads.
        plugins: ids of those that the model may use.
        previous: id of the stored response that this one continues.
    """

    model: str
    messages: tuple[dict[str, Any], ...]
    sampling: dict[str, Any]
    stream: bool
    reasoning: str | None
    context_length: int | None
    store: bool
    plugins: tuple[str, ...]
    previous: str | None


def native_request(body: dict[str, Any]) -> NativeRequest:
    """The checked request.

    Raises:
        Refused: with what LM Studio says about a key or value that it does not take.
    """
    check(body, _CHAT)
    if (reasoning := body.get("reasoning")) not in (None, *_REASONING):
        known = ", ".join(f"'{name}'" for name in _REASONING)
        raise invalid(
            f"Invalid reasoning setting '{reasoning}'. Expected one of {known}.", "invalid_value", "reasoning"
        )
    system = [{"role": "system", "content": text}] if (text := body.get("system_prompt")) else []
    return NativeRequest(
        model=body["model"],
        messages=(*system, {"role": "user", "content": _content(body["input"])}),
        sampling={theirs: body[name] for name, theirs in _SAMPLING.items() if name in body},
        stream=body.get("stream", False),
        reasoning=reasoning,
        context_length=body.get("context_length"),
        store=body.get("store", True),
        plugins=tuple(map(_name_of, body.get("integrations", ()))),
        previous=body.get("previous_response_id"),
    )


def _content(value: str | list[Any]) -> str | list[dict[str, Any]]:
    return value if isinstance(value, str) else [_part(number, item) for number, item in enumerate(value)]


def _part(number: int, item: Any) -> dict[str, Any]:
    kind = item.get("type") if isinstance(item, dict) else None
    if kind not in _ITEMS:
        raise _union("Invalid discriminator value. Expected 'text' | 'image'")
    key = _ITEMS[kind]
    problems = [] if isinstance(item.get(key), str) else [f"'input.{number}.{key}' is required"]
    if unknown := [name for name in item if name not in {"type", key}]:
        problems.append(f"Unrecognized key(s) in object: {', '.join(map(repr, unknown))}")
    if problems:
        raise _union(", ".join(problems))
    if kind == "text":
        return {"type": "text", "text": item[key]}
    return {"type": "image_url", "image_url": {"url": item[key]}}


def _union(message: str) -> Exception:
    return invalid(message, "invalid_union", "input")


def _name_of(integration: Any) -> str:
    if isinstance(integration, dict):
        return str(integration.get("id") or integration.get("server_label") or "")
    return str(integration)
