"""The registry: how all providers are right now, kept true by probes and by what calls tell.

monitor = Monitor(stack.providers.values(), stack.health, results=Shared())
monitor.start()                      # at every call, if need be: it costs nothing when it runs already
monitor.answered("lmstudio")
monitor.failed("lmstudio", Failure.TRANSPORT)
if monitor.epoch != seen: seen, out = monitor.epoch, monitor.unusable()
monitor.close()
"""

from __future__ import annotations

import threading
import time
import weakref
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from lmroute.forks import Forked
from lmroute.health.asking import Asker
from lmroute.health.clock import elapsed
from lmroute.health.evidence import counts
from lmroute.health.registry import Moment, Registry
from lmroute.logs import logger
from lmroute.model import Failure
from lmroute.providers.probe import probe as probe_

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lmroute.health.asking import Found, Results
    from lmroute.health.registry import Server, Turn
    from lmroute.health.status import Status
    from lmroute.model import Health, Profile
    from lmroute.providers.probe import ProbeResult

_log = logger("lmroute.health")

_LONGEST_WAIT_S = 5.0
"""After the machine has slept, the monitor notices within that."""
_SHORTEST_WAIT_S = 0.01
"""A hundred calls a second that fail are no reason for as many turns."""
_JOIN_S = 0.5


class Monitor(Forked):
    """How providers are. Safe to use from threads, event loops, finalizers and over forks.

    Without ``settings.watch`` nothing is probed and nobody is ``unusable``: only calls tell how a server is.

    Args:
        profiles: those that are off are told as ``unknown`` and not probed.
        probe: called as ``probe(profile, secret=..., patience=...)``.
        clock: seconds of a clock that never goes back, and goes on while the machine sleeps.
        wall: seconds of the epoch.
        results: what other processes found out is used too; ``None`` uses one's own probes only.

    Attributes:
        under_way: how many calls to a provider are; set by whoever makes them. A server that is busy may be late.
    """

    _lock: threading.RLock
    _wake: SimpleQueue[None]
    _thread: threading.Thread | None
    _probing: tuple[threading.Thread, ...]
    _callbacks: tuple[tuple[Callable[[Status], object], bool], ...]
    _ask: Asker
    _registry: Registry

    def __init__(
        self,
        profiles: Iterable[Profile],
        settings: Health,
        *,
        probe: Callable[..., ProbeResult] = probe_,
        clock: Callable[[], float] = elapsed,
        wall: Callable[[], float] = time.time,
        results: Results | None = None,
    ) -> None:
        self._profiles, self._settings = tuple(profiles), settings
        self._probe, self._clock, self._wall, self._results = probe, clock, wall, results
        self.under_way: Callable[[str], int] = lambda _: 0
        self._begin_anew(epoch=0)
        super().__init__()

    @property
    def epoch(self) -> int:
        """Grows whenever ``unusable()`` or ``throttled()`` change. Cheap."""
        return self._registry.epoch

    def unusable(self) -> Mapping[str, str]:
        """Providers that had better not be asked, each with a reason in words that stay while nothing changes."""
        return self._registry.unusable

    def throttled(self) -> Mapping[str, str]:
        """Providers that asked for a pause, with the reason."""
        return self._registry.throttled

    def statuses(self) -> dict[str, Status]:
        """How every provider is, by id."""
        with self._lock:
            return self._registry.statuses(self._when())

    def start(self) -> None:
        """Watch from now on, in threads of the background. Nothing happens when that is so already, or not wanted."""
        if self._thread is not None or not self._settings.watch:
            return
        with self._lock:
            if self._thread is None:
                self._registry.watch(self._when(), on=True)
                self._thread = threading.Thread(
                    target=_coordinate, args=(weakref.ref(self), self._wake), name="lmroute health", daemon=True
                )
                try:
                    self._thread.start()
                except RuntimeError:  # the system has no more threads, or Python is about to end: calls go on
                    self._thread = None
                    self._registry.watch(self._when(), on=False)

    def close(self) -> None:
        """Stop watching. A probe that hangs ends by itself, within its deadline."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._registry.watch(self._when(), on=False)
        self._wake.put(None)
        deadline = time.monotonic() + _JOIN_S
        for other in [thread, *self._probing]:
            if other is not None and other is not threading.current_thread():
                other.join(max(0.0, deadline - time.monotonic()))

    def adopt(self, profiles: Iterable[Profile], settings: Health | None = None) -> None:
        """Another configuration. What is known of profiles that did not change is kept."""
        with self._lock:
            self._profiles, self._settings = tuple(profiles), settings or self._settings
            self._registry.adopt(self._profiles, self._settings, self._when())
        self._wake.put(None)

    def answered(self, provider: str, took_s: float = 0.0) -> None:
        """A call was answered. Cheap while it tells nothing new.

        Args:
            took_s: seconds from its start to now.
        """
        server = self._registry.servers.get(provider)
        if server is None:
            return
        if server.is_settled:
            server.heard = self._clock()
            return
        with self._lock:
            self._registry.answered(server, self._when(), took_s)
        self._wake.put(None)

    def failed(
        self,
        provider: str,
        failure: Failure,
        retry_after_s: float | None = None,
        message: str = "",
        took_s: float = 0.0,
    ) -> None:
        """A call failed. Cheap while it tells nothing new.

        Args:
            retry_after_s: seconds that the server asked to be left alone.
            message: one redacted line.
            took_s: seconds from its start to now.
        """
        server = self._registry.servers.get(provider)
        if server is None or not counts(failure) or (server.is_sunk and failure is not Failure.RATE_LIMIT):
            return
        with self._lock:
            self._registry.failed(
                server, self._when(), failure, took_s=took_s, retry_after_s=retry_after_s, said=message
            )
        self._wake.put(None)

    def subscribe(self, callback: Callable[[Status], object], *, every_change: bool = False) -> Callable[[], None]:
        """Be told of changes, in the monitor's thread; what is returned ends that. What a callback raises is logged.

        Args:
            every_change: at once and always; else as announcements, per provider at most one in ten seconds.
        """
        entry = (callback, every_change)
        with self._lock:
            self._callbacks = (*self._callbacks, entry)

        def end() -> None:
            with self._lock:
                self._callbacks = tuple(other for other in self._callbacks if other is not entry)

        return end

    def _when(self) -> Moment:
        return Moment(self._clock(), self._wall())

    def _begin_anew(self, epoch: int) -> None:
        self._lock = threading.RLock()  # a garbage-collected stream may report while its thread is in here
        self._wake = SimpleQueue()  # and that may happen inside of put(), too
        self._thread, self._probing, self._callbacks = None, (), ()
        self._ask = Asker(self._probe, self._clock, self._results)
        self._registry = Registry(self._settings, epoch=epoch)
        self._registry.adopt(self._profiles, self._settings, self._when())

    def _begin_in_child(self) -> None:
        self._begin_anew(self.epoch)  # what threads of the parent were at does not go on here

    def _turn(self) -> float | None:
        """Do what is to be done; seconds until there is more, or ``None`` when this is not the thread any more."""
        with self._lock:
            if self._thread is not threading.current_thread():
                return None
            turn = self._registry.turn(self._when())
            self._probing = tuple(thread for thread in self._probing if thread.is_alive())
        for server in turn.begin:
            self._begin(server)
        self._tell(turn)
        return min(max(turn.next_at - self._clock(), _SHORTEST_WAIT_S), _LONGEST_WAIT_S)

    def _begin(self, server: Server) -> None:
        thread = threading.Thread(
            target=self._probed, args=(server,), name=f"lmroute health {server.profile.id}", daemon=True
        )
        self._probing = (*self._probing, thread)
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads
            self._ended(server, None, self._clock())

    def _probed(self, server: Server) -> None:
        began, found = self._clock(), None
        try:
            found = self._ask(server, self._registry)
        except Exception:  # noqa: BLE001  a mistake of ours in one probe ends none of the others
            _log.exception("the health of %s could not be found out", server.profile.id)
        self._ended(server, found, began)

    def _ended(self, server: Server, found: Found | None, began: float) -> None:
        with self._lock:
            under_way = self.under_way(server.profile.id)
            self._registry.ended(server, self._when(), found, began, under_way=under_way)
        self._wake.put(None)

    def _tell(self, turn: Turn) -> None:
        for callback, every_change in self._callbacks:
            for status in turn.changed if every_change else turn.announced:
                try:
                    callback(status)
                except Exception:  # noqa: BLE001  somebody else's code
                    _log.exception("whoever is told of changes of health failed")


def _coordinate(whose: weakref.ref[Monitor], wake: SimpleQueue[None]) -> None:
    """Take turns for as long as the monitor is there and wants it: whoever forgets to close it need not keep it."""
    wait_s: float | None = 0.0
    while wait_s is not None:
        _wait(wake, wait_s)
        monitor = whose()
        if monitor is None:
            return
        try:
            wait_s = monitor._turn()  # noqa: SLF001 - the other half of the class
        except Exception:  # noqa: BLE001  a mistake of ours, and a server may come back all the same
            _log.exception("health is not watched for a moment")
            wait_s = _LONGEST_WAIT_S
        del monitor


def _wait(wake: SimpleQueue[None], seconds: float) -> None:
    try:
        wake.get(timeout=seconds)
        time.sleep(_SHORTEST_WAIT_S)
        while True:
            wake.get_nowait()
    except Empty:
        pass
