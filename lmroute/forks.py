"""What a forked child must not go on with: locks that nobody releases there, connections that its parent uses too.

A child has one thread, the one that forked. A lock that another thread held stays locked, calls that others made never
end, and of a connection that is used on both sides each may read what the other one asked for. Windows has no fork.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable


class Forked:
    """Something that begins anew in a forked child.

    What it held in the parent may still be in use there by the thread that forked, in a stream that is half read.
    """

    def __init__(self) -> None:
        _ALL.add(self)

    def _begin_in_child(self) -> None:
        """Make this of use in a forked child. The others have begun or not; nobody is called meanwhile."""
        raise NotImplementedError


class Locked(Forked):
    """Something that has a lock: re-entrant, because the end of an abandoned stream may run while its thread holds it.

    A forked child finds it free, whoever held it in the parent.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()

    def _begin_in_child(self) -> None:
        self._lock = threading.RLock()


def in_child(begin: Callable[[], None]) -> Callable[[], None]:
    """A decorator: call this in each forked child, for what a module keeps for the process."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=begin)
    return begin


_ALL: WeakSet[Forked] = WeakSet()


@in_child
def _begin_in_child() -> None:
    everybody = list(_ALL)  # and so nobody ends before all have begun: an end may want another one's lock
    with ExitStack() as beginning:  # one that fails keeps none from it, and Python shows what it was
        for one in everybody:
            beginning.callback(one._begin_in_child)  # noqa: SLF001 - the other half of the class
