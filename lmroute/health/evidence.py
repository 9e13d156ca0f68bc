"""What tells of a server's health: probes and calls, in one shape, and what each error speaks about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lmroute.health.status import Source
from lmroute.model import Failure
from lmroute.providers.probe import SERVING, ErrorCode, Outcome, State
from lmroute.providers.probe.faults import KINDS
from lmroute.redact import one_line
from lmroute.routing.breaker import LONGEST_RETRY_AFTER_S, NOT_THE_SERVERS_FAULT

if TYPE_CHECKING:
    from lmroute.providers.probe import Phase, ProbeResult

ABOUT_THE_LIST = frozenset(
    {
        ErrorCode.NOT_FOUND,
        ErrorCode.HTTP_ERROR,
        ErrorCode.UNEXPECTED_SHAPE,
        ErrorCode.UNEXPECTED_ENCODING,
        ErrorCode.BODY_TOO_LARGE,
        ErrorCode.MODEL_NOT_FOUND,
        ErrorCode.NO_MODELS,
        ErrorCode.WRONG_TYPE,
        ErrorCode.NO_LIST,
    }
)
"""Errors that speak of the list of models: calls may be answered all the same."""

LISTS_ONLY = ABOUT_THE_LIST | {ErrorCode.NOT_JSON, ErrorCode.PROTOCOL_ERROR}
"""Errors that speak of the list alone once a call was answered: some servers have a web page in its place."""

_NO_LIST_THERE = LISTS_ONLY - {ErrorCode.MODEL_NOT_FOUND, ErrorCode.NO_MODELS, ErrorCode.WRONG_TYPE, ErrorCode.NO_LIST}

PAUSE_S = 5.0
"""How long a server that throttles a probe is left alone if it does not say how long."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of a server once.

    Attributes:
        began, ended: seconds of the monitor's clock.
        at: when it ended, in seconds of the epoch.
        retry_after_s: how long a throttling server asks to be left alone.
    """

    source: Source
    state: State
    began: float
    ended: float
    at: float
    error_code: ErrorCode | None = None
    message: str = ""
    fix: str = ""
    latency_ms: float = 0.0
    models: tuple[str, ...] = ()
    phases: tuple[Phase, ...] = ()
    retry_after_s: float | None = None

    @property
    def is_good(self) -> bool:
        """Whether a call would be answered."""
        return self.state in SERVING

    @property
    def may_pass(self) -> bool:
        """Whether what is wrong may be over in a moment."""
        return self.error_code is not None and KINDS[self.error_code].tries > 1

    @property
    def pause_s(self) -> float:
        """How long a throttling server is to be left alone."""
        return min(self.retry_after_s, LONGEST_RETRY_AFTER_S) if self.retry_after_s else PAUSE_S


def of_probe(result: ProbeResult, *, began: float, ended: float, at: float, source: Source) -> Observation:
    """What a probe tells."""
    return Observation(
        source=source,
        state=result.state,
        began=began,
        ended=ended,
        at=at,
        error_code=result.error_code,
        message=result.message,
        fix=result.fix,
        latency_ms=result.latency_ms,
        models=tuple(model.id for model in result.models if model.chats),
        phases=result.phases,
        retry_after_s=result.retry_after_s,
    )


def in_spite_of(seen: Observation) -> Observation:
    """What a probe complained of, of a server that answers calls in spite of it."""
    if seen.error_code not in _NO_LIST_THERE:
        return replace(seen, state=State.DEGRADED)
    fix = "it answers calls but tells no list of its models: name them in the models of its profile, and all is well"
    return replace(seen, state=State.DEGRADED, fix=fix)


def is_kept_waiting(seen: Observation) -> bool:
    """Whether a probe was connected and then not answered in time."""
    is_connected = any(phase.name == "connect" and phase.outcome is Outcome.OK for phase in seen.phases)
    return seen.error_code is ErrorCode.TIMEOUT and is_connected


def busy(seen: Observation, calls: int) -> Observation:
    """What it means to be kept waiting while so many calls are under way."""
    under_way = "a call is" if calls == 1 else f"{calls} calls are"
    return replace(
        seen,
        state=State.DEGRADED,
        message=f"it is busy: its list of models did not come in time while {under_way} under way",
        fix="let it finish; if that is usual, set concurrency in its profile to what it can do at once",
    )


_BY_FAILURE: dict[Failure, tuple[ErrorCode, State, str]] = {
    Failure.TRANSPORT: (ErrorCode.CONNECTION_RESET, State.DOWN, "a call could not reach it"),
    Failure.TIMEOUT: (ErrorCode.TIMEOUT, State.DOWN, "a call was not answered in time"),
    Failure.SERVER: (ErrorCode.SERVER_ERROR, State.DOWN, "a call ended with the server's own error"),
    Failure.BAD_REPLY: (ErrorCode.SERVER_ERROR, State.DOWN, "a call was answered with what cannot be read"),
    Failure.UNAVAILABLE: (ErrorCode.MODEL_LOADING, State.DEGRADED, "its model could not be made ready for a call"),
    Failure.RATE_LIMIT: (ErrorCode.RATE_LIMITED, State.THROTTLED, "it turned a call away: too many requests"),
    Failure.AUTH: (ErrorCode.TOKEN_REFUSED, State.AUTH, "it refused a call's token"),
    Failure.BILLING: (ErrorCode.TOKEN_REFUSED, State.AUTH, "it refused a call for lack of credit"),
    Failure.NOT_CONFIGURED: (ErrorCode.TOKEN_MISSING, State.AUTH, "a call had no token"),
    Failure.UNSUPPORTED_MODEL: (ErrorCode.MODEL_NOT_FOUND, State.DEGRADED, "it does not have a model that was asked"),
    Failure.MODEL_SUBSTITUTED: (ErrorCode.MODEL_NOT_FOUND, State.DEGRADED, "another model answered than was asked"),
}
"""What a call's failure says about the server. Those of single models leave it serving."""


def counts(failure: Failure) -> bool:
    """Whether a call's failure tells of the server and not of the request."""
    return failure not in NOT_THE_SERVERS_FAULT


def of_failure(
    failure: Failure, *, began: float, ended: float, at: float, retry_after_s: float | None = None, said: str = ""
) -> Observation:
    """What a call's failure tells, if it is one that counts.

    Args:
        said: a redacted line that tells more than the kind of failure does.
    """
    code, state, usual = _BY_FAILURE[failure]
    return Observation(
        source=Source.CALL,
        state=state,
        began=began,
        ended=ended,
        at=at,
        error_code=code,
        message=one_line(f"{usual} {said}" if said.startswith("(") else f"{usual}: {said}") if said else usual,
        fix=_FIXES[failure],
        retry_after_s=retry_after_s,
    )


_FIXES = {
    Failure.TRANSPORT: "is it still running? If it broke off the call, its own log tells why",
    Failure.TIMEOUT: "is it overloaded? A slow model wants a larger timeouts.total_s in its profile",
    Failure.SERVER: "look at the server's own log for what failed there",
    Failure.BAD_REPLY: "look at the server's own log; is the type in its profile what it is?",
    Failure.UNAVAILABLE: "look at the server's own log for why it does not load, or load the model there by hand",
    Failure.RATE_LIMIT: "wait, or ask for a higher limit; other candidates serve meanwhile",
    Failure.AUTH: "correct the token that its auth_token names",
    Failure.BILLING: "top up the account; other candidates serve meanwhile",
    Failure.NOT_CONFIGURED: "provide the secret that its auth_token names",
    Failure.UNSUPPORTED_MODEL: "correct its models, or load the model there",
    Failure.MODEL_SUBSTITUTED: "load the model there that its profile names, or name the one that answers",
}


def assured(*, began: float, ended: float, at: float) -> Observation:
    """What a call tells that was answered."""
    return Observation(Source.CALL, State.HEALTHY, began=began, ended=ended, at=at)
