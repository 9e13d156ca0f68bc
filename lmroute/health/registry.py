"""All providers of a configuration: what is known of each, whom to probe next, and what to tell about that.

Pure but for its memory: ``now`` is a moment of a clock that never goes back, ``at`` the same in seconds of the epoch.
Not safe to use from several threads, except where that is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from lmroute.health import machine
from lmroute.health.announcing import Announcer
from lmroute.health.evidence import ABOUT_THE_LIST, assured, busy, is_kept_waiting, of_failure, of_probe
from lmroute.health.machine import UNKNOWN, Rules
from lmroute.health.schedule import CHANCE, Schedule
from lmroute.health.status import Source, Status
from lmroute.model import Failure, Locality
from lmroute.providers.catalog import TYPES
from lmroute.providers.inventory import LISTINGS
from lmroute.providers.probe import Patience, State
from lmroute.routing.breaker import THROTTLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lmroute.health.machine import Known
    from lmroute.model import Health, Profile
    from lmroute.providers.probe import ProbeResult

_STALE_AFTER = 3
"""So many intervals without a sign of a server, and nothing is known of it any more."""
_OUT = frozenset({State.DOWN, State.AUTH, State.BLOCKED, State.MISCONFIGURED})


class Moment(NamedTuple):
    """The same moment on two clocks: the monitor's, and in seconds of the epoch."""

    now: float
    at: float


@dataclass(slots=True, eq=False)
class Server:
    """A provider and what is known of it.

    Attributes:
        heard: when it last answered a call, on the monitor's clock. May be set from any thread while ``is_settled``.
        seen: when the latest that is known of it was seen, believed or not.
        is_settled, is_sunk: see ``machine``; to be read from any thread.
        waits_since: since when another process has been probing it; ``None`` when none is.
        told: the state that was last told as a change.
        unusable, throttled: why not to ask it, if so.
    """

    profile: Profile
    known: Known = UNKNOWN
    heard: float = float("-inf")
    seen: float = float("-inf")
    is_settled: bool = False
    is_sunk: bool = False
    waits_since: float | None = None
    told: State = State.UNKNOWN
    unusable: str = ""
    throttled: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """What is to be done now.

    Attributes:
        begin: servers to probe.
        changed: those whose state is another one than at the last turn.
        announced: the changes that are worth an announcement.
        next_at: when there is to be another turn, if nothing happens before.
    """

    begin: list[Server]
    changed: list[Status]
    announced: list[Status]
    next_at: float


class Registry:
    """What is known of all providers.

    Attributes:
        servers: by provider; the dictionary is replaced, never changed.
        epoch: grows whenever ``unusable`` or ``throttled`` are replaced.
        unusable, throttled: by provider, the reason. Empty while nobody watches: who would find out that it is over?
    """

    def __init__(self, settings: Health, *, epoch: int = 0, chance: Callable[[], float] = CHANCE) -> None:
        self.settings = settings
        self.servers: dict[str, Server] = {}
        self.epoch = epoch
        self.unusable: Mapping[str, str] = MappingProxyType({})
        self.throttled: Mapping[str, str] = MappingProxyType({})
        self.is_watched = False
        self._schedule = Schedule(settings.interval_s, chance=chance)
        self._announcer = Announcer()

    @property
    def patience(self) -> Patience:
        """The bounds of a probe."""
        return Patience(total_s=self.settings.timeout_s, retries=self.settings.retries)

    def adopt(self, profiles: Iterable[Profile], settings: Health, when: Moment) -> None:
        """Look after these from now on. What is known of profiles that stay as they are is kept."""
        self.settings = settings
        self._schedule.interval_s = settings.interval_s
        before, self.servers = self.servers, {profile.id: self._kept(profile) for profile in profiles}
        enabled = {name: server for name, server in self.servers.items() if server.profile.enabled}
        changed = [name for name, server in enabled.items() if before.get(name) is not server]
        is_far = {name: server.profile.locality is Locality.CLOUD for name, server in enabled.items()}
        self._schedule.adopt(is_far, when.now, changed)
        self._settle_all(when)
        self._sum_up()

    def watch(self, when: Moment, *, on: bool) -> None:
        """Whether somebody takes turns from now on."""
        self.is_watched = on
        if on:
            self._schedule.begin(when.now)
        self._settle_all(when)

    def turn(self, when: Moment) -> Turn:
        """What is to be done now. Each that is to be probed is under way until ``ended``."""
        self._settle_all(when)
        heard = {name: server.heard for name, server in self.servers.items() if server.is_settled}
        begin = [self.servers[name] for name in self._schedule.due(when.now, heard)]
        changed = list(self._changes(when))
        announced = [told for status in changed if (told := self._announcer.changed(status, when.now))]
        announced += [status for status in self._announcer.due(when.now) if status.provider in self.servers]
        by_itself = [machine.changes_at(server.known, self.rules(server)) for server in self.servers.values()]
        next_at = min([self._schedule.next_at(), self._announcer.next_at(), *by_itself])
        return Turn(begin, changed, announced, next_at)

    def ended(
        self,
        server: Server,
        when: Moment,
        found: tuple[ProbeResult, float, Source] | None,
        began: float,
        *,
        under_way: int = 0,
    ) -> None:
        """A probe has ended.

        Args:
            found: its result, how old that is in seconds, and who found it; ``None`` when there is none to be had.
            began: when it did.
            under_way: calls to the server that are, now.
        """
        is_ours = self.servers.get(server.profile.id) is server
        not_before = float("-inf")
        in_doubt = server.waits_since is not None
        if found is not None and found[2] is Source.PROBE and self.patience.outlasted(when.now - began):
            found, in_doubt = None, True  # this process was stopped: that may be old, or a timeout of its own making
        if found is not None and is_ours:
            result, age_s, source = found
            ended, at = when.now - age_s, when.at - age_s
            seen = of_probe(result, began=min(began, ended), ended=ended, at=at, source=source)
            believe, is_busy = machine.probed, under_way > 0 and is_kept_waiting(seen)
            if is_busy:
                believe, seen = machine.kept_waiting, busy(seen, under_way)
            server.known = believe(self._latest(server, when), seen, self.rules(server), when.now)
            server.seen = max(server.seen, ended)
            in_doubt = server.known.in_doubt and not is_busy and seen.state not in {State.UNKNOWN, State.THROTTLED}
            if seen.state is State.THROTTLED:
                not_before = seen.ended + seen.pause_s
        sick = is_ours and server.known.state in _OUT
        self._schedule.ended(
            server.profile.id, when.now, sick=sick, in_doubt=is_ours and in_doubt, not_before=not_before
        )
        self._settle(server, when)

    def answered(self, server: Server, when: Moment, took_s: float) -> None:
        """A call was answered."""
        known = self._latest(server, when)
        seen = assured(began=when.now - took_s, ended=when.now, at=when.at)
        server.known = machine.answered(known, seen, self.rules(server), when.now)
        server.heard = server.seen = when.now
        self._settle(server, when)

    def failed(
        self, server: Server, when: Moment, failure: Failure, *, took_s: float, retry_after_s: float | None, said: str
    ) -> None:
        """A call failed, in a way that tells of the server."""
        began = when.now - took_s
        seen = of_failure(failure, began=began, ended=when.now, at=when.at, retry_after_s=retry_after_s, said=said)
        server.known = machine.failed(self._latest(server, when), seen, self.rules(server), when.now)
        server.seen = when.now
        if failure is not Failure.RATE_LIMIT:
            self._schedule.soon(server.profile.id, when.now)
        self._settle(server, when)

    def statuses(self, when: Moment) -> dict[str, Status]:
        """How every provider is."""
        return {name: self._status(server, when) for name, server in self.servers.items()}

    def rules(self, server: Server) -> Rules:
        """When what is seen of a server is believed."""
        wait_s = self._schedule.wait_s(server.profile.id) if server.profile.enabled else self.settings.interval_s
        stale_s = _STALE_AFTER * wait_s + self.patience.longest_s
        return Rules(self.settings.down_after, self.settings.up_after, stale_s)

    def longest_age_s(self, server: Server, now: float) -> float:
        """How old another process's result may be to tell something new."""
        return min(self._schedule.wait_s(server.profile.id), now - server.seen)

    def _kept(self, profile: Profile) -> Server:
        server = self.servers.get(profile.id)
        return server if server is not None and server.profile == profile else Server(profile)

    def _status(self, server: Server, when: Moment) -> Status:
        if not server.profile.enabled:
            return Status(server.profile.id, message="it is off", fix=f"++providers.{server.profile.id}.enabled=true")
        return machine.status(server.profile.id, self._latest(server, when), self.rules(server), when.now)

    def _latest(self, server: Server, when: Moment) -> Known:
        return machine.heard(server.known, server.heard, when.at - (when.now - server.heard))

    def _settle(self, server: Server, when: Moment) -> None:
        """Bring up to date what may be read from any thread."""
        server.known = machine.fresh(self._latest(server, when), self.rules(server), when.now)
        server.is_settled, server.is_sunk = machine.is_settled(server.known), machine.is_sunk(server.known)
        unusable = throttled = ""
        if self.is_watched and server.profile.enabled:
            status = self._status(server, when)
            if status.state is State.THROTTLED:
                throttled = THROTTLED
            elif _is_out(status) and _can_be_probed(server.profile):
                unusable = f"health: {status.state} ({status.error_code})"
        if (server.unusable, server.throttled) != (unusable, throttled):
            server.unusable, server.throttled = unusable, throttled
            self._sum_up()

    def _settle_all(self, when: Moment) -> None:
        for server in self.servers.values():
            self._settle(server, when)

    def _sum_up(self) -> None:
        servers = self.servers.items()
        self.unusable = MappingProxyType({name: server.unusable for name, server in servers if server.unusable})
        self.throttled = MappingProxyType({name: server.throttled for name, server in servers if server.throttled})
        self.epoch += 1  # last, so that whoever sees it finds what it stands for

    def _changes(self, when: Moment) -> Iterable[Status]:
        for server in self.servers.values():
            status = self._status(server, when)
            if status.state is not server.told:
                server.told = status.state
                yield status


def _is_out(status: Status) -> bool:
    return status.state in _OUT and status.error_code not in ABOUT_THE_LIST


def _can_be_probed(profile: Profile) -> bool:
    return profile.type == "embedded" or TYPES[profile.type].dialect in LISTINGS
