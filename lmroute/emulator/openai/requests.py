"""An OpenAI-style request's body, checked. As in LM Studio, a field that nobody knows is ignored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmroute.emulator import refusals
from lmroute.emulator.backends import Prompt, ToolChoice
from lmroute.emulator.catalog import EFFORTS
from lmroute.emulator.openai.tools import tool_choice_of, tools_of
from lmroute.emulator.requests import model_of, ttl_s_of
from lmroute.emulator.versions import REASONING_EFFORT, STREAM_USAGE, TEXT_FORMAT, Version

if TYPE_CHECKING:
    from lmroute.emulator.machine.instances import Instance

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
    """What a client asked of ``/v1/chat/completions`` or ``/v1/completions``.

    Attributes:
        model: ``None`` when it names none.
        schema: JSON Schema that the answer must satisfy.
        ttl_s: idle seconds for a model that this request loads; ``None`` when unset or nonsense.
        effort: ``reasoning_effort``; ``None`` leaves it to the model.
        template: whether these are messages, not a text to be continued.
    """

    model: str | None
    messages: tuple[dict[str, Any], ...]
    sampling: dict[str, Any]
    schema: dict[str, Any] | bool | None = None
    stream: bool = False
    include_usage: bool = False
    ttl_s: int | None = None
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: ToolChoice = "auto"
    effort: str | None = None
    template: bool = True

    def prompt_for(self, instance: Instance) -> Prompt:
        """What the model behind ``instance`` gets."""
        return Prompt(
            self.messages,
            self.sampling,
            self.schema,
            instance.context_length,
            self.tools,
            self.tool_choice,
            instance.model.effort(self.effort) if self.template else "none",
            self.template,
        )


def chat_request(body: dict[str, Any], version: Version) -> ChatRequest:
    """The checked request.

    Raises:
        Refused: with what LM Studio says about a field that it does not take.
    """
    return ChatRequest(
        model=model_of(body),
        messages=messages_of(body.get("messages")),
        sampling=sampling_of(body),
        schema=_schema(body.get("response_format"), version),
        stream=body.get("stream") is True,
        include_usage=_include_usage(body, version),
        ttl_s=ttl_s_of(body),
        tools=tools_of(body.get("tools"), version),
        tool_choice=tool_choice_of(body.get("tool_choice"), version),
        effort=effort_of(body.get("reasoning_effort"), version),
    )


def completion_request(body: dict[str, Any], version: Version) -> ChatRequest:
    """The checked request for ``/v1/completions``, whose one message is the prompt.

    Raises:
        Refused: with what LM Studio says about a field that it does not take; its words about ``prompt`` are unknown.
    """
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise refusals.text("'prompt' field is required and must be a string")
    return ChatRequest(
        model=model_of(body),
        messages=({"role": "user", "content": prompt},),
        sampling=sampling_of(body),
        schema=_schema(body.get("response_format"), version),
        stream=body.get("stream") is True,
        include_usage=_include_usage(body, version),
        ttl_s=ttl_s_of(body),
        template=False,
    )


def effort_of(value: Any, version: Version, param: str = "reasoning_effort") -> str | None:
    """How much to reason; ``None`` when the request does not say.

    Raises:
        Refused: when it is not one of ``EFFORTS``.
    """
    if value is None or not version.has(REASONING_EFFORT):
        return None
    if value not in EFFORTS:
        raise refusals.invalid_value(param, value, EFFORTS)
    return str(value)


def _include_usage(body: dict[str, Any], version: Version) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and bool(options.get("include_usage")) and version.has(STREAM_USAGE)


def messages_of(value: Any) -> tuple[dict[str, Any], ...]:
    """The messages, with ``developer`` as ``system``.

    Raises:
        Refused: when there are none.
    """
    if not isinstance(value, list):
        raise refusals.no_messages()
    if not all(isinstance(message, dict) for message in value):
        raise refusals.text("'messages' must be an array of objects")
    return tuple({**m, "role": "system"} if m.get("role") == "developer" else m for m in value)


def sampling_of(body: dict[str, Any]) -> dict[str, Any]:
    """The fields that go to the model.

    Raises:
        Refused: when a number is none.
    """
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
