"""Read call records back: JSONL files as ``sink`` writes them, lines that are torn or of another version included.

A record that cannot be used is counted and never stops anybody: a crash tears the last line of a file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lmroute.errors import LmrouteError
from lmroute.telemetry.events import FORMAT_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

LOST = "lost"
"""The kind of a record that tells of others, which could not be written."""


@dataclass(frozen=True, slots=True)
class Call:
    """A logical call: its own record and those of its attempts, in order."""

    record: dict[str, Any]
    attempts: tuple[dict[str, Any], ...] = ()

    @property
    def id(self) -> str:
        """The same in all records of the call."""
        return str(self.record["call"])

    @property
    def ended(self) -> datetime | None:
        """When; ``None`` if its record does not say."""
        try:
            at = datetime.fromisoformat(self.record["ts"])
        except (KeyError, TypeError, ValueError):
            return None
        return at if at.tzinfo else at.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Reading:
    """What some files hold.

    Attributes:
        calls: in the order of the files.
        torn: lines that are no record.
        foreign: how many records of other versions there are, by version.
        lost: records that were never written, as the files tell.
    """

    calls: tuple[Call, ...] = ()
    torn: int = 0
    foreign: dict[str, int] = field(default_factory=dict)
    lost: int = 0

    @property
    def left_out(self) -> str:
        """What could not be used, in words; empty when all could."""
        torn = [f"{_several(self.torn, 'line')} that {_are(self.torn)} no record"] if self.torn else []
        others = [f"{_several(n, 'record')} of version {version}" for version, n in sorted(self.foreign.items())]
        lost = [f"{_several(self.lost, 'record')} that could not be written"] if self.lost else []
        return ", ".join(torn + others + lost)


def read(files: Iterable[Path]) -> Reading:
    """The calls in some files, each once: that of a run stands in its folder and among all programs'.

    Raises:
        LmrouteError: a file cannot be read.
    """
    calls: dict[str, Call] = {}
    foreign: dict[str, int] = {}
    torn = lost = 0
    for file in files:
        records = list(_records(file))
        torn += records.count(None)
        known = [record for record in records if record is not None]
        for version in (record.get("v") for record in known if not _is_ours(record)):
            foreign[_word(version)] = foreign.get(_word(version), 0) + 1
        ours = [record for record in known if _is_ours(record)]
        lost += sum(record["count"] for record in ours if record.get("kind") == LOST)
        for call in _calls(ours):
            calls.setdefault(call.id, call)
    return Reading(tuple(calls.values()), torn, foreign, lost)


def _records(file: Path) -> Iterator[dict[str, Any] | None]:
    """Each line's record, ``None`` for a line that is none."""
    try:
        with file.open("rb") as lines:
            yield from (_record(line) for line in lines if line.strip())
    except OSError as error:
        raise LmrouteError(f"{file}: cannot be read: {error.strerror}") from error


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or "v" not in record:
        return None
    is_gap = record.get("kind") == LOST and isinstance(record.get("count"), int)
    return record if is_gap or (isinstance(record.get("call"), str) and record.get("kind") != LOST) else None


def _is_ours(record: dict[str, Any]) -> bool:
    return bool(record["v"] == FORMAT_VERSION)


def _word(version: object) -> str:
    return str(version) if isinstance(version, int | str) else "?"


def _several(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _calls(records: Sequence[dict[str, Any]]) -> Iterator[Call]:
    attempts: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if record.get("kind") == "attempt":
            attempts.setdefault(record["call"], []).append(record)
        elif record.get("kind") == "call":
            yield Call(record, tuple(attempts.pop(record["call"], ())))
