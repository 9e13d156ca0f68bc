"""Loads whose end nobody saw: LM Studio goes on when whoever asked has left, and who asks again gets a copy.

A note lies in the state folder from before a load until its answer. So one is left behind by Ctrl-C, by a kill and by
a timeout alike, and its age tells whether that load may still be under way.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_S = 180.0
"""No load is taken to last longer. One that failed leaves no trace, and would be waited for in vain; the price of a
shorter time is a copy, where a model takes longer than that."""


def begin(note: Path) -> None:
    """Remember that a load begins now."""
    with suppress(OSError):  # no reason not to load
        note.touch()


def end(note: Path) -> None:
    """Forget it: it is over, or it never began."""
    with suppress(OSError):
        note.unlink(missing_ok=True)


def age_s(note: Path) -> float | None:
    """Seconds since a load began that may still be under way; ``None`` where there is none."""
    try:
        age = time.time() - note.stat().st_mtime
    except OSError:
        return None
    # A coarse clock of the file system may be ahead by a moment; one that was set back is not waited for.
    return max(0.0, age) if -1.0 < age < LONGEST_S else None
