"""The call record: one JSON line for each attempt and one for each logical call, never any prompt or answer text.

Field names that the product promises are kept to the letter: ``provider``, ``duration`` (milliseconds), ``status``
(``ok`` or ``error``) and ``errorCode`` (a ``Failure``, ``no_candidate`` when nobody was eligible, or null). A record
also keeps every input of the decision, so that it can be replayed under another policy.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmroute.model import Attempt, Attributes, Candidate, Decision, Failure

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server reports them; ``None`` where it does not."""

    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(slots=True)  # not frozen: that would double the cost of making one, at every call
class CallEvent:
    """A logical call as it ended.

    Attributes:
        call_id: the same in all records of this call.
        stack: ``policy@hash`` of the configuration.
        overhead_us: what routing itself took: the call's duration without its attempts.
        at: when it ended, seconds since the epoch.
    """

    call_id: str
    stack: str
    attributes: Attributes
    decision: Decision
    attempts: tuple[Attempt, ...]
    usage: Usage
    duration_ms: float
    overhead_us: float
    at: float = field(default_factory=time.time)

    @property
    def served(self) -> Attempt | None:
        """The attempt that succeeded, if one did."""
        last = self.attempts[-1] if self.attempts else None
        return last if last is not None and last.failure is None else None


def records(event: CallEvent) -> list[dict[str, Any]]:
    """The lines of one call: its attempts in order, then the call itself."""
    common = {
        "v": FORMAT_VERSION,
        "ts": datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds"),
        "call": event.call_id,
        "stack": event.stack,
        "rule": event.decision.rule,
    }
    lines = [{**common, **_attempt(number, attempt)} for number, attempt in enumerate(event.attempts, 1)]
    return [*lines, {**common, **_call(event)}]


def _attempt(number: int, attempt: Attempt) -> dict[str, Any]:
    return {
        "kind": "attempt",
        "attempt": number,
        "provider": attempt.candidate.provider,
        "model": attempt.answered or attempt.candidate.model,
        "duration": round(attempt.duration_ms, 3),
        **_outcome(attempt.failure),
        "message": attempt.message,
        "degraded": list(attempt.degraded),
    }


def _call(event: CallEvent) -> dict[str, Any]:
    served = event.served
    last = event.attempts[-1] if event.attempts else None
    return {
        "kind": "call",
        "provider": served.candidate.provider if served else None,
        "model": served.answered if served else None,
        "duration": round(event.duration_ms, 3),
        "status": "ok" if served else "error",
        "errorCode": None if served else _code(last.failure if last else None),
        "attempts": len(event.attempts),
        "overhead_us": round(event.overhead_us, 1),
        "input_tokens": event.usage.input_tokens,
        "output_tokens": event.usage.output_tokens,
        "attributes": _attributes(event.attributes),
        "considered": [_considered(c.candidate, c.dropped) for c in event.decision.considered],
    }


def _considered(candidate: Candidate, dropped: str) -> dict[str, str]:
    shown = {"candidate": str(candidate)}
    return {**shown, "dropped": dropped} if dropped else shown


def _outcome(failure: Failure | None) -> dict[str, str | None]:
    return {"status": "ok" if failure is None else "error", "errorCode": None if failure is None else failure.value}


def _code(failure: Failure | None) -> str:
    return failure.value if failure else "no_candidate"


def _attributes(attributes: Attributes) -> dict[str, Any]:
    return {
        "task": attributes.task,
        "module": attributes.module,
        "signature": attributes.signature,
        "tags": sorted(attributes.tags),
        "privacy": attributes.privacy.value,
        "needs": {
            "tools": attributes.needs_tools,
            "response_schema": attributes.needs_response_schema,
            "vision": attributes.needs_vision,
            "reasoning": attributes.needs_reasoning,
        },
        "prompt_tokens": attributes.prompt_tokens,
        "max_output_tokens": attributes.max_output_tokens,
        "stream": attributes.stream,
    }
