"""When to leave a candidate alone: a circuit breaker, and a pause for one that asks for it.

closed --5 failures in a row, or half of the last 20--> open --30 s, doubled each time up to 300 s--> half-open, where
one probe is let through: its success closes the breaker, its failure opens it again for twice as long.

No clock of its own: every ``now`` and ``since`` is a value of one monotonic clock, in seconds.
"""

from __future__ import annotations

from collections import deque

from lmroute.forks import Locked
from lmroute.model import Failure

STREAK = 5
"""So many failures in a row open the breaker."""
WINDOW = 20
"""So many outcomes are remembered, and half of them failed opens it too. Not before all are known: a dead server is
found by its streak, and of fewer calls to a server that is merely flaky, half fail by chance too often."""
PAUSE_S, LONGEST_PAUSE_S = 30.0, 300.0
BACK_OFF_S, LONGEST_BACK_OFF_S = 1.0, 300.0
LONGEST_RETRY_AFTER_S = 3600.0
PROBE_LEASE_S = 300.0

NOT_THE_SERVERS_FAULT = frozenset(
    {Failure.INVALID_REQUEST, Failure.CONTEXT_LENGTH, Failure.UNSUPPORTED_FEATURE, Failure.GUARANTEE}
)
"""Failures that tell of the request and not of the server. ``rate_limit`` makes a pause; all others count."""

THROTTLED = "throttled by the server"
PROBING = "breaker half-open, its one probe is under way"
PROBE_FAILED = "breaker open, its last probe failed"

_MOST_DOUBLINGS = 16  # all pauses are at their longest by then, and powers of two have not outgrown a float


class Breaker(Locked):
    """One candidate's breaker. Safe to use from many threads.

    An outcome counts only when its call began in the breaker's present state: what began before it opened, or before it
    closed again, tells of a time that has been judged already. In panic mode (nobody else is left) a candidate may be
    asked while its breaker is open; then success closes it and failure changes nothing.

    Args:
        probe_lease_s: how long a probe that never reports back keeps others out.
    """

    def __init__(self, probe_lease_s: float = PROBE_LEASE_S) -> None:
        super().__init__()
        self._probe_lease_s = probe_lease_s
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._streak = 0
        self._openings = 0  # in a row; 0 means closed
        self._probing = False
        self._since = float("-inf")  # when the present state began
        self._until = float("-inf")
        self._reason = ""
        self._throttlings = 0  # in a row
        self._throttled_at = self._throttled_until = float("-inf")

    def is_open(self, now: float) -> str:
        """Why it had better not be asked, in words that stay the same until something changes; empty if it may be.

        ``THROTTLED`` is the reason of a pause that the server asked for, open breaker or not.
        """
        if now < self._throttled_until:
            return THROTTLED
        return self._reason if now < self._until else ""

    def throttled_s(self, now: float) -> float:
        """Seconds for which it is still left alone because the server asked for that; 0 if it is not."""
        return max(0.0, self._throttled_until - now)

    def next_try(self, now: float) -> float:
        """When it may be asked again, if nothing is reported until then; ``now`` if it may be asked already."""
        return max(now, self._throttled_until, self._until)

    def admit(self, now: float) -> bool:
        """Whether a call may begin now. When half-open, ``True`` makes that call the one probe.

        The outcome is to be reported with a ``since`` that is this ``now`` or later.
        """
        with self._lock:
            if self.next_try(now) > now:
                return False
            if self._openings:
                self._probing = True
                self._enter(now, self._probe_lease_s, PROBING)
            return True

    def succeeded(self, now: float, *, since: float) -> None:
        """The call that began at ``since`` was answered."""
        with self._lock:
            if since >= self._throttled_at:
                self._throttlings = 0
            if since < self._since:
                return
            if self._openings:
                self._close(now)
            self._streak = 0
            self._recent.append(True)

    def failed(self, failure: Failure, now: float, *, since: float, retry_after: float | None = None) -> None:
        """The call that began at ``since`` failed.

        Args:
            retry_after: seconds that the server asked to be left alone.
        """
        with self._lock:
            if failure is Failure.RATE_LIMIT:
                self._throttle(now, since, retry_after)
            if failure is Failure.RATE_LIMIT or failure in NOT_THE_SERVERS_FAULT:
                self.cancelled(since)
            elif since >= self._since:
                self._count_failure(now)

    def cancelled(self, since: float) -> None:
        """The call that began then ended without telling anything of the server. If it was the probe, another may."""
        with self._lock:
            if self._probing and since >= self._since:
                self._probing = False
                self._until = float("-inf")

    def may_be_back(self, now: float) -> None:
        """Somebody else found the server well: if it is out, a probe may begin at once."""
        with self._lock:
            if self._openings and not self._probing:
                self._until = min(self._until, now)

    def _begin_in_child(self) -> None:
        super()._begin_in_child()
        self.cancelled(self._since)  # if there is a probe, it is the parent's

    def _count_failure(self, now: float) -> None:
        if self._probing:
            self._open(now, PROBE_FAILED)
        elif not self._openings:
            self._streak += 1
            self._recent.append(False)
            failures = self._recent.count(False)
            if self._streak >= STREAK:
                self._open(now, f"breaker open after {STREAK} failures in a row")
            elif len(self._recent) == WINDOW and failures * 2 >= WINDOW:
                self._open(now, f"breaker open, {failures} of the last {WINDOW} calls failed")

    def _open(self, now: float, reason: str) -> None:
        self._openings += 1
        self._probing = False
        self._enter(now, _doubled(PAUSE_S, self._openings, LONGEST_PAUSE_S), reason)

    def _close(self, now: float) -> None:
        self._openings = 0
        self._probing = False
        self._recent.clear()
        self._enter(now, 0.0, "")

    def _enter(self, now: float, lasts: float, reason: str) -> None:
        # The reason first: is_open() reads without the lock, and must not find a new end with an old, empty reason.
        self._since, self._reason = now, reason
        self._until = now + lasts

    def _throttle(self, now: float, since: float, retry_after: float | None) -> None:
        if retry_after is not None and retry_after > 0:
            pause = min(retry_after, LONGEST_RETRY_AFTER_S)
        elif since >= self._throttled_at:  # many calls that are refused at once are one throttling
            self._throttlings += 1
            pause = _doubled(BACK_OFF_S, self._throttlings, LONGEST_BACK_OFF_S)
        else:
            return
        self._throttled_at = now
        self._throttled_until = max(self._throttled_until, now + pause)


def _doubled(first: float, times: int, longest: float) -> float:
    """``first`` for the first time, twice that for the second, and so on."""
    return min(first * 2.0 ** min(times - 1, _MOST_DOUBLINGS), longest)
