"""The call record: one JSON line for each attempt and one for each logical call, never any prompt or answer text.

Field names that the product promises are kept to the letter: ``provider``, ``duration`` (milliseconds), ``status``
(``ok``, ``error`` or ``cancelled``) and ``errorCode`` (a ``Failure``, ``no_candidate`` when nobody was eligible,
``cancelled`` when the caller closed the stream or gave the call up before it ended, or null). The tokens of a cancelled
call are null: servers tell them at the end.

Other times are milliseconds too: ``started`` of an attempt after its call began, ``first_token`` of a stream after its
attempt (or call) began, also where that broke off later. ``server`` is host and port; ``cost_from`` says whose price it
was: ``profile``, ``litellm`` (the map that LiteLLM ships) or ``local``, where it is 0; without a known price
``cost_usd`` is null.

The record of a call also keeps every input of its decision, so that it can be replayed under another policy:
``recorded.attributes_from`` and ``facts_from`` read them back. Some keys are only there when they say something:

- in ``attributes``: ``predictor``, ``own`` (the policy's own attributes; sets are lists), ``use``, ``lot``;
- ``facts``: ``out``, ``throttled``, ``windows``, ``load`` and ``latency_ms`` by ``provider/model``; ``spent``, which
  names budgets; ``pins`` by rule. ``load`` and ``latency_ms`` are there when the decision looked at them;
- ``refused``: why the request as a whole was refused; ``waited``: milliseconds in pauses, for a slot for example;
- ``content``: ``prompt`` and ``answer``, where the configuration says ``capture_content: true``: lists of messages
  ``{role, parts: [{type, content}]}``.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lmroute.model import AUTO, NOTHING_KNOWN, Attributes, Candidate, Facts
from lmroute.telemetry import prices

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lmroute.model import Attempt, Considered, Decision, Profile

FORMAT_VERSION = 1
CANCELLED = "cancelled"

_run = os.urandom(6).hex()
"""Tells the calls of this process from those of all others."""


def _begin_anew() -> None:
    global _run  # noqa: PLW0603 - it is the process's
    _run = os.urandom(6).hex()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_begin_anew)


def run_id() -> str:
    """What the records of this process have in common."""
    return _run


@dataclass(slots=True)  # not frozen: that would double the cost of making one, at every call
class Usage:
    """Tokens as the server reports them; ``None`` where it does not.

    Attributes:
        input_tokens: of the whole prompt, with those read from a cache (``cached``) or put there (``written``).
        output_tokens: of the whole answer, with those of ``reasoning``.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    written_tokens: int | None = None


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
        profiles: the providers by id, which tell what a server is and what its tokens cost.
        settings: what the caller asked for beside the prompt: ``temperature``, ``max_tokens`` ...
        content: the prompt and the answer, if they are kept.
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
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    finish_reason: str | None = None
    response_id: str | None = None
    content: Mapping[str, Any] | None = None
    run: str = field(default_factory=run_id)

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
        "run": event.run,
        "call": event.call_id,
        "stack": event.stack,
        "rule": event.decision.rule,
    }
    before: Candidate | None = None
    for number, attempt in enumerate(event.attempts, 1):
        code = _code(attempt)
        yield {
            **common,
            "kind": "attempt",
            "attempt": number,
            **_server(attempt.candidate.provider, event),
            "model": attempt.answered or attempt.candidate.model,
            "asked": attempt.candidate.model,
            "fallback_from": str(before) if before else None,
            "started": round(attempt.started_ms, 3),
            "duration": round(attempt.duration_ms, 3),
            "first_token": _rounded(attempt.first_token_ms),
            "status": _status(code),
            "errorCode": code,
            "message": attempt.message,
            "degraded": list(attempt.degraded),
        }
        before = attempt.candidate
    yield {**common, **_call(event)}


def _call(event: CallEvent) -> dict[str, Any]:
    """What the record of a call has that those of its attempts have not."""
    served, usage = event.served, event.usage
    code = None if served else _last_failure(event)
    last = event.attempts[-1] if event.attempts else None
    first = last.first_token_ms if last else None
    return {
        "kind": "call",
        **_server(served.candidate.provider if served else None, event),
        "model": served.answered if served else None,
        "duration": round(event.duration_ms, 3),
        "first_token": _rounded(last.started_ms + first) if last and first is not None else None,
        "status": _status(code),
        "errorCode": code,
        "attempts": len(event.attempts),
        "overhead_us": round(event.overhead_us, 1),
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "written_tokens": usage.written_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        **_cost(event),
        "finish_reason": event.finish_reason,
        "response_id": event.response_id,
        "request": dict(event.settings),
        "attributes": _attributes(event.attributes),
        "considered": [_considered(c) for c in event.decision.considered],
        **_stated(
            facts=_facts(event),
            refused=event.decision.refused,
            waited=round(event.waited_ms, 3),
            content=event.content,
        ),
    }


def _server(provider: str | None, event: CallEvent) -> dict[str, Any]:
    """Which provider, and what and where its server is."""
    profile = event.profiles.get(provider) if provider else None
    if profile is None:
        return {"provider": provider, "type": None, "locality": None, "server": None}
    server = _host_and_port(profile.endpoint) if profile.endpoint else None
    return {"provider": provider, "type": profile.type, "locality": profile.locality.value, "server": server}


@lru_cache(maxsize=256)
def _host_and_port(endpoint: str) -> str | None:
    try:
        parts = urlsplit(endpoint)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    host = parts.hostname or ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _cost(event: CallEvent) -> dict[str, Any]:
    """What the answer cost, in US dollars, and who says so."""
    served = event.served
    profile = event.profiles.get(served.candidate.provider) if served else None
    if served is None or profile is None:
        return {"cost_usd": None, "cost_from": None}
    asked, usage = served.candidate.model, event.usage
    price = prices.price_of(profile, served.answered if asked == AUTO else asked)
    usd = prices.charged(price, usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.written_tokens)
    return {"cost_usd": usd, "cost_from": price.source}


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)


def _facts(event: CallEvent) -> dict[str, Any]:
    facts = event.facts
    told = {name: known for name in ("out", "throttled", "windows") if (known := getattr(facts, name))}
    told |= {name: known for name in ("load", "latency_ms") if (known := getattr(event, name))}
    stated: dict[str, Any] = {
        name: {str(candidate): value for candidate, value in known.items()} for name, known in told.items()
    }
    if facts.spent:
        stated["spent"] = sorted(facts.spent)
    if facts.pins:
        stated["pins"] = {rule: str(candidate) for rule, candidate in facts.pins.items()}
    return stated


def _stated(**values: Any) -> dict[str, Any]:
    """Those that say something."""
    return {name: value for name, value in values.items() if value}


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
            own=attributes.own and {n: sorted(v) if isinstance(v, frozenset) else v for n, v in attributes.own.items()},
            use=attributes.use,
            lot=attributes.lot,
        ),
    }
