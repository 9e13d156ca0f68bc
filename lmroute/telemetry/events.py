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
    from collections.abc import Iterator

    from lmroute.model import Attempt, Attributes, Considered, Decision

FORMAT_VERSION = 1


@dataclass(slots=True)  # not frozen: that would double the cost of making one, at every call
class Usage:
    """Tokens as the server reports them; ``None`` where it does not."""

    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(slots=True)  # not frozen either
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


def records(event: CallEvent) -> Iterator[dict[str, Any]]:
    """The lines of one call: its attempts in order, then the call itself. Each is made when it is taken."""
    common = {
        "v": FORMAT_VERSION,
        "ts": datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds"),
        "call": event.call_id,
        "stack": event.stack,
        "rule": event.decision.rule,
    }
    for number, attempt in enumerate(event.attempts, 1):
        yield {
            **common,
            "kind": "attempt",
            "attempt": number,
            "provider": attempt.candidate.provider,
            "model": attempt.answered or attempt.candidate.model,
            "duration": round(attempt.duration_ms, 3),
            "status": "error" if attempt.failure else "ok",
            "errorCode": attempt.failure.value if attempt.failure else None,
            "message": attempt.message,
            "degraded": list(attempt.degraded),
        }
    served = event.served
    yield {
        **common,
        "kind": "call",
        "provider": served.candidate.provider if served else None,
        "model": served.answered if served else None,
        "duration": round(event.duration_ms, 3),
        "status": "ok" if served else "error",
        "errorCode": None if served else _last_failure(event.attempts),
        "attempts": len(event.attempts),
        "overhead_us": round(event.overhead_us, 1),
        "input_tokens": event.usage.input_tokens,
        "output_tokens": event.usage.output_tokens,
        "attributes": _attributes(event.attributes),
        "considered": [_considered(c) for c in event.decision.considered],
    }


def _considered(considered: Considered) -> dict[str, str]:
    shown = {"candidate": str(considered.candidate)}
    return {**shown, "dropped": considered.dropped} if considered.dropped else shown


def _last_failure(attempts: tuple[Attempt, ...]) -> str:
    failure = attempts[-1].failure if attempts else None
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
