"""A clock that never goes back, and goes on while the machine sleeps: what was seen before that is old."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def _found() -> Callable[[], float]:
    """Linux stops CLOCK_MONOTONIC while it sleeps, and has CLOCK_BOOTTIME that goes on.

    On macOS it is Python's own clock that stops, and CLOCK_MONOTONIC goes on (man clock_gettime).
    """
    wanted = getattr(time, "CLOCK_MONOTONIC" if sys.platform == "darwin" else "CLOCK_BOOTTIME", None)
    if wanted is None:
        return time.monotonic
    clock = partial(time.clock_gettime, wanted)
    try:
        clock()
    except OSError:  # a kernel without it
        return time.monotonic
    return clock


elapsed = _found()
"""Seconds since some moment."""
