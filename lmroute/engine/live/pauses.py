"""Something that a call waits for, in a thread or in an event loop."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for a future, or only for the time to pass.

    Attributes:
        until: when to stop waiting, a ``time.monotonic()`` value.
        future: what is waited for. It may still not be done afterwards.
    """

    until: float
    future: Future[None] | None = None

    def block(self) -> None:
        """Wait in a thread."""
        if self.future is None:
            time.sleep(self._left())
        else:
            wait((self.future,), timeout=self._left())

    async def passed(self) -> None:
        """Wait in an event loop."""
        if self.future is None:
            await asyncio.sleep(self._left())
            return
        waiting = asyncio.wrap_future(self.future)
        try:
            await asyncio.wait((waiting,), timeout=self._left())
        finally:
            with suppress(RuntimeError):  # done or not, nobody listens any more; but the loop may be closed by then
                waiting.cancel()

    def _left(self) -> float:
        return max(0.0, self.until - time.monotonic())
