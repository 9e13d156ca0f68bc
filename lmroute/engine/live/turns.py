"""A call's turn at a candidate: one of its slots, and room on its host where calls can evict each other's models.

LM Studio keeps one of the models that it loaded for calls. Loading the next one kills what the last one is generating,
so calls to one host are under way together only if none of them can make it load: whoever may do that waits until all
others have ended, has the host to itself until its model answers, and then shares it. Models that a person loaded, or
we did, are never evicted: calls to them neither wait nor are waited for.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from lmroute.engine.live.loaded import host_of
from lmroute.engine.live.pauses import Pause
from lmroute.engine.live.slots import NoSlotError
from lmroute.model import Failure
from lmroute.routing.breaker import NOT_THE_SERVERS_FAULT

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator
    from concurrent.futures import Future

    from lmroute.engine.live.learnt import Learnt
    from lmroute.engine.live.slots import Slots
    from lmroute.model import Candidate, Profile

_KEEPS_MODELS = NOT_THE_SERVERS_FAULT | {Failure.RATE_LIMIT, Failure.AUTH, Failure.BILLING}
"""Failures that say nothing about whether the model is still loaded."""
_SHARE = 1
_sharing = threading.Lock()
"""For the few instructions that take from a weight: two may do so at once."""
_WHOLE_HOST = 2**31
"""More than all the shares there can be."""


class Turn:
    """What has to be held while a candidate is asked. ``end`` gives it back.

    Args:
        tokens: what the call may take of the model's context window.
    """

    __slots__ = ("_candidate", "_held", "_host", "_learnt", "_limits", "_slots", "_tokens", "_weight")

    def __init__(self, slots: Slots, learnt: Learnt, candidate: Candidate, profile: Profile, tokens: int = 0) -> None:
        self._slots, self._learnt = slots, learnt
        self._candidate, self._tokens = candidate, tokens
        stated = profile.concurrency
        self._limits = learnt.limits(candidate, stated) if learnt.parallel else (stated, None)
        self._host = host_of(profile)
        self._weight = 0  # on the host
        self._held: list[tuple[Hashable, Future[None]]] = []

    def waits(self, deadline: float) -> Iterator[Pause]:
        """The pauses until it is this call's turn; nearly always none.

        Raises:
            NoSlotError: it did not come in time.
        """
        limit, window = self._limits
        yield from self._hold(self._candidate, self._slots.take(self._candidate, limit, self._tokens, window), deadline)
        if self._host and self._candidate not in self._learnt.staying:
            yield from self._hold(self._host, self._slots.take(self._host, None, self._weigh, _WHOLE_HOST), deadline)
            if self._weight == _WHOLE_HOST:
                self._learnt.loaded.alone(self._host, self._candidate.model, self._share)

    def answered(self) -> None:
        """The model has begun to answer, so it is loaded."""
        if self._weight:
            self._learnt.loaded.answered(self._host, self._candidate.model)
            self._share()

    def failed(self, failure: Failure) -> None:
        """The model may not be loaded any more."""
        if self._host and failure not in _KEEPS_MODELS:
            self._learnt.staying.discard(self._candidate)
            self._learnt.loaded.forget(self._host, self._candidate.model)

    def end(self) -> None:
        """Give back what is held; the next in line may go on."""
        while self._held:
            key, future = self._held.pop()
            if key != self._host:
                self._slots.leave(key, future, self._tokens)
                continue
            if future.done() and not future.cancelled() and self._weight == _WHOLE_HOST:
                self._learnt.loaded.forget_all(key)  # it never answered: nobody knows what the host did for it
            self._slots.leave(key, future, self._given_back)  # it may be let in this very moment

    def _share(self) -> None:
        """Let others onto the host. Any call that lists its models may do this for us, at any time."""
        with _sharing:
            gives_back, self._weight = max(0, self._weight - _SHARE), min(_SHARE, self._weight)
        if gives_back:
            self._slots.lighten(self._host, gives_back)

    def _weigh(self) -> int:
        """What this call takes of the host, if it is let in now.

        Nobody can make the host load another model while a call is in, so it stays as it is then.
        """
        loaded = self._learnt.loaded.has(self._host, self._candidate.model)
        self._weight = _SHARE if loaded else _WHOLE_HOST
        return self._weight

    def _given_back(self) -> int:
        with _sharing:
            held, self._weight = self._weight, 0
        return held

    def _hold(self, key: Hashable, future: Future[None], deadline: float) -> Iterator[Pause]:
        self._held.append((key, future))
        if not future.done():
            yield Pause(deadline, future)
            if not future.done():
                raise NoSlotError(f"{key} was busy until the deadline ({self._why(key)})")

    def _why(self, key: Hashable) -> str:
        if key == self._host:
            return "models are switched one by one, and only while no other one answers"
        limit, window = self._limits
        return f"at most {limit} at once" + (f", sharing a window of {window} tokens" if window else "")
