"""What OpenTelemetry's GenAI conventions call the things in our records: one table, with our own names beside theirs.

Their names are those of semantic-conventions v1.41.0, the last text of them there. They are developed further, without
a release yet, in github.com/open-telemetry/semantic-conventions-genai; ``next`` is what that repository said in
November 2026. There a span has one type that changed and one meaning, and the metrics have new names (``metrics``).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from lmroute import redact
from lmroute.model import Semconv
from lmroute.telemetry.otel.values import double, messages, milliseconds, number, reasons, string, strings, truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

Value: TypeAlias = "str | bool | int | float | tuple[str, ...]"

SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"
OPERATION_NAME = "gen_ai.operation.name"
CHAT = "chat"
"""Whatever the wire is called: DSPy's requests are chats."""
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
ERROR_TYPE = "error.type"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - no password
TOKEN_MODALITY = "gen_ai.token.modality"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Row:
    """Where a value stands in what is told of a call, and which attribute it becomes.

    Attributes:
        path: keys, with dots between them.
        of: the attribute's value, of the type that the conventions give it; ``None`` leaves it out.
        next_of: of another type in the next conventions.
        next_name: its name there, if that is another one.
    """

    path: str
    name: str
    of: Callable[[Any], Value | None] = string
    next_of: Callable[[Any], Value | None] | None = None
    next_name: str = ""

    def names(self, semconv: Semconv) -> Iterator[str]:
        """What the attribute is called."""
        if semconv is not Semconv.NEXT or not self.next_name:
            yield self.name
        if semconv is not Semconv.V1_41 and self.next_name:
            yield self.next_name


WHO = (
    Row("operation", OPERATION_NAME),
    Row("provider_name", PROVIDER_NAME),
    Row("asked", REQUEST_MODEL),
    Row("answered", "gen_ai.response.model"),
    Row("address", "server.address"),
    Row("port", "server.port", number),
)
"""Who was asked: attributes of the call's span, and of all metrics."""

OURS = (
    Row("rule", "lmroute.route.name"),
    Row("provider", "lmroute.profile"),
)
"""The same for what only lmroute knows."""

ERROR = (Row("error", ERROR_TYPE),)

DECISION = (
    Row("stack", "lmroute.stack"),
    Row("policy", "lmroute.policy"),
    Row("call", "lmroute.call.id"),
    Row("run", "lmroute.run.id"),
    Row("reason", "lmroute.decision.reason"),
    Row("attempts", "lmroute.attempts", number),
    Row("overhead_us", "lmroute.overhead_us", double),
    Row("waited", "lmroute.waited_ms", double),
    Row("cost_usd", "lmroute.cost.usd", double),
    Row("cost_from", "lmroute.cost.source"),
    Row("attributes.task", "lmroute.request.task"),
    Row("attributes.module", "lmroute.request.module"),
    Row("attributes.signature", "lmroute.request.signature"),
    Row("attributes.privacy", "lmroute.request.privacy"),
    Row("attributes.tags", "lmroute.request.tags", strings),
)

CALL = (
    *WHO,
    *OURS,
    *ERROR,
    Row("output_type", "gen_ai.output.type"),
    Row("attributes.stream", "gen_ai.request.stream", truth),
    Row("request.seed", "gen_ai.request.seed", number),
    Row("request.top_k", "gen_ai.request.top_k", double, next_of=number),
    Row("request.top_p", "gen_ai.request.top_p", double),
    Row("request.temperature", "gen_ai.request.temperature", double),
    Row("request.max_tokens", "gen_ai.request.max_tokens", number),
    Row("request.frequency_penalty", "gen_ai.request.frequency_penalty", double),
    Row("request.presence_penalty", "gen_ai.request.presence_penalty", double),
    Row("finish", "gen_ai.response.finish_reasons", strings, next_of=reasons),
    Row("response_id", "gen_ai.response.id"),
    Row("first_token", "gen_ai.response.time_to_first_chunk", milliseconds),
    Row("input_tokens", "gen_ai.usage.input_tokens", number),
    Row("output_tokens", "gen_ai.usage.output_tokens", number),
    Row("cached_tokens", "gen_ai.usage.cache_read.input_tokens", number),
    Row(
        "written_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        number,
        next_name="gen_ai.usage.cache_write.input_tokens",
    ),
    Row("reasoning_tokens", "gen_ai.usage.reasoning.output_tokens", number),
    Row("content.prompt", "gen_ai.input.messages", messages),
    Row("content.answer", "gen_ai.output.messages", messages),
    Row("status", "lmroute.status"),
    *DECISION,
)
"""The span of a logical call."""

ATTEMPT = (
    *OURS,
    *ERROR,
    Row("address", "server.address"),
    Row("port", "server.port", number),
    Row("stack", "lmroute.stack"),
    Row("call", "lmroute.call.id"),
    Row("attempt", "lmroute.attempt", number),
    Row("fallback_from", "lmroute.fallback.from"),
    Row("asked", "lmroute.request.model"),
    Row("answered", "lmroute.response.model"),
    Row("type", "lmroute.profile.type"),
    Row("locality", "lmroute.profile.locality"),
    Row("first_token", "lmroute.first_token", milliseconds),
    Row("degraded", "lmroute.degraded", strings),
    Row("status", "lmroute.status"),
)
"""The span of one attempt. It has no ``gen_ai`` names: whoever adds those up would count the call again."""


def chosen(semconv: Semconv) -> Semconv:
    """The names to use: as configured, or those that OpenTelemetry's own variable opts in to when nothing else is."""
    opted = {word.strip() for word in os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "").split(",")}
    is_next = semconv is Semconv.V1_41 and "gen_ai_latest_experimental" in opted
    return Semconv.NEXT if is_next else semconv


def attributes(told: Mapping[str, Any], rows: Iterable[Row], semconv: Semconv = Semconv.V1_41) -> dict[str, Value]:
    """What these rows make of what is told, without any secret in it. What is not told is left out.

    Where both conventions give one name two types, ``both`` has that of v1.41.
    """
    made: dict[str, Value] = {}
    for row in rows:
        known = _at(told, row.path)
        of = row.next_of if semconv is Semconv.NEXT and row.next_of else row.of
        value = None if known is None else of(known)
        if value is not None:
            made |= dict.fromkeys(row.names(semconv), _safe(value))
    return made


def safe_text(text: str) -> str:
    """Text without secrets that UTF-8 can hold: half a surrogate pair would cost all spans of its batch."""
    return redact.text(text).encode("utf-8", errors="replace").decode()


def _at(told: Mapping[str, Any], path: str) -> Any:
    value: Any = told
    for key in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _safe(value: Value) -> Value:
    if isinstance(value, str):
        return safe_text(value)
    return tuple([safe_text(text) for text in value]) if isinstance(value, tuple) else value
