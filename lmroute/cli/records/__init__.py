"""What ``lmroute usage`` and ``lmroute logs`` share: which calls are meant, and the index of them."""

from __future__ import annotations

import argparse
import sys
from contextlib import contextmanager
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

STATUSES = ("ok", "error", "cancelled")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say which calls are meant."""
    add = parser.add_argument
    add("paths", nargs="*", type=Path, metavar="DIR|FILE",
        help="folders of runs, or files of call records, instead of what all programs recorded")  # fmt: skip
    add("--since", type=_moment, metavar="WHEN",
        help="24h, 7d, 90m, 2w, today, yesterday, 2026-11-01, 2026-11-01T14:30; times and days are in UTC")  # fmt: skip
    add("--until", type=_moment, metavar="WHEN", help="the same")
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
        LmrouteError: a path names nothing.
    """
    for path in paths:
        if not path.exists():
            raise LmrouteError(f"{path}: there is no such file or folder of call records")
    index, told = (None if paths else _shared()) or _private(paths)
    for line in filter(None, [told.rebuilt, *(f"{path}: cannot be read, and is left out" for path in told.unreadable)]):
        print(redact.text(line), file=sys.stderr)
    with index:
        yield index, told


def asked(index: Index, paths: Sequence[Path], question: Callable[[], T]) -> T:
    """The answer to a question, asked again if the index turns out to be damaged."""
    from lmroute.telemetry.index import Damaged  # noqa: PLC0415  --help needs none

    try:
        return question()
    except Damaged as error:
        index.rebuild(error)
        print(redact.text(index.ingest(paths or None).rebuilt), file=sys.stderr)
        return question()


def _shared() -> tuple[Index, Ingested] | None:
    from lmroute.telemetry.index import Index, index_file  # noqa: PLC0415

    try:
        index = Index(index_file())
        return index, index.ingest()
    except LmrouteError as error:  # a full disk, or one that may only be read
        print(redact.text(f"{error}; reading the records without it"), file=sys.stderr)
        return None


def _private(paths: Sequence[Path]) -> tuple[Index, Ingested]:
    from lmroute.telemetry.index import Index  # noqa: PLC0415

    index = Index()
    return index, index.ingest(paths or None, keep_days=None)


def _moment(words: str) -> datetime:
    from lmroute.telemetry.when import moment  # noqa: PLC0415

    try:
        return moment(words, datetime.now(UTC))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
