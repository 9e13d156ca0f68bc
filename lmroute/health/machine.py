"""From what was seen of a server to the state it is in, with hysteresis. Pure: times are handed in.

unknown --nobody there, or an error that will not pass, or a good probe--> that, at once
unknown --any other error, down_after times in a row--> sick
serving --an error that may pass, down_after times in a row--> sick; --any other error--> sick at once
down --up_after good probes in a row--> serving; --a call that was answered--> serving at once
any other sick state --a good probe--> serving
anything --nothing seen for stale_s--> unknown, never down

Being throttled lies over that: it lasts as long as the server asked for, and what is below goes on meanwhile.

A call that was answered is the strongest evidence there is. What a probe complained of before it was about the list of
models, then, and is no more than a remark for as long as no call fails. What a call complained of is not taken back
by a probe, which only asks for that list: if the probe finds the server well it is degraded, until a call is answered
or ``stale_s`` have passed. A list that is late while calls are under way says that the server is busy, and no more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lmroute.health.evidence import LISTS_ONLY, Observation, in_spite_of
from lmroute.health.status import Source, Status
from lmroute.providers.probe import SERVING, ErrorCode, State

_NEVER = float("-inf")
_EXPLAINED = frozenset({ErrorCode.CONNECTION_RESET})
"""What a call complains of that is explained when a probe finds the server down, and is over when it is back."""


@dataclass(frozen=True, slots=True)
class Rules:
    """When what was seen is believed.

    Attributes:
        down_after: so many sick observations in a row make a server sick, if what is wrong may pass.
        up_after: so many good probes in a row bring one back that was down.
        stale_s: what was not seen again for so long is not known any more.
    """

    down_after: int = 2
    up_after: int = 2
    stale_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a server.

    Attributes:
        state: what it is in, but for throttling.
        told: the observation that tells of it.
        since: when that state began, in seconds of the epoch.
        confirmed: when it was last seen to be so, in seconds of the monitor's clock.
        confirmed_at: the same in seconds of the epoch.
        sick, good: observations in a row that speak against the state and are not believed yet.
        answered: when the last call that was answered ended.
        remark: what a probe said before a call was answered in spite of it.
        doubt: what the latest call complained of, if none was answered since.
        pause: what was seen of its throttling.
        paused_at: when that began, in seconds of the epoch.
    """

    state: State = State.UNKNOWN
    told: Observation | None = None
    since: float | None = None
    confirmed: float = _NEVER
    confirmed_at: float | None = None
    sick: int = 0
    good: int = 0
    answered: float = _NEVER
    remark: ErrorCode | None = None
    doubt: Observation | None = None
    pause: Observation | None = None
    paused_at: float | None = None

    def is_paused(self, now: float) -> bool:
        """Whether it asked to be left alone until later."""
        return self.pause is not None and now < self.pauses_until

    @property
    def pauses_until(self) -> float:
        """When it may be asked again, in seconds of the monitor's clock."""
        return self.pause.ended + self.pause.pause_s if self.pause else _NEVER

    @property
    def in_doubt(self) -> bool:
        """Whether another look would settle something."""
        return self.sick > 0 or self.good > 0

    @property
    def is_suspect(self) -> bool:
        """Whether all that is known of it is an error that may pass, not seen often enough yet: ``told``."""
        return self.state is State.UNKNOWN and self.sick > 0


UNKNOWN = Known()


def probed(known: Known, seen: Observation, rules: Rules, now: float) -> Known:
    """What is known after a probe."""
    known = fresh(known, rules, now)
    if not seen.is_good and seen.began < known.answered:
        return known  # a call was answered after it was asked
    if _is_disproved(known, seen, rules):
        seen = in_spite_of(seen)
    elif seen.is_good and seen.error_code is None:
        known = replace(known, remark=None)
    if seen.is_good and known.pause is not None and known.pause.source is not Source.CALL:
        known = replace(known, pause=None, paused_at=None)
    return _good_probe(known, seen, rules) if seen.is_good else _sick(known, seen, rules)


def kept_waiting(known: Known, seen: Observation, rules: Rules, now: float) -> Known:
    """What is known after a probe that was not answered in time while calls were under way: ``evidence.busy``.

    It takes nothing back, and counts neither way: of a server that hangs the calls will tell.
    """
    known = fresh(known, rules, now)
    if seen.began < known.answered or known.state not in {*SERVING, State.UNKNOWN}:
        return known
    if known.told is not None:
        seen = replace(seen, models=known.told.models)
    told = _complained(known.doubt, seen) if known.doubt is not None else seen
    return replace(_believed(known, told, seen), sick=known.sick)


def answered(known: Known, seen: Observation, rules: Rules, now: float) -> Known:
    """What is known after a call that was answered: ``evidence.assured``."""
    known = fresh(known, rules, now)
    told = known.told or seen
    known = replace(known, answered=max(known.answered, seen.ended), doubt=None)
    if known.pause is not None and seen.began >= known.pause.ended:
        known = replace(known, pause=None, paused_at=None)
    is_known = known.state is not State.UNKNOWN or known.is_suspect
    if is_known and told.source is not Source.CALL and told.error_code is not None:
        if not (told.is_good and told.may_pass):  # that it was busy, or loading, disproves nothing of what comes later
            known = replace(known, remark=told.error_code)
        if told.error_code in LISTS_ONLY:
            return _believed(known, in_spite_of(told), seen)
    seen = replace(seen, latency_ms=told.latency_ms, models=told.models, phases=told.phases)
    return _believed(known, seen, seen)


def failed(known: Known, seen: Observation, rules: Rules, now: float) -> Known:
    """What is known after a call that failed: ``evidence.of_failure``."""
    known = fresh(known, rules, now)
    if known.told is not None:
        seen = replace(seen, latency_ms=known.told.latency_ms, models=known.told.models, phases=known.told.phases)
    if seen.state is State.THROTTLED:
        return _sick(known, seen, rules)
    if not seen.is_good:
        return _sick(replace(known, remark=None, doubt=seen), seen, rules)
    if known.state in SERVING or known.state is State.UNKNOWN:
        return _believed(replace(known, doubt=seen), seen, seen)
    return known  # what is wrong with one model takes nothing back


def heard(known: Known, ended: float, at: float) -> Known:
    """What is known after one more call was answered by a server of which ``is_settled``."""
    if ended <= known.answered:
        return known
    return replace(known, answered=ended, confirmed=ended, confirmed_at=at)


def is_settled(known: Known) -> bool:
    """Whether an answered call would tell nothing new, except that it is still so."""
    if known.told is None or known.state not in SERVING or known.in_doubt:
        return False
    if known.pause is not None or known.doubt is not None:
        return False
    code = known.told.error_code
    return code is None or (known.told.source is not Source.CALL and code in LISTS_ONLY)


def is_sunk(known: Known) -> bool:
    """Whether a failed call would tell nothing new."""
    return known.state not in {*SERVING, State.UNKNOWN} and not known.in_doubt and known.remark is None


def changes_at(known: Known, rules: Rules) -> float:
    """When it changes by itself, on the monitor's clock; infinity when it does not."""
    ends = [known.pauses_until] if known.pause is not None else []
    if known.state is not State.UNKNOWN:
        ends.append(known.confirmed + rules.stale_s)
    return min(ends, default=float("inf"))


def fresh(known: Known, rules: Rules, now: float) -> Known:
    """What is still known: a pause that is over, and what nobody saw again, are not."""
    if known.pause is not None and not known.is_paused(now):
        known = replace(known, pause=None, paused_at=None)
    if known.state is not State.UNKNOWN and now - known.confirmed > rules.stale_s:
        until = None if known.confirmed_at is None else known.confirmed_at + rules.stale_s
        known = replace(known, state=State.UNKNOWN, since=until, sick=0, good=0, remark=None)
    if known.doubt is not None and now - known.doubt.ended > rules.stale_s:
        known = replace(known, doubt=None)
    if known.is_suspect and known.told is not None and now - known.told.ended > rules.stale_s:
        known = replace(known, told=None, sick=0)
    return known


def _good_probe(known: Known, seen: Observation, rules: Rules) -> Known:
    told, doubt = seen, known.doubt
    if doubt is not None:
        if known.told is doubt and known.state not in {*SERVING, State.UNKNOWN, State.DOWN}:
            return known  # a token that was refused, say
        told = _complained(doubt, seen)
    if known.state is State.DOWN and known.good + 1 < rules.up_after:
        return replace(known, good=known.good + 1, sick=0)
    return _believed(known, told, seen)


def _complained(doubt: Observation, seen: Observation) -> Observation:
    """What a call complained of, of a server that a probe finds to be there."""
    return replace(doubt, state=State.DEGRADED, latency_ms=seen.latency_ms, models=seen.models, phases=seen.phases)


def _is_disproved(known: Known, seen: Observation, rules: Rules) -> bool:
    """Whether calls were answered in spite of what a probe complains of."""
    if seen.error_code is None or seen.state in {State.THROTTLED, State.UNKNOWN}:
        return False
    if seen.error_code is known.remark:
        return True
    is_well = known.state in SERVING and known.doubt is None
    return is_well and seen.error_code in LISTS_ONLY and seen.ended - known.answered <= rules.stale_s


def _sick(known: Known, seen: Observation, rules: Rules) -> Known:
    if seen.state is State.THROTTLED:
        paused_at = known.paused_at if known.pause else seen.at
        pause = seen if seen.ended + seen.pause_s >= known.pauses_until else known.pause
        checked_at = seen.at if known.told is None else known.confirmed_at
        return replace(known, pause=pause, paused_at=paused_at, confirmed_at=checked_at)
    if seen.state is State.UNKNOWN:  # a probe that cannot tell
        return replace(known, told=seen) if known.state is State.UNKNOWN else known
    is_plain = seen.error_code is ErrorCode.CONNECTION_REFUSED and known.state is State.UNKNOWN
    is_settled = is_plain or known.state is State.DOWN or not seen.may_pass
    if not is_settled and known.sick + 1 < rules.down_after:
        told = seen if known.state is State.UNKNOWN else known.told
        return replace(known, told=told, sick=known.sick + 1)
    if seen.source is not Source.CALL and known.doubt is not None and known.doubt.error_code in _EXPLAINED:
        known = replace(known, doubt=None)
    return _believed(known, seen, seen)


def _believed(known: Known, told: Observation, seen: Observation) -> Known:
    since = known.since if told.state is known.state and known.since is not None else seen.at
    return _confirmed(replace(known, state=told.state, told=told, since=since, sick=0, good=0), seen)


def _confirmed(known: Known, seen: Observation) -> Known:
    return replace(known, confirmed=seen.ended, confirmed_at=seen.at)


def status(provider: str, known: Known, rules: Rules, now: float) -> Status:
    """What is known at a moment, as it is told."""
    known = fresh(known, rules, now)
    told = known.told
    if known.pause is not None and known.state in {*SERVING, State.UNKNOWN}:
        seen = replace(known.pause, models=told.models, phases=told.phases) if told else known.pause
        return _status(provider, State.THROTTLED, seen, seen.at, known.paused_at)
    if told is None:
        return Status(provider, last_checked=known.confirmed_at)
    if known.is_suspect:
        return _status(provider, State.UNKNOWN, told, told.at, known.since)
    if known.state is State.UNKNOWN and told.state is not State.UNKNOWN:
        was = f"it was {told.state} when it was last seen"
        stale = replace(told, error_code=None, message=f"{was}; nothing was heard of it since", fix="")
        return _status(provider, State.UNKNOWN, stale, known.confirmed_at, known.since)
    if known.confirmed <= known.answered:
        told = replace(told, source=Source.CALL)
    return _status(provider, known.state, told, known.confirmed_at, known.since)


def _status(provider: str, state: State, told: Observation, at: float | None, since: float | None) -> Status:
    return Status(
        provider=provider,
        state=state,
        last_checked=at,
        message=told.message,
        error_code=told.error_code,
        fix=told.fix,
        latency_ms=told.latency_ms,
        since=since,
        models=told.models,
        phases=told.phases,
        source=told.source,
    )
