"""One attempt of a logical call, on its way between the call that decides and the engine that asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmroute.providers import dialing

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from dspy.lm15 import Request

    from lmroute.engine.live.turns import Turn
    from lmroute.engine.routing import Routing
    from lmroute.model import Attributes, Candidate


@dataclass(slots=True)  # not frozen: that would double the cost of making one, at every call
class Try:
    """One attempt to make: whom to ask, what, for which request, and since when.

    Attributes:
        paid: what it cost as a retry.
        is_over: whether its outcome was reported.
        is_shown: whether the caller got to see some of its answer.
        first_token: of a stream, when that was, on the monotonic clock.
    """

    candidate: Candidate
    request: Request
    attributes: Attributes
    routing: Routing
    turn: Turn
    degraded: tuple[str, ...]
    started: float
    deadline: float
    paid: int = 0
    is_over: bool = False
    is_shown: bool = False
    first_token: float | None = None

    def bounded(self) -> AbstractContextManager[None]:
        """The call's deadline, for the socket operations inside."""
        return dialing.until(self.deadline)
