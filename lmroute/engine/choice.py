"""Whom one call may ask: what is known of the request, the facts it was decided by, and who is next."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from dspy import lm15

from lmroute.engine.request import scope as scopes
from lmroute.engine.request.attributes import attributes_of
from lmroute.engine.shaping import fit, within
from lmroute.model import Considered, Decision, Failure
from lmroute.routing.attempts import may_fall_back, remaining
from lmroute.routing.classes import overflow_at
from lmroute.routing.decide import cut_short, decide
from lmroute.routing.eligibility import BUSY
from lmroute.routing.policy import CALLER_CHOICE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dspy.lm15 import Request

    from lmroute.engine.live.pins import Pins
    from lmroute.engine.request.scope import Scope
    from lmroute.engine.routing import Routing
    from lmroute.model import Candidate, Facts, Profile
    from lmroute.routing.attempts import Failed


class Choice:
    """The candidates of one request.

    Attributes:
        problem: what is wrong with what the caller says of the request; empty when nothing is.
        facts: what was known when it was decided.
        load, latency_ms: of that moment, where the decision looked at them.
    """

    def __init__(self, routing: Routing, request: Request, *, stream: bool) -> None:
        self._routing, self._request = routing, request
        self._scope, self.problem = _scope_of(request)
        self.attributes = attributes_of(request, self._scope, stream=stream, draw=routing.draws_lots)
        self.problem = self.problem or routing.vocabulary.problem(self.attributes)
        self.load: Mapping[Candidate, int] = {}
        self.latency_ms: Mapping[Candidate, float] = {}
        self.decide()

    def decide(self) -> None:
        """Decide by what is known now."""
        routing = self._routing
        self.facts = known_facts(routing, self._scope)
        if self.problem:
            self.decision = Decision("", (), refused=self.problem)
            return
        self.decision = decide(routing.policy, self.attributes, self.facts)
        if self.decision.rule in routing.looking:
            self.load, self.latency_ms = routing.live.frozen()

    def next(self, failed: Sequence[Failed]) -> Candidate | None:
        """Whom to ask now: the first who is free; if there is none, the first one, to be waited for."""
        now, first = time.monotonic(), None
        for candidate in self._left(failed):
            if self._routing.live.admits(candidate, self.profile(candidate), now):
                return candidate
            first = first or candidate
        return first

    def has_others(self, candidate: Candidate, failed: Sequence[Failed]) -> bool:
        """Whether somebody who was decided on could be asked in place of a candidate whose turn does not come."""
        return next(remaining(self.decision, [*failed, (candidate, Failure.TIMEOUT)], self._window), None) is not None

    def still_has(self, candidate: Candidate, failed: Sequence[Failed]) -> bool:
        """Decide anew for one whose turn was waited for: whether it may still be asked.

        That its slots are taken says nothing: one of them is this call's. A server that is out is asked all the same
        when nobody else is left.
        """
        self.decide()
        own = next((c for c in self.decision.considered if c.candidate == candidate), None)
        if own is None:
            return False
        if not own.dropped or own.dropped.startswith(BUSY):
            return True
        is_last_resort = self._was_doubted(own) or candidate in self._late().candidates
        return is_last_resort and next(remaining(self.decision, failed, self._window), None) is None

    def decides_against(self, candidate: Candidate) -> bool:
        """Decide anew by what was learnt of a candidate meanwhile: whether it may not be asked any more."""
        self.decide()
        return candidate not in self.decision.candidates

    def resting(self, failed: Mapping[Candidate, lm15.LM15Error]) -> tuple[Candidate, float] | None:
        """When nobody is left: who asked for a pause that ends first, and when that is.

        Args:
            failed: how the last attempt at each candidate ended.
        """
        asked = [c for c, error in failed.items() if isinstance(error, lm15.RateLimitError) and error.retry_after]
        resting = [*asked, *(c for c in self._throttled() if c not in failed)]
        if not resting:
            return None
        now = time.monotonic()
        return min(((c, self._routing.live.next_try(c, now)) for c in resting), key=lambda pair: pair[1])

    def may_go_on(self, failure: Failure) -> bool:
        """Whether anybody may be asked after such a failure, be it the same candidate."""
        return failure is Failure.RATE_LIMIT or may_fall_back(self.decision, failure)

    def throttled_for(self) -> float | None:
        """Seconds until the first of those comes back who asked for a pause; ``None`` if none did."""
        resting = self.resting({})
        return None if resting is None else max(0.0, resting[1] - time.monotonic())

    def unbound(self) -> Pins | None:
        """Where this call's rule is to be bound to a candidate, if that is still to be done."""
        rule = self.decision.rule
        if rule in self.facts.pins:
            return None
        if rule in self._routing.pinned:
            return self._routing.live.pins
        board = self._scope.pinboard
        return board.of(self._routing.live) if board is not None and rule != CALLER_CHOICE else None

    def is_forbidden(self) -> bool:
        """Whether a guarantee forbids what the caller chose."""
        provider = self.attributes.use.partition("/")[0]
        policy = self._routing.policy
        return provider in policy.providers and bool(policy.forbids(provider, self.attributes))

    def fitted(self, candidate: Candidate) -> tuple[Request, tuple[str, ...]]:
        """The request as this candidate takes it, and what differs from what was asked, in words."""
        request, degraded = fit(self._request, self.profile(candidate))
        window = self._window(candidate)
        if window is None or self.attributes.total_tokens < overflow_at(window):
            return request, degraded
        request, cut = within(request, window - self.attributes.prompt_tokens)
        return request, (*degraded, *cut)

    def profile(self, candidate: Candidate) -> Profile:
        """A candidate's provider profile."""
        return self._routing.stack.providers[candidate.provider]

    def _left(self, failed: Sequence[Failed]) -> Iterator[Candidate]:
        """All who may still be asked: after those that were decided on, those that were passed over for them, and in
        the end those who can take the prompt, but not all of the answer."""
        yield from remaining(self.decision, failed, self._window)
        late = [Considered(c.candidate) for c in self.decision.considered if c.dropped and self._was_doubted(c)]
        if late:
            yield from remaining(replace(self.decision, considered=tuple(late)), failed, self._window)
        yield from remaining(self._late(), failed, self._window)

    def _late(self) -> Decision:
        return cut_short(self._routing.policy, self.decision, self.attributes, self.facts)

    def _was_doubted(self, considered: Considered) -> bool:
        out = self.facts.out.get(considered.candidate)
        return considered.dropped == out or considered.dropped.startswith(BUSY)

    def _throttled(self) -> list[Candidate]:
        throttled = self.facts.throttled
        return [c.candidate for c in self.decision.considered if c.dropped and c.dropped == throttled.get(c.candidate)]

    def _window(self, candidate: Candidate) -> int | None:
        known = self._routing.live.learnt.windows.get(candidate)  # the last that was told, be it stale
        return self.profile(candidate).context_window if known is None else known


def known_facts(routing: Routing, scope: Scope) -> Facts:
    """What is known now, with the pins that hold for this caller."""
    live = routing.live
    facts = live.pins.added_to(live.facts(time.monotonic()))
    return facts if scope.pinboard is None else scope.pinboard.of(live).added_to(facts)


def _scope_of(request: Request) -> tuple[Scope, str]:
    """What the caller says of a request, and what is wrong with it."""
    scope = scopes.current()
    try:
        return scopes.of_request(request, scope), ""
    except (TypeError, ValueError) as error:
        return scope, f"metadata '{scopes.METADATA}': {error}"
