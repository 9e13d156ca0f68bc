"""The records of this machine's calls: a folder for each day in UTC, in it a file for each process.

``<folder>/2026-03-04/<host>-<pid>-<start>.jsonl``: no two processes write to one file, so a crash tears the last line
of one's own at most, and a network file system that several hosts write to is good enough.
"""

from __future__ import annotations

import os
import platform
import re
import threading
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lmroute.config import paths
from lmroute.telemetry.sinks.appending import AppendedFile
from lmroute.telemetry.sinks.lines import LinesSink
from lmroute.telemetry.sinks.pruning import prune

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LONGEST_HOST = 60


def events_folder() -> Path:
    """Where the records of all processes are, in a folder for each day. It need not exist."""
    return paths.user_state_dir() / "events"


class DailySink(LinesSink):
    """This process's file of the day that a record is of. Its folders have mode 0700, files 0600.

    A forked child writes a file of its own.

    Args:
        folder: made when it is needed, as often as it is.
        keep_days: older folders are removed, once a day; ``None`` keeps them all.
    """

    name = "records"

    def __init__(self, folder: Path, *, keep_days: int | None = None) -> None:
        super().__init__(folder)
        self.keep_days = keep_days
        self._open: AppendedFile | None = None
        self._day: str | None = None

    def _file(self, records: Sequence[dict[str, Any]]) -> AppendedFile:
        ts = records[-1].get("ts") if records else None  # when the call ended: its records stay together
        day = ts[:10] if isinstance(ts, str) else ""
        if self._open is None or day != self._day:
            folder = self.path / _folder_of(day)
            self._open = AppendedFile.of(folder / f"{_process(os.getpid())}.jsonl", private=self.path)
            self._day = day if folder.name == day else None
            self._prune()
        return self._open

    def _prune(self) -> None:
        today = _today()
        key = str(self.path)
        if self.keep_days is None or _PRUNED.get(key) == today:
            return
        _PRUNED[key] = today
        work = (self.path, self.keep_days, today)
        with suppress(RuntimeError):  # no thread is to be had; tomorrow, maybe
            threading.Thread(target=prune, args=work, daemon=True, name="lmroute prune").start()

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()

    def _begin_in_child(self) -> None:
        super()._begin_in_child()
        self._open = None


_PRUNED: dict[str, date] = {}
"""The day that this process last looked for what is too old, by folder."""


def _folder_of(day: str) -> str:
    """A day as the name of a folder, which nothing else becomes; today's, if it is none."""
    try:
        return date.fromisoformat(day).isoformat()
    except ValueError:
        return _today().isoformat()


def _today() -> date:
    return datetime.now(UTC).date()


@lru_cache(maxsize=1)
def _process(pid: int) -> str:
    """What tells a process from all others, of all hosts: host, id, and when it first wrote something, in UTC."""
    host = re.sub(r"[^A-Za-z0-9_]+", "-", platform.node())[:_LONGEST_HOST].strip("-") or "host"
    return f"{host}-{pid}-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
