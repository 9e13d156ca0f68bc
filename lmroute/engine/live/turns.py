"""A call's turn at a candidate: one of its slots, and the host's lock where it may have to load another model."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lmroute.engine.live.pauses import Pause
from lmroute.engine.live.slots import NoSlotError
from lmroute.model import AUTO, Failure
from lmroute.routing.breaker import NOT_THE_SERVERS_FAULT

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator
    from concurrent.futures import Future

    from lmroute.engine.live.slots import Slots
    from lmroute.engine.live.switches import Switches
    from lmroute.model import Candidate, Profile

_KEEPS_MODELS = NOT_THE_SERVERS_FAULT | {Failure.RATE_LIMIT, Failure.AUTH, Failure.BILLING}
"""Failures that say nothing about whether the model is still loaded."""


class Turn:
    """What has to be held while a candidate is asked. ``end`` gives it back."""

    __slots__ = ("_candidate", "_held", "_host", "_limit", "_slots", "_switches")

    def __init__(self, slots: Slots, switches: Switches, candidate: Candidate, profile: Profile) -> None:
        self._slots, self._switches = slots, switches
        self._candidate, self._limit = candidate, profile.concurrency
        is_named = profile.type == "lmstudio" and candidate.model != AUTO
        self._host = urlsplit(profile.endpoint or "").netloc if is_named else ""
        self._held: list[tuple[Hashable, Future[None]]] = []

    def waits(self, deadline: float) -> Iterator[Pause]:
        """The pauses until it is this call's turn; nearly always none.

        Raises:
            NoSlotError: it did not come in time.
        """
        yield from self._take(self._candidate, self._limit, deadline)
        if self._host and self._switches.needs_lock(self._host, self._candidate.model):
            yield from self._take(self._host, 1, deadline)
            if not self._switches.needs_lock(self._host, self._candidate.model):
                self._give_back_lock()  # whoever had it has loaded this very model

    def answered(self) -> None:
        """The model has begun to answer, so it is loaded."""
        if self._host:
            self._switches.answered(self._host, self._candidate.model)
            self._give_back_lock()

    def failed(self, failure: Failure) -> None:
        """The model may not be loaded any more."""
        if self._host and failure not in _KEEPS_MODELS:
            self._switches.forget(self._host, self._candidate.model)

    def end(self) -> None:
        """Give back what is held; the next in line may go on."""
        while self._held:
            self._slots.leave(*self._held.pop())

    def _take(self, key: Hashable, limit: int | None, deadline: float) -> Iterator[Pause]:
        future = self._slots.take(key, limit)
        self._held.append((key, future))
        if not future.done():
            yield Pause(deadline, future)
            if not future.done():
                why = "models switched one by one" if key == self._host else f"at most {limit} at once"
                raise NoSlotError(f"{key} was busy until the deadline ({why})")

    def _give_back_lock(self) -> None:
        if len(self._held) > 1:
            self._slots.leave(*self._held.pop())
