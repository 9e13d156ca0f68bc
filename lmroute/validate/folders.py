"""What is wrong with the folders of configuration: those that cannot be read, and one that is not read at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lmroute.config import packages, paths
from lmroute.diagnostics import Diagnostic, Location, ordered
from lmroute.validate.pipeline import stamped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TELLING = ("provider", "routing")
"""The groups whose files tell that a folder is meant for lmroute."""
_BEGINNING = 512


def check() -> list[Diagnostic]:
    """What keeps whole folders of files, or the file that everything begins with, out of every composition."""
    return ordered(stamped(finding) for rule in (_without_config, _closed, _unmarked) for finding in rule())


def readable(folder: Path) -> bool:
    """Whether a folder may be listed and its files opened."""
    return os.access(folder, os.R_OK | os.X_OK)


def _without_config() -> Iterator[Diagnostic]:
    conf = paths.shipped("conf")
    file = conf / "config.yaml"
    if (readable(conf) or not conf.exists()) and not file.exists():
        message = "config.yaml is missing from the shipped configuration"
        yield Diagnostic("LMR001", message, Location(paths.shown(file)), help="reinstall lmroute")


def _closed() -> Iterator[Diagnostic]:
    for root in (*paths.roots(), *paths.unmarked()):
        for folder in _outermost_closed(root):
            advice = "allow yourself to read it and to look into it: on Unix, chmod u+rx"
            yield Diagnostic("LMR001", "cannot be read: permission denied", Location(paths.shown(folder)), help=advice)


def _outermost_closed(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    if not readable(folder):
        yield folder
        return
    for inner in sorted(folder.iterdir()):
        if not (inner.name.startswith(".") or inner.is_symlink()):
            yield from _outermost_closed(inner)


def _unmarked() -> Iterator[Diagnostic]:
    """LMR004: the nearest ``conf`` with files of ours that only lacks its marker."""
    conf = next(filter(_is_meant_for_us, paths.unmarked()), None)
    if conf is None:
        return
    shown, marker = paths.shown(conf), conf / paths.MARKER
    message = f"{shown} is not read without the file {paths.shown(marker)}, which makes it lmroute's"
    where = "" if shown == "conf" else f" in {conf.parent}"
    before = f"remove what is called {paths.shown(marker)} and is no file, then " if os.path.lexists(marker) else ""
    yield Diagnostic("LMR004", message, Location(shown), help=f"{before}run `lmroute init`{where}")


def _is_meant_for_us(conf: Path) -> bool:
    return any(_is_ours(file, group) for group in _TELLING for file in _listed(conf / group))


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.yaml")) if readable(folder) else []


def _is_ours(file: Path, group: str) -> bool:
    """Whether a file's first lines name our schema or a key of ours; other programs have such folders too."""
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as opened:
            beginning = opened.read(_BEGINNING)
        header = packages.header(beginning) or ""
    except (OSError, ValueError):
        return False
    return f"/{group}.schema.json" in beginning or (group == "provider" and header.startswith("providers."))
