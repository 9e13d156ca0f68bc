"""What a probe found, and how a fault becomes that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lmroute.providers.inventory import NOTHING, Inventory
from lmroute.providers.probe.faults import KINDS, ErrorCode, Fault
from lmroute.providers.probe.states import SKIPPED, Outcome, Phase, State
from lmroute.redact import one_line

if TYPE_CHECKING:
    from lmroute.model import Profile
    from lmroute.providers.inventory import Api, ListedModel


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe found.

    Attributes:
        provider: the profile's id.
        error_code: ``None`` when nothing is wrong.
        message: one redacted line; empty when nothing is wrong.
        fix: what to do about it.
        phases: of the last try, all six in order; where a chat was wanted, that is the seventh.
        latency_ms: the last try as a whole; 0 when nothing was sent.
        inventory: what the server has, and what it can be asked.
        missing: configured models that it does not list.
        tries: how often it was asked.
        retry_after_s: how long the server asks to be left alone, from the end of the probe; ``None`` when it does not.
    """

    provider: str
    state: State
    error_code: ErrorCode | None = None
    message: str = ""
    fix: str = ""
    phases: tuple[Phase, ...] = SKIPPED
    latency_ms: float = 0.0
    inventory: Inventory = NOTHING
    missing: tuple[str, ...] = ()
    tries: int = 0
    retry_after_s: float | None = None

    @property
    def models(self) -> tuple[ListedModel, ...]:
        """The models that the server has."""
        return self.inventory.models

    @property
    def api(self) -> Api:
        """What it can be asked; ``plain`` when that was not found out."""
        return self.inventory.api

    @property
    def listed(self) -> bool:
        """Whether the server told its models, of which there may be none."""
        return any(phase.name == "list" and phase.outcome is Outcome.OK for phase in self.phases)


def sick(
    profile: Profile,
    fault: Fault,
    *,
    address: str = "",
    phases: tuple[Phase, ...] = SKIPPED,
    latency_ms: float = 0.0,
    inventory: Inventory = NOTHING,
    missing: tuple[str, ...] = (),
) -> ProbeResult:
    """The result of a probe that found a fault.

    Args:
        address: the base URL that was asked; empty when none was.
    """
    place = _without_userinfo(address)
    return ProbeResult(
        provider=profile.id,
        state=fault.state or KINDS[fault.code].state,
        error_code=fault.code,
        message=one_line(f"{place}: {fault.message}" if place else fault.message),
        fix=fault.advice(profile, place),
        phases=phases,
        latency_ms=latency_ms,
        inventory=inventory,
        missing=missing,
        retry_after_s=fault.retry_after_s,
    )


def _without_userinfo(address: str) -> str:
    """An address as it may be shown: people paste passwords into it."""
    try:
        parts = urlsplit(address)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    except ValueError:
        return ""
