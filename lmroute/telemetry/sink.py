"""Append records to a JSONL file, one file for each process, so that a crash tears at most the last line.

Writing never fails a call: what cannot be written is counted and said once.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from typing import TYPE_CHECKING, Any, Protocol

from lmroute import redact

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_log = logging.getLogger("lmroute.telemetry")


class Sink(Protocol):
    """Somewhere records go."""

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Take some records. Must not raise."""


class NoSink:
    """Keeps nothing."""

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Forget them."""


class JsonlSink:
    """A JSONL file that several threads and processes may append to. Opened at the first record, mode 0600.

    Attributes:
        dropped: records that could not be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped = 0
        self._lock = threading.Lock()
        self._fd: int | None = None

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Append records, all with one system call, each on a line of its own."""
        records = list(lines)
        text = "".join(_encode(record) + "\n" for record in records)
        try:
            with self._lock:
                os.write(self._open(), redact.text(text).encode("utf-8", errors="replace"))
        except OSError as error:
            self._drop(len(records), error)

    def close(self) -> None:
        """Close the file; a later record opens it again."""
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def _open(self) -> int:
        if self._fd is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return self._fd

    def _drop(self, count: int, error: OSError) -> None:
        if not self.dropped:
            _log.warning("call records cannot be written to %s: %s; the calls themselves go on", self.path, error)
        self.dropped += count
