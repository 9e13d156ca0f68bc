"""Which files hold call records: one rule for all who read them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FILE = "calls.jsonl"
"""The file of a run's records, in its folder."""


def found(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    """The files that a path names: itself, or those in a folder and below it, in order.

    Those are its ``calls.jsonl`` if it has one, as the folder of a run has beside other things, else every ``*.jsonl``.
    A folder or file that is not there, or may not be looked into, has none.
    """
    if path.is_dir():
        yield from _below(str(path))
    else:
        with suppress(OSError):
            yield str(path), path.stat()


def files_in(*paths: Path) -> list[Path]:
    """The files that some paths name, the newest first.

    Raises:
        LmrouteError: a path names none.
    """
    for path in paths:
        if not path.exists():
            raise LmrouteError(f"{path}: there is no such file or folder of call records")
        if next(found(path), None) is None:
            raise LmrouteError(f"{path}: there is neither a {FILE} nor another .jsonl file in this folder or below it")
    return newest_first(paths)


def newest_first(paths: Iterable[Path]) -> list[Path]:
    """The same, but a path may name none."""
    files = {file: stat for path in paths for file, stat in found(path)}
    return [Path(file) for file in sorted(files, key=lambda file: files[file].st_mtime, reverse=True)]


def _below(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    lines = {entry.name for entry in listed if entry.name.endswith(".jsonl")}
    named = lines & {FILE} or lines
    for entry in listed:
        with suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path)
            elif entry.name in named and entry.is_file():
                yield entry.path, entry.stat()
