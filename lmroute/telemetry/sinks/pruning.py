"""Remove the days of records that are too old."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def prune(folder: Path, keep_days: int, today: date) -> list[Path]:
    """Remove the folders of days that are more than ``keep_days`` days ago; those that are gone, sorted.

    Only files of records in folders that are called like a day are removed, nothing through a symbolic link, and a
    folder with anything else in it stays. What cannot be removed stays as well. Several processes may do it at once.
    """
    old = [day for day in _days(folder) if date.fromisoformat(day.name) < today - timedelta(days=keep_days)]
    for day in old:
        _empty(day)
    return [day for day in old if not day.exists()]


def _days(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        for found in sorted(folder.iterdir()):
            if _is_day(found.name) and found.is_dir() and not found.is_symlink():
                yield found


def _is_day(name: str) -> bool:
    if not _DAY.fullmatch(name):
        return False
    with suppress(ValueError):
        date.fromisoformat(name)
        return True
    return False


def _empty(day: Path) -> None:
    with suppress(OSError):
        for file in day.iterdir():
            if file.suffix == ".jsonl" and not file.is_symlink():
                with suppress(OSError):
                    file.unlink()
        day.rmdir()
