"""A logical call as spans: one around it, and one for each attempt below that.

They are made when the call is over, with the times it had, so that routing itself waits for none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, get_value
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from lmroute.telemetry.otel.conventions import ATTEMPT, CALL, DECISION, OPERATION_NAME, attributes, safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from opentelemetry.context import Context

    from lmroute.model import Semconv
    from lmroute.telemetry.otel.calls import Call

INFERENCE_CONTEXT = "opentelemetry.genai.client.inference.context"
"""Where OpenTelemetry's own GenAI instrumentors say that a call is under way and theirs to tell."""

_SUPPRESSED = (_SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation")  # new and old; all instrumentors look at both
_INFERENCES = frozenset({"chat", "generate_content", "text_completion"})


def is_told_by_others(context: Context) -> bool:
    """Whether the call has a span of its own already: another one, and other metrics, would count it twice."""
    if get_value(INFERENCE_CONTEXT, context) is not None:
        return True
    around = getattr(trace.get_current_span(context), "attributes", None) or {}
    return around.get(OPERATION_NAME) in _INFERENCES


def is_suppressed(context: Context) -> bool:
    """Whether the caller wants nothing told of what happens in this context."""
    return any(get_value(key, context) for key in _SUPPRESSED)


def tell(call: Call, tracer: Tracer, around: Context, semconv: Semconv) -> Context:
    """Make the spans of a call in a context. The context that its metrics belong to."""
    if is_told_by_others(around):
        _tell_attempts(call, tracer, around, attributes(call.told, DECISION))
        return around
    told = attributes(call.told, CALL, semconv)
    name = safe_text(" ".join(part for part in (call.told["operation"], call.told["asked"]) if part))
    span = tracer.start_span(name, around, SpanKind.CLIENT, told, start_time=call.started_ns)
    inside = trace.set_span_in_context(span, around)
    _tell_attempts(call, tracer, inside, {})
    _end(span, call.told, call.message, call.ended_ns)
    return inside


def _tell_attempts(call: Call, tracer: Tracer, around: Context, decision: Mapping[str, Any]) -> None:
    """The last one also tells of the whole call, where nothing of ours is around them: once, so that costs add up."""
    for attempt in call.attempts:
        began, ended = call.span_of(attempt)
        told = {**(decision if attempt is call.attempts[-1] else {}), **attributes(attempt, ATTEMPT)}
        name = safe_text(f"attempt {attempt.get('provider')}")
        span = tracer.start_span(name, around, SpanKind.INTERNAL, told, start_time=began)
        _end(span, attempt, str(attempt.get("message") or ""), ended)


def _end(span: Span, told: Mapping[str, Any], message: str, at_ns: int) -> None:
    if told.get("error"):
        span.set_status(Status(StatusCode.ERROR, safe_text(message) or None))
    span.end(at_ns)
