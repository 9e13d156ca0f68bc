"""How many retries a provider is worth: a token bucket, so that a thousand callers don't multiply an outage.

It bounds second attempts at the same provider; going on to another one is free. The numbers are the AWS SDKs' own.
"""

from __future__ import annotations

from lmroute.forks import Locked
from lmroute.model import Failure

CAPACITY = 500
THROTTLED_COST = 5
"""A throttled server works, and says when to come back: a retry is likely to be served."""
TRANSIENT_COST = 14
SUCCESS_GIVES = 1


class RetryQuota(Locked):
    """One provider's tokens. Safe to use from many threads."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        super().__init__()
        self._capacity = self._tokens = capacity

    @property
    def tokens(self) -> int:
        """What is left."""
        return self._tokens

    def take(self, failure: Failure) -> int:
        """Pay for a retry after this failure: what it cost, or 0 when it must not be made."""
        cost = THROTTLED_COST if failure is Failure.RATE_LIMIT else TRANSIENT_COST
        with self._lock:
            if self._tokens < cost:
                return 0
            self._tokens -= cost
            return cost

    def succeeded(self, paid: int = 0) -> None:
        """A call was answered; ``paid`` is what ``take`` returned for the retry that it was, if it was one."""
        with self._lock:
            self._tokens = min(self._capacity, self._tokens + max(paid, SUCCESS_GIVES))
