"""What commands about recorded calls share: which calls are meant, and the index of them."""

from __future__ import annotations

import argparse
import sys
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lmroute import redact
from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lmroute.telemetry.index import Index, Ingested

T = TypeVar("T")

_FILTERS = {
    "provider": ("P", "answered by this provider"),
    "model": ("M", "answered by this model"),
    "task": ("T", "of this task"),
    "rule": ("R", "decided by this rule"),
    "status": ("S", "that ended so: ok, error or cancelled"),
    "error-code": ("CODE", "that failed with this code"),
    "locality": ("L", "answered there: embedded, loopback, private or cloud"),
}
NONE_YET = (
    "no calls recorded yet; programs record their calls with telemetry=local:",
    "  python run.py telemetry=local",
    '  lmroute.load("provider=lmstudio routing=local_first telemetry=local")',
    "each run of run.py also keeps its own, in its folder: outputs",
)
"""What to tell whoever has no records at all."""

BUSY = "no such calls are in the files of records; the usage index may know more, but another process keeps it now"
"""What to tell who finds nothing while ``Ingested.is_busy``."""

STATUSES = ("ok", "error", "cancelled")

WAIT_S = 5.0
"""For another process that brings the index up to date: most end sooner, and to read all files anew takes longer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say which calls are meant."""
    add = parser.add_argument
    add("paths", nargs="*", type=Path, metavar="DIR|FILE",
        help="folders of runs, or files of call records, instead of what all programs recorded")  # fmt: skip
    add("--since", type=moment, metavar="WHEN",
        help="24h, 7d, 90m, 2w, today, yesterday, 2026-11-01, 2026-11-01T14:30; times and days are in UTC")  # fmt: skip
    add("--until", type=moment, metavar="WHEN", help="the same")
    for name, (metavar, what) in _FILTERS.items():
        choices = STATUSES if name == "status" else None
        add(f"--{name}", action="append", metavar=metavar, choices=choices, help=f"only calls {what}; may be repeated")


def where(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """What the options ask of a call's words."""
    asked = {name: getattr(arguments, name.replace("-", "_")) for name in _FILTERS}
    return {"errorCode" if name == "error-code" else name: words for name, words in asked.items() if words}


@contextmanager
def filled(paths: Sequence[Path]) -> Iterator[tuple[Index, Ingested]]:
    """The index of all programs' records, or a private one of some files and folders, brought up to date.

    Raises:
        LmrouteError: a path names nothing, or what is neither a file nor a folder.
    """
    for path in paths:
        _check(path)
    index, told = _private(paths) if paths else _all()
    for line in filter(None, [told.rebuilt, *(f"{path}: cannot be read, and is left out" for path in told.unreadable)]):
        print(redact.text(line), file=sys.stderr)
    with index:
        yield index, told


def _check(path: Path) -> None:
    if not path.exists():
        raise LmrouteError(f"{path}: there is no such file or folder of call records")
    if not (path.is_file() or path.is_dir()):  # a pipe: it can be read but once, and who waits for it may wait forever
        raise LmrouteError(
            f"{path}: is neither a file nor a folder\n  help: write the call records to a file, and name that"
        )


def asked(index: Index, paths: Sequence[Path], question: Callable[[], T]) -> T:
    """The answer to a question, asked again if the index turns out to be damaged."""
    from lmroute.telemetry.index import Damaged  # noqa: PLC0415  --help needs none

    try:
        return question()
    except Damaged as error:
        index.rebuild(error)
        told = index.ingest(paths or None, wait_s=WAIT_S)
        if told.is_busy:
            raise LmrouteError(f"{error}; another process makes it anew, so try again") from error
        print(redact.text(told.rebuilt), file=sys.stderr)
        return question()


def _all() -> tuple[Index, Ingested]:
    """Of all programs. An index that is behind would lie, so if it cannot be brought up to date, all files are read."""
    from lmroute.telemetry.index import Index, index_file  # noqa: PLC0415

    is_busy = False
    try:
        index = Index(index_file())
        told = index.ingest(wait_s=WAIT_S)
        if not told.is_busy:
            return index, told
        index.close()
        is_busy, why = True, f"{index_file()}: another process keeps the usage index to itself"
    except LmrouteError as error:  # a full disk, or one that may only be read
        why = str(error)
    print(redact.text(f"{why}; reading the records without it"), file=sys.stderr)
    private, told = _private(())
    return private, replace(told, is_busy=is_busy)


def _private(paths: Sequence[Path]) -> tuple[Index, Ingested]:
    from lmroute.telemetry.index import Index  # noqa: PLC0415

    index = Index()
    return index, index.ingest(paths or None, keep_days=None)


def moment(words: str) -> datetime:
    """A time on the command line."""
    from lmroute.telemetry.usage import when  # noqa: PLC0415  --help needs none

    try:
        return when.moment(words, datetime.now(UTC))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
