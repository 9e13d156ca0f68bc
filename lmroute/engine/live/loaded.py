"""Which models a host has loaded, as far as it tells: a call to any other one may make it load that.

LM Studio loads what a call names, and unloads the model that it loaded for the calls before, whatever that is doing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lmroute.forks import Locked
from lmroute.providers.addresses import server_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lmroute.model import Profile

REMEMBERED_S = 300.0
"""For so long after its last answer a model counts as loaded. LM Studio itself unloads after an hour without use, or as
soon as the user or another program has it load something else."""


def host_of(profile: Profile) -> str:
    """The ``host:port`` by which calls of a profile know of each other's models; empty where none is ever evicted."""
    return server_of(profile.endpoint) if profile.type == "lmstudio" and profile.endpoint else ""


class Loaded(Locked):
    """The models that are loaded, by host. Safe to use from many threads. ``auto`` counts as a model of that name.

    Args:
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[str, dict[str, float]] = {}
        self._changed: dict[str, float] = {}
        self._alone: dict[str, tuple[str, Callable[[], None]]] = {}

    def alone(self, host: str, model: str, share: Callable[[], None]) -> None:
        """A call to this model has the host to itself; ``share`` lets others in, if the host says that it is loaded."""
        self._alone[host] = (model, share)

    def has(self, host: str, model: str) -> bool:
        """Whether a call to this model makes the host load nothing."""
        at = self._seen.get(host, {}).get(model)
        return at is not None and self._clock() - at <= REMEMBERED_S

    def answered(self, host: str, model: str) -> None:
        """The model answered, so it is loaded; if that is news, it may have taken the place of any other."""
        with self._lock:
            if self.has(host, model):
                self._seen[host] = {**self._seen[host], model: self._clock()}
            else:
                self._set(host, {model: self._clock()})
            self._alone.pop(host, None)

    def listed(self, host: str, models: Mapping[str, bool], since: float) -> None:
        """The host says of these models whether it has them loaded.

        Args:
            since: when it was asked, on the clock. What has happened there since then is newer, and nothing is noted.
        """
        with self._lock:
            if self._changed.get(host, float("-inf")) < since:
                now, seen = self._clock(), self._seen.get(host, {})
                others = {name: at for name, at in seen.items() if name not in models}
                self._seen[host] = others | {name: now for name, is_loaded in models.items() if is_loaded}
            switched, share = self._alone.get(host, ("", None))
            if share is None or not self.has(host, switched):
                return
            self._alone.pop(host, None)
        share()

    def forget(self, host: str, model: str) -> None:
        """The model may be gone: a call to it failed, or another one answered in its place."""
        with self._lock:
            self._set(host, {name: at for name, at in self._seen.get(host, {}).items() if name != model})

    def forget_all(self, host: str) -> None:
        """A model may have been loaded, and may have taken the place of any other."""
        with self._lock:
            self._set(host, {})
            self._alone.pop(host, None)

    def _set(self, host: str, seen: dict[str, float]) -> None:
        self._seen[host], self._changed[host] = seen, self._clock()
