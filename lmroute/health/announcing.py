"""Which changes are worth an announcement: a screen reader, or a person at a terminal, hears each one.

Pure: times are handed in. Per provider there is at most one announcement in ten seconds; a change that was undone by
the end of them is none, and one that lasts is announced then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.providers.probe.states import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lmroute.health.status import Status

WINDOW_S = 10.0


class Announcer:
    """What was announced of each provider, and what is to be. Not safe to use from several threads.

    Args:
        told: what has been told already; of the others ``unknown`` is taken to be known.
        now: when that was.
    """

    def __init__(self, told: Iterable[Status] = (), now: float = float("-inf"), *, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._told = {status.provider: (status.state, now) for status in told}
        self._held: dict[str, Status] = {}

    def changed(self, status: Status, now: float) -> Status | None:
        """Take note of how a provider is now; returned is what to announce at once."""
        state, at = self._told.get(status.provider, (State.UNKNOWN, float("-inf")))
        self._held.pop(status.provider, None)
        if status.state is state:
            return None
        if now < at + self._window_s:
            self._held[status.provider] = status
            return None
        self._told[status.provider] = (status.state, now)
        return status

    def due(self, now: float) -> list[Status]:
        """What to announce now of what was held back."""
        held = list(self._held.values())
        return [status for status in held if now >= self._ends(status) and self.changed(status, now)]

    def next_at(self) -> float:
        """When something is to be announced, unless it is undone until then; infinity when nothing is."""
        return min(map(self._ends, self._held.values()), default=float("inf"))

    def _ends(self, status: Status) -> float:
        return self._told[status.provider][1] + self._window_s
