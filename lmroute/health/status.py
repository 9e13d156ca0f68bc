"""How a provider is, as it is told to people and programs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lmroute.providers.probe.states import State

if TYPE_CHECKING:
    from lmroute.providers.probe import ErrorCode, Phase


class Source(StrEnum):
    """Who found out."""

    PROBE = "probe"
    CALL = "call"
    """A call of the router's."""
    SHARED = "shared"
    """A probe by another process of this machine."""
    NONE = "none"
    """Nobody yet."""


@dataclass(frozen=True, slots=True)
class Status:
    """How a provider is.

    Attributes:
        last_checked: when that was last seen to be so, in seconds of the epoch; ``None`` if it never was.
        message: one redacted line; empty when there is nothing to say.
        fix: what to do about it.
        latency_ms: the last probe as a whole; 0 when nothing was sent.
        since: when this state began, in seconds of the epoch.
        models: what the server was last found to offer.
        phases: of the last probe.
    """

    provider: str
    state: State = State.UNKNOWN
    last_checked: float | None = None
    message: str = ""
    error_code: ErrorCode | None = None
    fix: str = ""
    latency_ms: float = 0.0
    since: float | None = None
    models: tuple[str, ...] = ()
    phases: tuple[Phase, ...] = ()
    source: Source = Source.NONE

    def as_data(self) -> dict[str, Any]:
        """The same for JSON: times as RFC 3339 in UTC, durations in milliseconds."""
        return {
            "provider": self.provider,
            "state": self.state.value,
            "lastChecked": rfc3339(self.last_checked),
            "message": self.message,
            "errorCode": self.error_code.value if self.error_code else None,
            "fix": self.fix,
            "latency": round(self.latency_ms, 1),
            "since": rfc3339(self.since),
            "models": list(self.models),
            "phases": [_phase(phase) for phase in self.phases],
            "source": self.source.value,
        }


def _phase(phase: Phase) -> dict[str, Any]:
    note = {"note": phase.note} if phase.note else {}
    return {"name": phase.name, "ms": round(phase.ms, 1), "outcome": phase.outcome.value, **note}


def rfc3339(at: float | None) -> str | None:
    """A moment of the epoch, in UTC with milliseconds."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
