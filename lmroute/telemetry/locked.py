"""Locks that neither a finalizer nor a fork can close for good."""

from __future__ import annotations

import os
import threading
from weakref import WeakSet


class Locked:
    """Something that has a lock: re-entrant, because the end of an abandoned stream may run while its thread holds it.

    A forked child finds it free, whoever held it in the parent: that thread does not exist in the child.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _ALL.add(self)

    def _begin_in_child(self) -> None:
        """Make this of use in a forked child."""
        self._lock = threading.RLock()


_ALL: WeakSet[Locked] = WeakSet()


def _begin_in_child() -> None:
    for one in list(_ALL):
        one._begin_in_child()  # noqa: SLF001 - the other half of the class


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_begin_in_child)
