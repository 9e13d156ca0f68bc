"""How providers are, as lines for people: the word always, a sign only where the terminal can show it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lmroute.cli.output import table
from lmroute.providers.probe.states import SERVING, Outcome, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lmroute.health.status import Status

SIGNS = {
    State.HEALTHY: "✔",
    State.DEGRADED: "▲",
    State.THROTTLED: "‖",
    State.AUTH: "✖",
    State.MISCONFIGURED: "✖",
    State.BLOCKED: "✖",
    State.DOWN: "✖",
    State.UNKNOWN: "?",
}
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def is_sick(status: Status) -> bool:
    """Whether something is to be done about it. Of what cannot be found out nothing is known."""
    return status.state not in {*SERVING, State.UNKNOWN}


def lines(statuses: Iterable[Status], now: float, *, phases: bool = False) -> Iterator[str]:
    """One line each, and below it what is wrong and what to do.

    Args:
        now: in seconds of the epoch.
        phases: whether each phase is told of the well ones too.
    """
    listed = list(statuses)
    heads = table([_cells(status, now) for status in listed]) if listed else ()
    for head, status in zip(heads, listed, strict=True):
        yield head
        yield from _details(status, phases=phases)


def announcement(status: Status) -> str:
    """A change in one line."""
    code = f" ({status.error_code})" if status.error_code else ""
    message = f": {status.message}" if status.message else ""
    advice = f"; help: {status.fix}" if status.fix else ""
    return f"{sign(status.state)}{status.provider} is {status.state}{code}{message}{advice}"


def sign(state: State) -> str:
    """A sign and a space, or nothing where it cannot be shown."""
    try:
        "".join(SIGNS.values()).encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return ""
    return f"{SIGNS[state]} "


def age(seconds: float) -> str:
    """How long ago something was."""
    whole = max(0, round(seconds))
    if whole < 1:
        return "now"
    for unit, size in (("d", _DAY_S), ("h", _HOUR_S), ("min", _MINUTE_S)):
        if whole >= size:
            return f"{whole // size} {unit} ago"
    return f"{whole} s ago"


def _cells(status: Status, now: float) -> tuple[str, ...]:
    checked = "not checked" if status.last_checked is None else f"checked {age(now - status.last_checked)}"
    return (f"{sign(status.state)}{status.provider}", status.state.value, _latency(status), checked, _models(status))


def _latency(status: Status) -> str:
    return f"{status.latency_ms:.0f} ms" if status.latency_ms else ""


def _models(status: Status) -> str:
    count = len(status.models)
    return f"{count} model{'' if count == 1 else 's'}" if count else ""


def _details(status: Status, *, phases: bool) -> Iterator[str]:
    if status.message:
        code = f"{status.error_code}: " if status.error_code else ""
        yield f"    {code}{status.message}"
    if status.fix:
        yield f"    help: {status.fix}"
    if (phases or is_sick(status)) and (told := _phases(status)):
        yield f"    {told}"


def _phases(status: Status) -> str:
    run: Sequence[str] = [
        f"{phase.name} {phase.ms:.0f} ms{' failed' if phase.outcome is Outcome.FAILED else ''}"
        for phase in status.phases
        if phase.outcome is not Outcome.SKIPPED
    ]
    notes = [f"{phase.name}: {phase.note}" for phase in status.phases if phase.note]
    return ", ".join([*run, *notes])
