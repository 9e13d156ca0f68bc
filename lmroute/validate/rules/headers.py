"""The rule about a file's first line, by which Hydra puts it in its place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lmroute.config import packages
from lmroute.config.text import yaml11
from lmroute.diagnostics import Diagnostic, Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.validate.files import File

_WRITTEN = re.compile(r"^\ufeff?[ \t]*#+\s*@?\s*package\b(.*)$", re.MULTILINE)
"""A line that is meant as a header, wherever it stands."""
_OUTDATED = re.compile(r"_name_|_group_|\$\{[\w.:]*\}?")
"""What Hydra replaced in a header before 1.2, or in one's imagination."""
_NAME = re.compile(r"[\w-]+")


def placed(file: File) -> Iterator[Diagnostic]:
    """LMR002: a header that is missing, hidden, or puts the file where it does not belong."""
    if file.group not in packages.GROUPS or file.misfit or not file.text.strip():
        return
    stem = file.path.stem
    if file.group == "provider" and not _NAME.fullmatch(stem):
        advice = "rename it to letters, digits, - and _"
        yield Diagnostic("LMR002", f"a profile is named by its file, and '{stem}' is no key", file.start, help=advice)
        return
    wanted = packages.belongs(file.group, stem)
    text = file.text.removeprefix("\ufeff")  # which is said already
    try:
        written = packages.header(text)
    except ValueError:
        message = "Hydra refuses this header: it is one word, @package, and one value, with a space between"
        yield Diagnostic("LMR002", message, _place(file), help=f"write `{packages.line(wanted)}` and nothing else")
        return
    if packages.composed(written, file.group) != wanted:
        message, advice = _missing(file, wanted) if written is None else _wrong(file, written, wanted)
        yield Diagnostic("LMR002", message, _place(file), help=advice)


def _missing(file: File, wanted: str) -> tuple[str, str]:
    header = packages.line(wanted)
    if _WRITTEN.search(file.text):
        return "Hydra sees no header here: it stands on the first line, with an @", f"make `{header}` line 1"
    return f"without its header this file is put at '{file.group}'", f"begin the file with `{header}`"


def _wrong(file: File, written: str, wanted: str) -> tuple[str, str]:
    advice = f"write `{packages.line(wanted)}`"
    if wanted == file.group:
        advice = f"remove the line, or {advice}"
    if old := _OUTDATED.search(written):
        return f"Hydra takes '{old[0]}' in a header as it is written", advice
    there = packages.composed(written, file.group)
    if file.group == "provider" and re.fullmatch(r"providers\.[\w-]+", there):
        advice += f", or rename the file to {there.removeprefix('providers.')}.yaml"
    where = f"puts the file at '{there}'" if there else "spreads the file's keys at the top"
    return f"this header {where}", advice


def _place(file: File) -> Location:
    """The line that is meant as the header, or where one should be."""
    found = _WRITTEN.search(file.text)
    if found is None:
        return file.start
    line = len(yaml11.lines(file.text[: found.start()]))
    return Location(file.shown, line, 1, end_line=line, end_column=len(found[0]) + 1)
