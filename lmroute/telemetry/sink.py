"""Append records to a JSONL file, one file for each process, so that a crash tears at most the last line.

Writing never fails a call: what cannot be written is counted and said once.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from lmroute import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

_log = logging.getLogger("lmroute.telemetry")
_APPENDING = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)  # Windows: no CR LF


def _line(record: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)  # a tenth of json's time, and every call pays it
    except TypeError:  # half of a surrogate pair, which json takes, or what neither can hold
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", errors="replace") + b"\n"


class Sink(Protocol):
    """Somewhere records go."""

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Take some records. What it raises fails no call: it is said once, and counted.

        Any thread may call it, and the end of an abandoned stream may, while that very thread is in here.
        """


class NoSink:
    """Keeps nothing."""

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Forget them."""


class SafeSink:
    """Another sink whose failures are no call's: the first is said, all are counted.

    Attributes:
        failures: writes that raised.
    """

    def __init__(self, sink: Sink) -> None:
        self.failures = 0
        self._sink = sink

    @classmethod
    def of(cls, sink: Sink) -> SafeSink:
        """This sink made safe; itself if it is."""
        return sink if isinstance(sink, cls) else cls(sink)

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Hand the records on."""
        try:
            self._sink.write(lines)
        except Exception as error:  # noqa: BLE001 - a call that was answered is worth more than its record
            self.failures += 1
            if self.failures == 1:
                what = redact.one_line(f"{type(error).__name__}: {error}")
                _log.warning("the sink %s failed: %s; the calls themselves go on", type(self._sink).__name__, what)


class JsonlSink:
    """A JSONL file that several threads and processes may append to. Opened at the first record, mode 0600.

    Attributes:
        dropped: records that could not be written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.dropped = 0
        self._lock = threading.RLock()  # a garbage-collected stream may write while its thread is in here
        self._fd: int | None = None
        self._torn = False

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Append records, all with one system call, each on a line of its own."""
        records = list(lines)
        try:
            text = b"".join([_line(record) for record in records]).decode()
            data = redact.text(text).encode()
            with self._lock:
                self._append(data)
        except (OSError, TypeError, ValueError) as error:  # the last two: a record that JSON cannot hold
            self._drop(len(records), error)

    def close(self) -> None:
        """Close the file; a later record opens it again."""
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def _append(self, data: bytes) -> None:
        # A full disk takes a part and tears a line; the next one has to begin on its own.
        data = b"\n" + data if self._torn else data
        self._torn = os.write(self._open(), data) < len(data)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _open(self) -> int:
        if self._fd is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, _APPENDING, 0o600)
        return self._fd

    def _drop(self, count: int, error: Exception) -> None:
        with self._lock:
            is_first = not self.dropped
            self.dropped += count
        if is_first:
            _log.warning("call records cannot be written to %s: %s; the calls themselves go on", self.path, error)
