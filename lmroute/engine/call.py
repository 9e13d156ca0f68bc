"""One logical call: decide, try candidates in turn, judge each failure, keep the trace. No I/O of its own.

The sync and the async engine drive it the same way: for each ``Try`` that ``tries()`` yields they ask its child and
report ``succeeded`` or ``failed``. All of the routing logic is here, once.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any

from dspy import lm15

from lmroute.engine import verdicts
from lmroute.engine.attributes import attributes_of
from lmroute.engine.shaping import fit
from lmroute.model import Attempt, Candidate, Decision, Failure
from lmroute.providers import dialing
from lmroute.routing.decide import OVERFLOW, decide
from lmroute.telemetry.events import CallEvent, Usage, records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from dspy.lm15 import Request, Response

    from lmroute.model import Profile, Stack
    from lmroute.routing.policy import CompiledPolicy
    from lmroute.telemetry.sink import Sink

_NOBODY_SELECTED = "none of the selected providers is one that this rule uses; select one that is"

TRACE_KEY = "lmroute"
"""Where the trace stands in ``response.provider_data``."""


@dataclass(frozen=True, slots=True)
class Routing:
    """What all calls of an engine share. ``windows`` is shared with the children, who learn windows from servers."""

    stack: Stack
    policy: CompiledPolicy
    name: str
    windows: Mapping[Candidate, int]
    sink: Sink


@dataclass(slots=True)  # not frozen: that would double the cost of making one, at every call
class Try:
    """One attempt to make: whom to ask, what, and since when."""

    candidate: Candidate
    request: Request
    degraded: tuple[str, ...]
    started: float
    deadline: float

    def bounded(self) -> AbstractContextManager[None]:
        """The call's deadline, for the socket operations inside."""
        return dialing.until(self.deadline)


class LogicalCall:
    """One request on its way through the candidates."""

    def __init__(self, routing: Routing, request: Request, *, stream: bool = False) -> None:
        self._started = time.monotonic()
        self._routing = routing
        self._request = request
        self._deadline = self._started + routing.stack.policy.deadline_s
        self._id = os.urandom(12).hex()
        self._attributes = attributes_of(request, stream=stream)
        self._decision: Decision = decide(routing.policy, self._attributes, routing.windows)
        self._attempts: list[Attempt] = []
        self._errors: list[lm15.LM15Error] = []

    def tries(self) -> Iterator[Try]:
        """The attempts to make, one after the other, until one succeeds or none is left.

        Raises:
            lm15.LM15Error: no candidate was eligible, the last one failed, or a failure allows no other.
        """
        for candidate in self._decision.candidates:
            if self._is_too_small(candidate):
                continue
            if self._errors and time.monotonic() >= self._deadline:
                break
            yield self._try(candidate)
            if self._errors and not self._may_fall_back():
                raise self._ended(self._errors[-1] if len(self._errors) == 1 else self._exhausted())
        raise self._ended(self._exhausted() if self._errors else self._nobody())

    def failed(self, attempt: Try, error: lm15.LM15Error) -> None:
        """Note that an attempt failed."""
        self._errors.append(error)
        outcome = {"failure": verdicts.classify(error), "message": verdicts.one_line(error)}
        self._attempts.append(self._attempt(attempt, **outcome))

    def succeeded(self, attempt: Try, response: Response) -> Response:
        """Note that an attempt succeeded; the response with the trace in its ``provider_data``."""
        self._attempts.append(self._attempt(attempt, answered=response.model))
        self._record(Usage(response.usage.input_tokens, response.usage.output_tokens))
        return _traced(response, self.trace())

    def streamed(self, attempt: Try, answered: str | None, end: Any) -> Any:
        """``succeeded`` for a stream: its end event with the trace."""
        self._attempts.append(self._attempt(attempt, answered=answered or attempt.candidate.model))
        usage = end.usage
        self._record(Usage(usage.input_tokens, usage.output_tokens) if usage else Usage())
        return _traced(end, self.trace())

    def stream_failed(self, attempt: Try, error: lm15.LM15Error, *, visible: bool) -> None:
        """Note that a stream failed. After its first token it is too late for anybody else.

        Raises:
            lm15.LM15Error: the error itself, when the caller has seen part of the answer.
        """
        self.failed(attempt, error)
        if visible:
            raise self._ended(error)

    def trace(self) -> dict[str, Any]:
        """Why this answer came from where it came, JSON-able."""
        last = self._attempts[-1].candidate
        return {
            "policy": self._routing.name,
            "rule": self._decision.rule,
            "provider": last.provider,
            "model": self._attempts[-1].answered,
            "attempts": [_shown(attempt) for attempt in self._attempts],
            "dropped": {str(c.candidate): c.dropped for c in self._decision.considered if c.dropped},
        }

    def _try(self, candidate: Candidate) -> Try:
        fitted, degraded = fit(self._request, self._profile(candidate))
        request = _with(fitted, "model", candidate.model)
        return Try(candidate, request, degraded, time.monotonic(), self._deadline)

    def _profile(self, candidate: Candidate) -> Profile:
        return self._routing.stack.providers[candidate.provider]

    def _window(self, candidate: Candidate) -> int | None:
        return self._routing.windows.get(candidate, self._profile(candidate).context_window)

    def _is_too_small(self, candidate: Candidate) -> bool:
        """After an overflow a window that is known to be no larger than the one that overflowed is not worth a try."""
        overflowed = [a.candidate for a in self._attempts if a.failure is Failure.CONTEXT_LENGTH]
        if not overflowed:
            return False
        window = self._window(candidate)
        largest = max((self._window(c) or 0 for c in overflowed), default=0)
        return window is not None and window <= largest

    def _may_fall_back(self) -> bool:
        allowed = verdicts.FALLBACK if self._decision.fallback_on is None else self._decision.fallback_on
        return verdicts.classify(self._errors[-1]) in allowed

    def _exhausted(self) -> lm15.LM15Error:
        return verdicts.exhausted(self._attempts, self._errors)

    def _nobody(self) -> lm15.LM15Error:
        """Why no candidate may serve this request at all."""
        if not self._decision.rule:
            return lm15.ConfigurationError(f"policy {self._routing.name}: no rule matches this request")
        reasons = "; ".join(f"{c.candidate}: {c.dropped}" for c in self._decision.considered) or _NOBODY_SELECTED
        where = f"policy {self._routing.name}, rule {self._decision.rule}"
        message = f"{where}: no candidate may serve this request ({reasons})"
        overflow = any(c.dropped.startswith(OVERFLOW) for c in self._decision.considered)
        return lm15.ContextLengthError(message) if overflow else lm15.ConfigurationError(message)

    def _attempt(self, attempt: Try, **outcome: Any) -> Attempt:
        elapsed = (time.monotonic() - attempt.started) * 1000
        return Attempt(attempt.candidate, elapsed, degraded=attempt.degraded, **outcome)

    def _ended(self, error: lm15.LM15Error) -> lm15.LM15Error:
        self._record(Usage())
        return error

    def _record(self, usage: Usage) -> None:
        duration = (time.monotonic() - self._started) * 1000
        event = CallEvent(
            call_id=self._id,
            stack=self._routing.name,
            attributes=self._attributes,
            decision=self._decision,
            attempts=tuple(self._attempts),
            usage=usage,
            duration_ms=duration,
            overhead_us=max(0.0, duration - sum(a.duration_ms for a in self._attempts)) * 1000,
        )
        # No line is made before it is taken: on a sink's own thread, if it has one; never, if it keeps nothing.
        self._routing.sink.write(records(event))


def _traced(answer: Any, trace: dict[str, Any]) -> Any:
    """A copy of a response or an end event with the trace in its ``provider_data``."""
    return _with(answer, "provider_data", {**(answer.provider_data or {}), TRACE_KEY: trace})


def _with(known: Any, name: str, value: Any) -> Any:
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
