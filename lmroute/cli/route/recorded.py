"""A recorded call that is to be explained, and whether today's policy would decide it the same."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmroute.cli import records
from lmroute.errors import LmrouteError
from lmroute.telemetry.events import CANCELLED
from lmroute.telemetry.files import files_in, newest_first
from lmroute.telemetry.reading import Call, read
from lmroute.telemetry.recorded import considered, recorded

if TYPE_CHECKING:
    from lmroute.model import Facts
    from lmroute.routing.explain import Explanation
    from lmroute.routing.replay import Recorded

_FOLDERS = ("outputs", "multirun")
"""Where run.py writes, from the current directory."""
_LISTED = 5
"""Ids that a message shows."""


@dataclass(frozen=True, slots=True)
class Found:
    """A recorded call.

    Attributes:
        file: where it is.
        record: the call's own line.
    """

    file: Path
    record: dict[str, Any]
    call: Recorded

    @property
    def decided(self) -> list[str]:
        """The candidates that were to be asked, in order."""
        return [str(candidate) for candidate, dropped in considered(self.record) if not dropped]


def find(beginning: str, path: Path | None) -> Found:
    """The call whose id begins so.

    Args:
        path: a file of records, or a folder with some; of several files the newest that has it counts. By default the
            folders of runs here, then the records of all programs.

    Raises LmrouteError when there is none, or several.
    """
    files = newest_first(map(Path, _FOLDERS)) if path is None else files_in(path)
    for file in files:
        reading = read([file])
        found = {call.id: call for call in reading.calls if call.id.startswith(beginning)}
        if len(found) > 1:
            listed = ", ".join(islice(found, _LISTED)) + (", …" if len(found) > _LISTED else "")
            raise LmrouteError(f"{file}: {len(found)} calls begin with '{beginning}': {listed}")
        if found:
            return _readable(next(iter(found.values())), file)
    if path is None:
        return _of_all_programs(beginning)
    looked = f"{files[0]}{f' and {len(files) - 1} older ones' if files[1:] else ''}"
    raise LmrouteError(f"no call begins with '{beginning}' in {looked}")


def circumstances(facts: Facts) -> list[str]:
    """What the record says was known, in words."""
    listed = [f"{candidate}: {reason}" for known in (facts.out, facts.throttled) for candidate, reason in known.items()]
    listed += [f"{candidate}: {calls} calls under way" for candidate, calls in facts.load.items() if calls]
    listed += [f"{candidate}: {latency:g} ms" for candidate, latency in facts.latency_ms.items()]
    listed += [f"{candidate}: a window of {tokens} tokens" for candidate, tokens in facts.windows.items()]
    listed += [f"budget '{name}' is used up" for name in sorted(facts.spent)]
    return [*listed, *(f"rule '{rule}' is pinned to {candidate}" for rule, candidate in facts.pins.items())]


def differences(found: Found, explanation: Explanation) -> list[str]:
    """How today's decision differs from the recorded one, in words."""
    decision, before = explanation.decision, found.call.rule
    told = []
    if decision.rule != before:
        now = f"rule '{decision.rule}' decides" if decision.rule else "no rule decides"
        told.append(f"{now}, not '{before}'" if before else f"{now}; none did")
    after = [str(candidate) for candidate in decision.candidates]
    if after != found.decided:
        told.append(f"to be asked: {', '.join(after) or 'nobody'}; then: {', '.join(found.decided) or 'nobody'}")
    return told


def comparison(found: Found, differences: list[str]) -> list[str]:
    """The recorded decision beside today's, as lines."""
    record, call = found.record, found.call
    ended = f"{call.answered} answered" if call.answered else f"nobody answered ({record.get('errorCode')})"
    if record.get("errorCode") == CANCELLED:
        ended = f"the caller gave it up at {call.answered}"
    return [
        f"recorded {record.get('ts')} in {found.file}: call {call.id}",
        f"  rule '{call.rule}', to be asked: {', '.join(found.decided) or 'nobody'}; {ended}",
        *(f"  today differs: {difference}" for difference in differences),
        *([] if differences else ["  today's policy decides the same"]),
    ]


def as_data(found: Found, differences: list[str]) -> dict[str, Any]:
    """The same for programs."""
    call = found.call
    return {
        "call": call.id,
        "file": str(found.file),
        "ts": found.record.get("ts"),
        "stack": found.record.get("stack"),
        "rule": call.rule or None,
        "candidates": found.decided,
        "answered": str(call.answered) if call.answered else None,
        "facts": circumstances(call.facts),
        "same": not differences,
        "differences": differences,
    }


def _of_all_programs(beginning: str) -> Found:
    from lmroute.telemetry.usage.latest import one, records_of  # noqa: PLC0415  a file that is named needs no SQLite

    with records.filled(()) as (index, _):
        known = records.asked(index, (), lambda: records_of(index, one(index, beginning).call))
    if known.call is None:
        raise LmrouteError(f"{known.file}: the call's record is gone; 'lmroute logs' has what is left of it")
    return _readable(Call(known.call, known.attempts), known.file)


def _readable(call: Call, file: Path) -> Found:
    decoded = recorded(call)
    if decoded is None:
        raise LmrouteError(f"{file}: the record of call {call.id} does not have the shape of its version")
    return Found(file, call.record, decoded)
