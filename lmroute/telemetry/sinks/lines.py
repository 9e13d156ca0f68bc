"""Records as lines of a file: rendered, redacted, appended, and what could not be appended counted and told.

What is lost is said once in the log, and told in the file by a record of kind ``lost`` as soon as that works again, so
that readers know of the gap.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from lmroute import redact
from lmroute.forks import Locked
from lmroute.logs import logger
from lmroute.telemetry.events import FORMAT_VERSION, run_id
from lmroute.telemetry.sinks.appending import TornError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from lmroute.telemetry.sinks.appending import AppendedFile

_log = logger("lmroute.telemetry")


class LinesSink(Locked, ABC):
    """A sink whose records become lines of a file.

    Attributes:
        path: the file, or the folder of the files.
        dropped: records that could not be written.
    """

    name: str
    """What the records of kind ``lost`` call it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.dropped = 0
        self._said = 0
        self._untold: Counter[str] = Counter()  # by sink, what no record has told yet

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Append records, all with one system call, each on a line of its own."""
        records = list(lines)
        try:
            data = _rendered(records)
            with self._lock:
                self._append(records, data)
        except TornError as error:
            self._drop(len(records) - error.whole, error)
        except (OSError, TypeError, ValueError, RecursionError) as error:  # the last three: what JSON cannot hold
            self._drop(len(records), error)

    def lost(self, count: int, sink: str) -> None:
        """Let the file tell that another sink has lost some records."""
        with self._lock:
            self._untold[sink] += count
        self.write(())

    def close(self) -> None:
        """Close the file; a later record opens it again. What was lost is said in the log, if anything was."""
        self.write(())
        with self._lock:
            self._close()
            is_news, self._said = self.dropped > self._said, self.dropped
        if is_news:
            _log.warning("%d call records could not be written to %s", self.dropped, self.path)

    @abstractmethod
    def _file(self, records: Sequence[dict[str, Any]]) -> AppendedFile:
        """Where these records belong."""

    @abstractmethod
    def _close(self) -> None:
        """Close what is open."""

    def _append(self, records: Sequence[dict[str, Any]], data: bytes) -> None:
        told = list(self._untold.items())
        if told:
            data = _rendered([_lost(count, sink) for sink, count in told]) + data
        elif not data:
            return
        try:
            self._file(records).append(data)
        except TornError as error:
            self._untold -= Counter(dict(told[: error.whole]))
            error.whole = max(0, error.whole - len(told))
            raise
        if told:
            self._untold -= Counter(dict(told))  # not cleared: a finalizer may have counted more meanwhile

    def _drop(self, count: int, error: Exception) -> None:
        with self._lock:
            is_first = not self.dropped
            self.dropped += count
            self._untold[self.name] += count
        if is_first and count:
            _log.warning("call records cannot be written to %s: %s; the calls themselves go on", self.path, error)

    def _begin_in_child(self) -> None:
        super()._begin_in_child()
        self.dropped = self._said = 0  # what the parent lost, the parent tells
        self._untold = Counter()


def _rendered(records: Iterable[dict[str, Any]]) -> bytes:
    data = b"".join([_line(record) for record in records])
    text = data.decode()
    shown = redact.text(text)
    return data if shown is text else shown.encode()


def _line(record: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)  # a tenth of json's time, and every call pays it
    except TypeError:  # half of a surrogate pair, which json takes, or what neither can hold
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", errors="replace") + b"\n"


def _lost(count: int, sink: str) -> dict[str, Any]:
    ts = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"v": FORMAT_VERSION, "kind": "lost", "ts": ts, "run": run_id(), "count": count, "sink": sink}
