"""Results on stdout, with colour where a person reads them; a reader who leaves early is no error."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def emit(text: str, file: Path | None = None) -> None:
    """Write a result to stdout, or to a file.

    Raises:
        LmrouteError: the file cannot be written.
    """
    if file is None:
        with suppress(BrokenPipeError):
            say(text)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LmrouteError(f"{file}: cannot be written: {error.strerror}") from error


def colored() -> bool:
    """Whether stdout is to have colour: NO_COLOR and FORCE_COLOR decide, else whether it is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") != "0":
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def table(rows: Sequence[tuple[str, ...]], indent: str = "") -> Iterator[str]:
    """Rows with their columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()


def say(text: str) -> None:
    """Write to stdout, at once.

    Raises:
        BrokenPipeError: nobody reads it.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a console of another encoding shows escapes, and does not fail
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout.write(text)
    sys.stdout.flush()  # here, or Python does it when it ends, and complains
