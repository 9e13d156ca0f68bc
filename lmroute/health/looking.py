"""A look at servers for a person who waits: now, or until they are well."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lmroute.health import machine
from lmroute.health.evidence import of_probe
from lmroute.health.machine import UNKNOWN, Rules
from lmroute.health.status import Source
from lmroute.providers.probe import Patience, probe_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lmroute.health.status import Status
    from lmroute.model import Health, Profile
    from lmroute.providers.probe import ProbeResult

_SHORTEST_S = 0.05
_AT_ONCE = Rules(down_after=1)
"""Who looks once believes what is seen; a probe has its own second and third try."""


def look(
    profiles: Sequence[Profile],
    settings: Health,
    *,
    until: Callable[[dict[str, ProbeResult]], bool],
    chat: bool = False,
    wait_s: float | None = None,
    pause_s: float = 1.0,
) -> dict[str, ProbeResult]:
    """Probe all at once; the results by provider.

    Args:
        until: whether they are well; asked only if there is something to wait for.
        chat: have each answer with a token as well.
        wait_s: look again until they are well, for at most so many seconds; ``None`` looks once.
        pause_s: seconds between two looks.
    """
    patience = Patience(total_s=settings.timeout_s, retries=settings.retries)
    ends = time.monotonic() + (wait_s or 0.0)
    while True:
        if wait_s is not None:  # no more retries than the looks are, and none beyond the end
            left = max(ends - time.monotonic(), _SHORTEST_S)
            patience = Patience(total_s=min(settings.timeout_s, left), retries=0)
        results = probe_all(profiles, chat=chat, patience=patience)
        left = ends - time.monotonic()
        if wait_s is None or left <= 0 or until(results):
            return results
        time.sleep(min(pause_s, left))


def status_of(result: ProbeResult, at: float) -> Status:
    """What a single probe says, which ended at ``at`` (seconds of the epoch)."""
    seen = of_probe(result, began=0.0, ended=0.0, at=at, source=Source.PROBE)
    known = machine.probed(UNKNOWN, seen, _AT_ONCE, 0.0)
    return machine.status(result.provider, known, _AT_ONCE, 0.0)
