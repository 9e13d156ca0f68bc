"""The time that loads, TTLs and downloads go by: the machine's, or one that stands still until it is told."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol

_SETTLING_TURNS = 20
"""Turns of the event loop in which those who were waiting may act before time goes on."""
LONGEST_S = 10**9
"""The longest time in seconds that anything here may take, thirty years: sums of such times stay finite and exact."""


class Clock(Protocol):
    """Seconds since some moment, and a way to wait for later ones."""

    def __call__(self) -> float:
        """Seconds now; only differences mean anything."""

    async def sleep(self, seconds: float) -> None:
        """Wait until so many seconds have passed on this clock."""


class RealClock:
    """The machine's monotonic clock."""

    def __call__(self) -> float:
        """Seconds now."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that stands still until it is advanced. Used from one event loop only."""

    def __init__(self) -> None:
        self._now = float(int(time.monotonic()))  # whole seconds, so that advances add up exactly
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = itertools.count()

    def __call__(self) -> float:
        """Seconds now."""
        return self._now

    @property
    def waiting(self) -> int:
        """How many wait for a later time."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been advanced by so much."""
        if seconds <= 0:
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._number), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let so many seconds pass. Whoever waits acts at the time it waited for, not only at the end."""
        end = self._now + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, woken = heapq.heappop(self._sleepers)
            self._now = max(self._now, at)
            if not woken.done():  # it may have been cancelled
                woken.set_result(None)
                await _settle()
        self._now = end
        await _settle()


_EPOCH = time.time() - time.monotonic()


def wall_s(at: float) -> float:
    """The moment ``at`` of any of these clocks as seconds since 1970; a manual clock starts when it is made."""
    return _EPOCH + at


async def _settle() -> None:
    for _ in range(_SETTLING_TURNS):
        await asyncio.sleep(0)
