"""One logical call: decide, try candidates in turn, judge each failure, keep the trace. No I/O of its own.

The sync and the async engine drive it the same way: for each ``Pause`` that ``tries()`` yields they wait, for each
``Try`` they ask its child and report ``succeeded`` or ``failed``. All of the routing logic is here, once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from dspy import lm15

from lmroute.engine import verdicts
from lmroute.engine.attempt import Try
from lmroute.engine.choice import Choice
from lmroute.engine.live.pauses import Pause
from lmroute.engine.live.slots import NoSlotError
from lmroute.engine.recording import Recording
from lmroute.engine.refusals import code_of, refusal
from lmroute.engine.trace import notes_of, trace, traced, with_field
from lmroute.model import AUTO, Attempt, Candidate, Failure
from lmroute.routing.attempts import may_fall_back
from lmroute.telemetry.events import CANCELLED, Usage

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from dspy.lm15 import Request, Response

    from lmroute.engine.live.pins import Pins
    from lmroute.engine.live.turns import Turn
    from lmroute.engine.routing import Routing
    from lmroute.routing.attempts import Failed


class LogicalCall:
    """One request on its way through the candidates."""

    def __init__(self, routing: Routing, request: Request, *, stream: bool = False) -> None:
        self._started = time.monotonic()
        self._routing = routing
        self._request = request
        self._deadline = self._started + routing.stack.policy.deadline_s
        self._recording = Recording(routing, request)
        self._choice = Choice(routing, request, stream=stream)
        self._first_of: Pins | None = None
        self._waited_s = 0.0
        self._attempts: list[Attempt] = []
        self._errors: list[lm15.LM15Error] = []

    def tries(self) -> Generator[Pause | Try]:
        """The attempts to make, one after the other, until one succeeds or none is left, and the pauses between them.

        To be closed when it is not used up: whatever an attempt holds is given back then.

        Raises:
            lm15.LM15Error: no candidate was eligible, the last one failed, or a failure allows no other.
        """
        try:
            yield from self._stay_together()
            while True:  # who waited and was passed over may have left others to ask, so back to them each time
                if (candidate := self._next()) is not None:
                    yield from self._asking(candidate)
                elif (rest := self._rest()) is not None:
                    candidate, until, paid = rest
                    yield from self._waiting(Pause(until))
                    yield from self._asking(candidate, paid)
                else:
                    break
        except GeneratorExit as closing:
            # Of a call that lmroute broke itself nobody knows how it would have ended.
            if not self._recording.is_written and not isinstance(closing.__context__, Exception):
                self._record(CANCELLED)
            raise
        finally:
            if self._first_of is not None:
                self._first_of.let_go(self._choice.decision.rule)
        raise self._ended(self._last_word() if self._errors else refusal(self._choice, self._routing.name))

    def failed(self, attempt: Try, error: lm15.LM15Error) -> None:
        """Note that an attempt failed; that its window turned out to be too small is a reason to decide anew."""
        if isinstance(error, verdicts.PromptTooLongError) and self._choice.decides_against(attempt.candidate):
            return  # nothing was sent, and others may have the room, whatever failures the rule lets fall back
        failure = verdicts.classify(error)
        now = time.monotonic()
        if failure is not Failure.GUARANTEE:
            self._routing.live.failed(
                attempt.candidate,
                failure,
                now,
                since=attempt.started,
                retry_after=error.retry_after,
                message=verdicts.recorded(error),
            )
            attempt.turn.failed(failure)
            attempt.is_over = True
        self._note_failure(attempt.candidate, failure, error, attempt)

    def begun(self, attempt: Try, start: Any) -> None:
        """Note that the caller gets to see the stream that begins with this event."""
        attempt.first_token = time.monotonic()
        self._recording.began(start)
        self._committed(attempt)

    def saw(self, event: Any) -> None:
        """Note what the caller gets to see of a stream."""
        self._recording.saw(event)

    def _committed(self, attempt: Try) -> None:
        """What this candidate answers is what the caller gets: from here on nobody else is asked."""
        attempt.turn.answered(streams=self._choice.attributes.stream)
        attempt.is_shown = True
        if self._first_of is not None:
            self._first_of.bind(self._choice.decision.rule, attempt.candidate)

    def succeeded(self, attempt: Try, response: Response) -> Response:
        """Note that an attempt succeeded; the response with the trace in its ``provider_data``."""
        self._recording.answered(response, self._choice.profile(attempt.candidate))
        attempt.degraded += notes_of(response)
        self._answered(attempt, response.model)
        return traced(response, self.trace())

    def streamed(self, attempt: Try, answered: str | None, end: Any) -> Any:
        """``succeeded`` for a stream: its end event with the trace."""
        self._recording.streamed(end, self._choice.profile(attempt.candidate))
        attempt.degraded += notes_of(end)
        self._answered(attempt, answered or attempt.candidate.model)
        return traced(end, self.trace())

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
        return trace(self._routing.name, self._choice.decision, self._attempts)

    def _stay_together(self) -> Iterator[Pause]:
        """Where the rule is pinned, wait until the first call under it is settled; or be that first call.

        Raises:
            lm15.TimeoutError: it was not settled before the deadline.
        """
        while (pins := self._choice.unbound()) is not None:
            first = pins.claim(rule := self._choice.decision.rule)
            if first is None:
                self._first_of = pins
                return
            yield from self._waiting(Pause(self._deadline, first))
            if not first.done():
                why = "the first call of this pinned rule was still under way at the deadline"
                raise self._ended(lm15.TimeoutError(f"policy {self._routing.name}, rule {rule}: {why}"))
            self._choice.decide()

    def _next(self) -> Candidate | None:
        if self._errors and time.monotonic() >= self._deadline:
            return None
        return self._choice.next(self._failed())

    def _rest(self) -> tuple[Candidate, float, int] | None:
        """Whom to ask again after the pause it asked for, when that is over, and what the retry cost."""
        if self._errors and not self._choice.may_go_on(verdicts.classify(self._errors[-1])):
            return None
        last = {a.candidate: error for a, error in zip(self._attempts, self._errors, strict=True)}
        resting = self._choice.resting(last)
        if resting is None or resting[1] >= self._deadline:
            return None
        paid = self._routing.live.retries(resting[0].provider).take(Failure.RATE_LIMIT)
        return (*resting, paid) if paid else None

    def _asking(self, candidate: Candidate, paid: int = 0) -> Iterator[Pause | Try]:
        """One attempt, with its turn waited for before and given back after.

        None if it had to be waited for and the candidate may not be asked any more.
        """
        live, began = self._routing.live, time.monotonic()
        has_waited = False
        turn = live.turn(candidate, self._choice.profile(candidate), self._choice.attributes.total_tokens)
        attempt = None
        try:
            for pause in turn.waits(self._deadline, lambda: self._choice.has_others(candidate, self._failed())):
                has_waited = True
                yield from self._waiting(pause)
            if not has_waited or self._choice.still_has(candidate, self._failed()):
                yield (attempt := self._try(candidate, turn, paid))
        except GeneratorExit:
            if attempt is not None and not attempt.is_over:
                self._given_up(attempt)
            raise
        except NoSlotError as error:
            self._note_failure(candidate, Failure.TIMEOUT, verdicts.own(lm15.TimeoutError(str(error))))
        finally:
            turn.end()
            if attempt is None or not attempt.is_over:
                live.cancelled(candidate, began)

    def _waiting(self, pause: Pause) -> Iterator[Pause]:
        began = time.monotonic()
        yield pause
        self._waited_s += time.monotonic() - began

    def _try(self, candidate: Candidate, turn: Turn, paid: int) -> Try:
        fitted, degraded = self._choice.fitted(candidate)
        request = with_field(fitted, "model", candidate.model)
        return Try(
            candidate,
            request,
            self._choice.attributes,
            self._routing,
            turn,
            degraded,
            time.monotonic(),
            self._deadline,
            paid,
        )

    def _failed(self) -> list[Failed]:
        return [(attempt.candidate, attempt.failure) for attempt in self._attempts if attempt.failure]

    def _last_word(self) -> lm15.LM15Error:
        """The error of a call that failed: the only one there was as it is, several with all that was tried."""
        if len(self._errors) == 1 and not may_fall_back(self._choice.decision, verdicts.classify(self._errors[0])):
            return self._errors[0]
        return verdicts.exhausted(self._attempts, self._errors)

    def _answered(self, attempt: Try, answered: str) -> None:
        now, live = time.monotonic(), self._routing.live
        attempt.is_over = True
        self._attempts.append(self._ended_attempt(attempt, now, answered=answered))
        live.succeeded(attempt.candidate, now, since=attempt.started, paid=attempt.paid)
        asked = attempt.candidate
        live.charge(asked.provider, answered if asked.model == AUTO else asked.model, self._recording.usage)
        self._committed(attempt)
        self._record()

    def _given_up(self, attempt: Try) -> None:
        """The caller closed the stream, or was cancelled. No usage was told yet, but a prompt that was read costs."""
        self._attempts.append(self._ended_attempt(attempt, time.monotonic(), is_cancelled=True))
        if attempt.is_shown:
            read = Usage(self._choice.attributes.prompt_tokens, 0)
            self._routing.live.charge(attempt.candidate.provider, attempt.candidate.model, read)

    def _note_failure(
        self, candidate: Candidate, failure: Failure, error: lm15.LM15Error, attempt: Try | None = None
    ) -> None:
        """Note how an attempt failed, or that it did not come to one."""
        self._errors.append(error)
        now, message = time.monotonic(), verdicts.recorded(error)
        if attempt is not None:
            ended = self._ended_attempt(attempt, now, failure=failure, message=message)
        else:
            ended = Attempt(candidate, 0.0, failure=failure, message=message, started_ms=(now - self._started) * 1000)
        self._attempts.append(ended)

    def _ended_attempt(self, attempt: Try, now: float, **how: Any) -> Attempt:
        first = attempt.first_token
        return Attempt(
            attempt.candidate,
            (now - attempt.started) * 1000,
            degraded=attempt.degraded,
            started_ms=(attempt.started - self._started) * 1000,
            first_token_ms=None if first is None else (first - attempt.started) * 1000,
            **how,
        )

    def _ended(self, error: lm15.LM15Error) -> lm15.LM15Error:
        self._record("" if self._attempts else code_of(error))
        return error

    def _record(self, refusal: str = "") -> None:
        started, waited_s = self._started, self._waited_s
        self._recording.write(self._choice, self._attempts, started=started, waited_s=waited_s, refusal=refusal)
