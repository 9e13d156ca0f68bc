"""The trace in an answer: why it came from where it came."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

from lmroute import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.model import Attempt, Decision

TRACE_KEY = "lmroute"
"""Where the trace stands in ``response.provider_data``."""

_METADATA = ("id", "model", "provider_data")


def trace(name: str, decision: Decision, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Why an answer came from where it came, JSON-able. ``name`` is the configuration's."""
    last = attempts[-1]
    return {
        "policy": name,
        "rule": decision.rule,
        "provider": last.candidate.provider,
        "model": last.answered,
        "attempts": [_shown(attempt) for attempt in attempts],
        "dropped": {str(c.candidate): c.dropped for c in decision.considered if c.dropped},
    }


def without_keys(answer: Any) -> Any:
    """A response or an event without the keys in its metadata; what the model says is the caller's."""
    for name in _METADATA:
        if value := getattr(answer, name, None):
            answer = with_field(answer, name, redact.data(value))
    return answer


def noted(answer: Any, notes: Sequence[str]) -> Any:
    """A response or an end event that says what was changed in it, for the trace to tell."""
    return with_field(answer, "provider_data", {**(answer.provider_data or {}), TRACE_KEY: notes}) if notes else answer


def notes_of(answer: Any) -> tuple[str, ...]:
    """What ``noted`` was told of this answer."""
    return tuple((answer.provider_data or {}).get(TRACE_KEY) or ())


def traced(answer: Any, told: dict[str, Any]) -> Any:
    """A copy of a response or an end event with the trace in its ``provider_data``."""
    return with_field(answer, "provider_data", {**(answer.provider_data or {}), TRACE_KEY: told})


def with_field(known: Any, name: str, value: Any) -> Any:
    """A copy of one of lm15's frozen objects with one field changed.

    Not by ``dataclasses.replace``: that would check all of it again, and costs more than the decision.
    """
    kind: Any = type(known)
    changed = object.__new__(kind)
    for field in _field_names(kind):
        object.__setattr__(changed, field, getattr(known, field))
    object.__setattr__(changed, name, value)
    return changed


@cache
def _field_names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _shown(attempt: Attempt) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "provider": attempt.candidate.provider,
        "model": attempt.answered or attempt.candidate.model,
        "duration": round(attempt.duration_ms, 3),
        "status": "error" if attempt.failure else "ok",
        "errorCode": attempt.failure.value if attempt.failure else None,
    }
    if attempt.message:
        shown["message"] = attempt.message
    if attempt.degraded:
        shown["degraded"] = list(attempt.degraded)
    return shown
