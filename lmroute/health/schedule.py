"""Whom to probe, and when. Pure: times and randomness are handed in.

Every provider has its turn once in an interval that is shaken a little, so that many processes do not ask in step, and
never more than one probe under way. What is in doubt is looked at again in a moment. Who is sick is left alone for
longer and longer. After the machine has slept everybody is late: then the round is spread over some seconds.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

FIRST_S = 1.0
"""Seconds from the start to the first round: who is asked something at once needs no probe."""
AGAIN_S = 1.0
"""Seconds until what is in doubt is looked at again."""
JITTER = 0.2
"""The part of an interval that it may be shorter or longer."""
BACK_OFF = 4
"""A sick provider's interval grows up to so many times the usual one, and a service far away always has that."""
AT_ONCE = 16
"""So many probes may be under way."""

CHANCE = random.Random().random  # noqa: S311 - a program's own seeded numbers are not to be drawn by a thread of ours
"""Numbers from 0 to 1."""

LATE_S = 5.0
"""Who is late by more was not forgotten: time has jumped."""
FEW = 4
"""So many probes may be under way when one of a round is begun that is late."""
_SPREAD_S = 0.5


@dataclass(slots=True)
class _Turn:
    """A provider's next probe.

    Attributes:
        due: when, on the caller's clock.
        is_far: whether it is a service far away.
        sick: probes in a row that found it sick.
        is_late: whether it was put off because time has jumped.
        again: whether something happened meanwhile that the probe under way cannot know of.
        is_gone: whether it is not to be probed any more once that has ended.
    """

    due: float
    is_far: bool = False
    sick: int = 0
    under_way: bool = False
    is_late: bool = False
    again: bool = False
    is_gone: bool = False


class Schedule:
    """Whose turn it is. Not safe to use from several threads.

    Args:
        interval_s: seconds between two probes of a provider that is near and well.
        chance: numbers from 0 to 1.
    """

    def __init__(self, interval_s: float, *, chance: Callable[[], float] = CHANCE) -> None:
        self.interval_s = interval_s
        self._chance = chance
        self._turns: dict[str, _Turn] = {}

    def adopt(self, providers: Mapping[str, bool], now: float, changed: Iterable[str] = ()) -> None:
        """Probe these from now on, and no others.

        Args:
            providers: whether each is a service far away.
            changed: those of them that are not what they were, so that nothing is known of them.
        """
        for name in self._turns.keys() - providers.keys():
            self._turns[name].is_gone = True
            if not self._turns[name].under_way:
                del self._turns[name]
        changed = {*changed, *(name for name in providers if name not in self._turns or self._turns[name].is_gone)}
        for name, is_far in providers.items():
            turn = self._turns.setdefault(name, _Turn(now))
            turn.is_far, turn.is_gone = is_far, False
            if name in changed:
                turn.due, turn.sick, turn.is_late, turn.again = now + FIRST_S, 0, False, turn.under_way

    def begin(self, now: float) -> None:
        """Have the first round in a moment, whenever the last one was."""
        for turn in self._turns.values():
            turn.due, turn.is_late = now + self._shaken(FIRST_S), False

    def due(self, now: float, heard: Mapping[str, float]) -> list[str]:
        """Whom to probe now; each is under way until ``ended``.

        Args:
            heard: when a call told last that a provider is well; who told that within its interval has its turn later.
        """
        ready = sorted((turn.due, name) for name, turn in self._turns.items() if not turn.under_way and turn.due <= now)
        self._spread([self._turns[name] for due, name in ready if now - due > LATE_S], now)
        return [name for _, name in ready if self._begins(name, now, heard.get(name, float("-inf")))]

    def ended(
        self, provider: str, now: float, *, sick: bool, in_doubt: bool, not_before: float = float("-inf")
    ) -> None:
        """A provider's probe has ended.

        Args:
            sick: whether it is, as far as is known now.
            in_doubt: whether another look would settle that.
            not_before: when it wants to be asked again, on the caller's clock.
        """
        turn = self._turns[provider]
        if turn.is_gone:
            del self._turns[provider]
            return
        if not sick:
            turn.sick = 0
        elif not in_doubt:
            turn.sick += 1
        wait_s = AGAIN_S if in_doubt or turn.again else self.wait_s(provider)
        turn.under_way = turn.again = False
        turn.due = max(now + self._shaken(wait_s), not_before)

    def soon(self, provider: str, now: float) -> None:
        """Something speaks against what is known: look again in a moment."""
        turn = self._turns.get(provider)
        if turn is not None:
            turn.again = turn.under_way
            turn.due = min(turn.due, now + self._shaken(AGAIN_S))

    def wait_s(self, provider: str) -> float:
        """Seconds between two probes of a provider as things are."""
        turn = self._turns[provider]
        times = BACK_OFF if turn.is_far else min(BACK_OFF, 1 << min(max(turn.sick - 1, 0), BACK_OFF))
        return self.interval_s * times

    def next_at(self) -> float:
        """When somebody's turn comes; infinity when nobody's does before something ends."""
        return min((turn.due for turn in self._turns.values() if self._has_room(turn)), default=float("inf"))

    def _spread(self, late: Iterable[_Turn], now: float) -> None:
        """Put those off that are late for the first time, each by a little more than the one before."""
        for place, turn in enumerate(turn for turn in late if not turn.is_late):
            turn.is_late = True
            turn.due = now + (place + self._chance()) * _SPREAD_S

    def _begins(self, provider: str, now: float, heard: float) -> bool:
        turn = self._turns[provider]
        if turn.due > now or not self._has_room(turn):
            return False
        is_well = not turn.sick and now - heard < self.wait_s(provider)
        if is_well:
            turn.due = heard + self.wait_s(provider) * (1 + JITTER * self._chance())
        turn.under_way, turn.is_late = not is_well, False
        return not is_well

    def _has_room(self, turn: _Turn) -> bool:
        under_way = sum(turn.under_way for turn in self._turns.values())
        return not turn.under_way and under_way < (FEW if turn.is_late else AT_ONCE)

    def _shaken(self, seconds: float) -> float:
        return seconds * (1 + JITTER * (2 * self._chance() - 1))
