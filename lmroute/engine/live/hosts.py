"""The hosts that calls can make switch models: one account of them for all LMs of the process."""

from __future__ import annotations

from dataclasses import dataclass, field

from lmroute.engine.live.loaded import Loaded
from lmroute.engine.live.slots import Slots
from lmroute.forks import in_child


@dataclass(frozen=True, slots=True)
class Hosts:
    """Who is on which host, and what that has loaded. Whoever is handed one of their own waits for nobody else.

    Attributes:
        slots: by host, those whose model can be evicted, or who may evict one.
        loaded: which models are in memory, by host, however they got there.
    """

    slots: Slots = field(default_factory=Slots)
    loaded: Loaded = field(default_factory=Loaded)


_ours = Hosts()


def ours() -> Hosts:
    """Those of this process. Not to be kept for longer than a call: a forked process has its own."""
    return _ours


@in_child
def _begin_anew() -> None:
    global _ours  # noqa: PLW0603 - it is the process's
    _ours = Hosts()  # the threads that held something are not in the child
