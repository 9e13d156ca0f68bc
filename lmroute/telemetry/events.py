"""The call record: one JSON line for each attempt and one for each logical call, never any prompt or answer text.

Field names that the product promises are kept to the letter: ``provider``, ``duration`` (milliseconds), ``status``
(``ok``, ``error`` or ``cancelled``) and ``errorCode`` (a ``Failure``, ``no_candidate`` when nobody was eligible,
``cancelled`` when the caller closed the stream or gave the call up before it ended, or null). The tokens of a cancelled
call are null: servers tell them at the end.

The record of a call also keeps every input of its decision, so that it can be replayed under another policy:
``attributes_from`` and ``facts_from`` read them back. Some keys are only there when they say something:

- in ``attributes``: ``predictor``, ``own`` (the policy's own attributes; sets are lists), ``use``, ``lot``;
- ``facts``: ``out``, ``throttled``, ``windows``, ``load`` and ``latency_ms`` by ``provider/model``; ``spent``, which
  names budgets; ``pins`` by rule. ``load`` and ``latency_ms`` are there when the decision looked at them;
- ``refused``: why the request as a whole was refused; ``waited``: milliseconds in pauses, for a slot for example.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lmroute.model import NOTHING_KNOWN, Attributes, Candidate, Facts, Privacy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lmroute.model import Attempt, Considered, Decision

FORMAT_VERSION = 1
CANCELLED = "cancelled"


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
        overhead_us: what routing itself took: the call's duration without its attempts and pauses.
        at: when it ended, seconds since the epoch.
        facts: what was known when it was decided.
        load, latency_ms: of that moment, if the decision looked at them.
        refusal: the ``errorCode`` when nobody was asked, or ``CANCELLED``.
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
    facts: Facts = NOTHING_KNOWN
    load: Mapping[Candidate, int] = field(default_factory=dict)
    latency_ms: Mapping[Candidate, float] = field(default_factory=dict)
    waited_ms: float = 0.0
    refusal: str = ""

    @property
    def served(self) -> Attempt | None:
        """The attempt that succeeded, if one did."""
        last = self.attempts[-1] if self.attempts else None
        return last if last is not None and last.failure is None and not last.is_cancelled else None


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
            "status": _status(_code(attempt)),
            "errorCode": _code(attempt),
            "message": attempt.message,
            "degraded": list(attempt.degraded),
        }
    served = event.served
    code = None if served else _last_failure(event)
    yield {
        **common,
        "kind": "call",
        "provider": served.candidate.provider if served else None,
        "model": served.answered if served else None,
        "duration": round(event.duration_ms, 3),
        "status": _status(code),
        "errorCode": code,
        "attempts": len(event.attempts),
        "overhead_us": round(event.overhead_us, 1),
        "input_tokens": event.usage.input_tokens,
        "output_tokens": event.usage.output_tokens,
        "attributes": _attributes(event.attributes),
        "considered": [_considered(c) for c in event.decision.considered],
        **_stated(facts=_facts(event), refused=event.decision.refused, waited=round(event.waited_ms, 3)),
    }


def attributes_from(record: Mapping[str, Any]) -> Attributes:
    """The attributes that a call's record was made of."""
    known = record["attributes"]
    needs = {f"needs_{name}": value for name, value in known["needs"].items()}
    plain = {name: value for name, value in known.items() if name not in {"needs", "own", "tags", "privacy"}}
    return Attributes(
        **plain,
        **needs,
        tags=frozenset(known["tags"]),
        privacy=Privacy(known["privacy"]),
        own={name: _as_value(value) for name, value in known.get("own", {}).items()},
    )


def facts_from(record: Mapping[str, Any]) -> Facts:
    """The facts that a call's record was decided by; of load and latencies, what the decision looked at."""
    known = record.get("facts", {})
    by_candidate = {
        name: {_candidate(shown): value for shown, value in known.get(name, {}).items()} for name in _BY_CANDIDATE
    }
    pins = {rule: _candidate(shown) for rule, shown in known.get("pins", {}).items()}
    return Facts(**by_candidate, spent=frozenset(known.get("spent", ())), pins=pins)


_BY_CANDIDATE = ("out", "throttled", "windows", "load", "latency_ms")


def _facts(event: CallEvent) -> dict[str, Any]:
    facts = event.facts
    return _stated(
        out=_by_candidate(facts.out),
        throttled=_by_candidate(facts.throttled),
        windows=_by_candidate(facts.windows),
        spent=sorted(facts.spent),
        pins={rule: str(candidate) for rule, candidate in facts.pins.items()},
        load=_by_candidate(event.load),
        latency_ms=_by_candidate(event.latency_ms),
    )


def _stated(**values: Any) -> dict[str, Any]:
    """Those that say something."""
    return {name: value for name, value in values.items() if value}


def _by_candidate(values: Mapping[Candidate, Any]) -> dict[str, Any]:
    return {str(candidate): value for candidate, value in values.items()}


def _candidate(shown: str) -> Candidate:
    provider, _, model = shown.partition("/")
    return Candidate(provider, model)


def _as_value(value: Any) -> Any:
    return frozenset(value) if isinstance(value, list) else value


def _considered(considered: Considered) -> dict[str, str]:
    shown = {"candidate": str(considered.candidate)}
    return {**shown, "dropped": considered.dropped} if considered.dropped else shown


def _code(attempt: Attempt) -> str | None:
    if attempt.is_cancelled:
        return CANCELLED
    return attempt.failure.value if attempt.failure else None


def _status(code: str | None) -> str:
    if code is None:
        return "ok"
    return CANCELLED if code == CANCELLED else "error"


def _last_failure(event: CallEvent) -> str:
    if event.refusal == CANCELLED:
        return CANCELLED
    failure = event.attempts[-1].failure if event.attempts else None
    return failure.value if failure else event.refusal or "no_candidate"


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
        **_stated(
            predictor=attributes.predictor,
            own={name: sorted(v) if isinstance(v, frozenset) else v for name, v in attributes.own.items()},
            use=attributes.use,
            lot=attributes.lot,
        ),
    }
