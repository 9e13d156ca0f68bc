"""A call's turn at a candidate: one of its slots, and room on its host where calls can evict each other's models.

LM Studio keeps one of the models that it loaded for calls. Loading the next one kills what the last one is generating,
so calls to one host are under way together only if none of them can make it load: whoever may do that waits until all
others have ended, has the host to itself until its model answers, and then shares it. Models that a person loaded, or
we did, are never evicted: calls to them neither wait nor are waited for.

That holds for all LMs of one process, by whatever name their profiles call the host. Other processes are not waited
for, and LM Studio tells nobody what it is generating: between two programs only models that stay are safe, or one model
that both name.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lmroute.engine.live.loaded import host_of
from lmroute.engine.live.pauses import Pause
from lmroute.engine.live.slots import NoSlotError
from lmroute.model import Failure
from lmroute.routing.breaker import NOT_THE_SERVERS_FAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator
    from concurrent.futures import Future

    from lmroute.engine.live.learnt import Learnt
    from lmroute.engine.live.slots import Slots
    from lmroute.model import Candidate, Profile

_KEEPS_MODELS = NOT_THE_SERVERS_FAULT | {Failure.RATE_LIMIT, Failure.AUTH, Failure.BILLING}
"""Failures that say nothing about whether the model is still loaded."""
_SHARE = 1
_WHOLE_HOST = 2**31
"""More than all the shares there can be."""


class Turn:
    """What has to be held while a candidate is asked. ``end`` gives it back.

    Args:
        tokens: what the call may take of the model's context window.
    """

    __slots__ = (
        "_began",
        "_candidate",
        "_held",
        "_host",
        "_hosts",
        "_learnt",
        "_limits",
        "_slots",
        "_streams",
        "_timeouts",
        "_tokens",
        "_weight",
    )

    def __init__(self, slots: Slots, learnt: Learnt, candidate: Candidate, profile: Profile, tokens: int = 0) -> None:
        self._slots, self._learnt = slots, learnt
        self._candidate, self._tokens = candidate, tokens
        stated = profile.concurrency
        self._limits = learnt.limits(candidate, stated) if learnt.parallel else (stated, None)
        self._host = host_of(profile)
        self._hosts = learnt.hosts
        self._timeouts = profile.timeouts
        self._weight = 0  # on the host
        self._streams = False
        self._held: list[tuple[Slots, Hashable, Future[None]]] = []

    def waits(self, deadline: float, has_others: Callable[[], bool] = lambda: False) -> Iterator[Pause]:
        """The pauses until it is this call's turn; nearly always none.

        Where others are left to ask it is not waited for longer than a first token, and a switch of models than a
        load besides; nor for more than half of the time that is left, so that there is some for them.

        Args:
            has_others: whether anybody else could still be asked; looked at when there is waiting to do.

        Raises:
            NoSlotError: it did not come in time.
        """
        self._began = time.monotonic()
        limit, window = self._limits
        key, patience_s = self._candidate, self._timeouts.first_token_s
        self._held.append((self._slots, key, self._slots.take(key, limit, self._tokens, window)))
        yield from self._granted(deadline, has_others, patience_s)
        if self._host and self._candidate not in self._learnt.staying:
            slots, patience_s = self._hosts.slots, patience_s + self._timeouts.load_s
            self._held.append((slots, self._host, slots.take(self._host, None, self._weigh, _WHOLE_HOST)))
            yield from self._granted(deadline, has_others, patience_s)
            if self._weight == _WHOLE_HOST:
                self._hosts.loaded.alone(self._host, self._candidate.model, self._share)

    def answered(self, *, streams: bool = False) -> None:
        """The model has begun to answer, so it is loaded. ``streams``: how long it takes is up to who reads it."""
        if streams:
            self._streams = True
            for slots, key, _ in self._held:
                slots.streams(key).add(self)
        if self._weight:
            self._hosts.loaded.answered(self._host, self._candidate.model)
            self._share()

    def failed(self, failure: Failure) -> None:
        """The model may not be loaded any more."""
        if self._host and failure not in _KEEPS_MODELS:
            self._learnt.staying.discard(self._candidate)
            self._hosts.loaded.forget(self._host, self._candidate.model)

    def end(self) -> None:
        """Give back what is held; the next in line may go on."""
        while self._held:
            slots, key, future = self._held.pop()
            if self._streams:
                slots.streams(key).discard(self)
            if key != self._host:
                slots.leave(key, future, self._tokens)
                continue
            if future.done() and not future.cancelled() and self._weight == _WHOLE_HOST:
                self._hosts.loaded.forget_all(self._host)  # it never answered: nobody knows what was done for it
            slots.leave(key, future, self._all_of_it)  # it may be let in this very moment

    def _share(self) -> None:
        """Let others onto the host. Any call that lists its models may do this for us, at any time."""
        if self._weight > _SHARE:
            self._hosts.slots.lighten(self._host, self._all_but_a_share)

    def _weigh(self) -> int:
        """What this call takes of the host, if it is let in now.

        Nobody can make the host load another model while a call is in, so it stays as it is then.
        """
        loaded = self._hosts.loaded.has(self._host, self._candidate.model)
        self._weight = _SHARE if loaded else _WHOLE_HOST
        return self._weight

    # The slots ask for these one at a time, so two threads never take from the same weight.

    def _all_of_it(self) -> int:
        held, self._weight = self._weight, 0
        return held

    def _all_but_a_share(self) -> int:
        held, self._weight = self._weight, min(_SHARE, self._weight)
        return held - self._weight

    def _granted(self, deadline: float, has_others: Callable[[], bool], patience_s: float) -> Iterator[Pause]:
        """The pause until the slot that was asked for last is granted, if it was not granted at once."""
        slots, key, future = self._held[-1]
        if future.done():
            return
        until = deadline
        if hurries := has_others():
            until = self._began + min(patience_s, (deadline - self._began) / 2)
        yield Pause(until, future)
        if not future.done():
            how_long = f"for {until - self._began:.3g} s, and others can be asked" if hurries else "until the deadline"
            raise NoSlotError(f"{key} was busy {how_long} ({self._why(slots, key)})")

    def _why(self, slots: Slots, key: Hashable) -> str:
        limit, window = self._limits
        why = f"at most {limit} at once" + (f", sharing a window of {window} tokens" if window else "")
        if key == self._host:
            why = "models are switched one by one, and only while no calls to another one are under way"
        if slots.streams(key):
            why += "; one of them is a stream that this program has neither read to its end nor closed"
        return why
