"""How far something is, on stderr: one line that changes where a person looks at it, else a line now and then."""

from __future__ import annotations

import shutil
import sys
import time
from concurrent.futures import Future, wait
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from lmroute import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_TICK_S = 1.0
_RARELY_S = 15.0
"""Between two lines where nobody watches a line change: a log is read later."""
_CLEAR = "\r\x1b[K"


class Progress:
    """Tells how far something is.

    Args:
        clock: seconds; only differences count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._told_at = clock, float("-inf")
        self._is_live = sys.stderr.isatty()

    def tell(self, text: str) -> None:
        """Show this in the place of what was shown last."""
        now = self._clock()
        if self._is_live:
            # A line that wraps could not be taken back.
            shown = redact.text(text)[: shutil.get_terminal_size().columns - 1]
            print(f"{_CLEAR}{shown}", end="", file=sys.stderr, flush=True)
        elif now - self._told_at >= _RARELY_S:
            self._told_at = now
            print(redact.text(text), file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Leave the terminal's line to what comes next."""
        if self._is_live:
            print(_CLEAR, end="", file=sys.stderr, flush=True)


@contextmanager
def shown() -> Iterator[Progress]:
    """Progress that leaves no half line behind."""
    progress = Progress()
    try:
        yield progress
    finally:
        progress.clear()


def watched(work: Callable[[], T], tell: Callable[[float], object], tick_s: float = _TICK_S) -> T:
    """The result of ``work``, while ``tell`` is told now and then how many seconds it has been taking.

    It runs in a thread of its own, because on Windows Ctrl-C does not end a wait for a socket.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001  raised on, where the result is waited for
            done.set_exception(error)

    begun = time.monotonic()
    Thread(target=run, name="lmroute models", daemon=True).start()
    while True:
        tell(time.monotonic() - begun)
        if wait([done], tick_s).done:
            return done.result()
