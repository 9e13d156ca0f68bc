"""The rule about a file's text: it is UTF-8 and YAML, and says something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.config.text import malformed, nodes, yaml11
from lmroute.diagnostics import Diagnostic, Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.validate.files import File

_BOM = "\ufeff"


def readable(file: File) -> Iterator[Diagnostic]:
    """LMR001: a file that cannot be read, or that Hydra would read as something else."""
    if file.text.startswith(_BOM):
        message = "the file begins with a byte order mark, behind which Hydra sees no header"
        yield Diagnostic("LMR001", message, file.start, help="save it as UTF-8 without BOM")
    if isinstance(file.raw, OSError):
        yield Diagnostic("LMR001", f"cannot be read: {file.raw.strerror or 'an error of the system'}", file.start)
    elif file.misfit:
        yield _misfit(file, file.misfit)
    elif file.reading.error:
        yield malformed.diagnosis(file.reading.error, file.text, file.shown)
    elif file.reading.document is None:
        yield Diagnostic("LMR001", "the file is empty: it sets nothing", file.start, help="write its keys or remove it")
    elif not isinstance(file.reading.document, dict):
        yield _no_mapping(file)
    else:
        for place, what in nodes.unheld(file.reading.node, file.shown):
            yield Diagnostic("LMR001", f"Hydra cannot hold {what}", place, help="put it in quotes")


def _misfit(file: File, error: UnicodeDecodeError) -> Diagnostic:
    before = yaml11.lines(bytes(error.object[: error.start]).decode("utf-8"))
    message = f"not UTF-8: there is a byte 0x{error.object[error.start]:02x}"
    return Diagnostic(
        "LMR001", message, Location(file.shown, len(before), len(before[-1]) + 1), help="save it as UTF-8"
    )


def _no_mapping(file: File) -> Diagnostic:
    what = "a list" if isinstance(file.reading.document, list) else "a single value"
    place = file.locate(())
    advice = "write `key: value`, with a space after the colon"
    return Diagnostic("LMR001", f"the file holds {what} and no keys", place, help=advice)
