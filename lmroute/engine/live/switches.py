"""Which models a host has loaded, as far as its answers tell: a call to any other one may make it switch models.

LM Studio loads what a call names and keeps only one of the models it loaded that way. So a call whose model is not
known to be there takes the host's lock (``Slots`` with a limit of 1 under ``host:port``) until it is answered.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

REMEMBERED_S = 300.0
"""For so long after its last answer a model counts as loaded. LM Studio itself unloads after an hour without use, or as
soon as the user or another program has it load something else."""


class Switches:
    """The models that are loaded, by host. Safe to use from many threads.

    Args:
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.RLock()  # a garbage-collected stream may forget while its thread is in here
        self._seen: dict[str, dict[str, float]] = {}

    def needs_lock(self, host: str, model: str) -> bool:
        """Whether a call to this model may make the host load it."""
        at = self._seen.get(host, {}).get(model)
        return at is None or self._clock() - at > REMEMBERED_S

    def answered(self, host: str, model: str) -> None:
        """The model answered, so it is loaded; if that is news, it may have taken the place of any other."""
        with self._lock:
            others = {} if self.needs_lock(host, model) else self._seen[host]
            self._seen[host] = {**others, model: self._clock()}

    def forget(self, host: str, model: str) -> None:
        """The model may be gone: a call to it failed, or another one answered in its place."""
        with self._lock:
            self._seen[host] = {name: at for name, at in self._seen.get(host, {}).items() if name != model}
