"""The lock as a file: where it lies, and what is wrong with it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmroute.config import paths, schema
from lmroute.config.breaches import Breach, diagnostics
from lmroute.config.keypaths import dotted
from lmroute.config.text import yaml11
from lmroute.config.text.marks import placed
from lmroute.diagnostics import Diagnostic, Location
from lmroute.lock.text import FORMAT_VERSION, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.keypaths import KeyPath
    from lmroute.config.text.marks import Mark
    from lmroute.lock.document import Lock

FILE = "lmroute.lock.json"
MALFORMED, NEWER = "LMR330", "LMR331"
AGAIN = "lock again: lmroute lock --fresh"
_IN_THE_WAY = "make it readable, or move it out of the way"

_SCHEMA = "lock.schema.json"
_VERSION = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})")


@dataclass(frozen=True)
class Reading:
    """A lock file that was read.

    Attributes:
        lock: ``None`` when the findings say why it cannot be used.
        text: as far as it could be read.
    """

    path: Path
    lock: Lock | None
    findings: tuple[Diagnostic, ...] = ()
    text: str = field(default="", repr=False)

    def locate(self, path: KeyPath, *, key: bool = False) -> Location:
        """Where a value stands in the file, or its key; see ``lmroute.config.provenance.Locate``."""
        return _located(_marks(self.text, paths.shown(self.path)), path, paths.shown(self.path), key=key)


def place() -> Path:
    """Where the lock of the project lies that one is in: beside its ``conf``; outside of one, in the current folder."""
    return (paths.project() or Path.cwd()) / FILE


def read(path: Path) -> Reading | None:
    """The lock in a file; ``None`` when there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        finding = _finding(Location(paths.shown(path)), f"cannot be read: {error.strerror}")
        return Reading(path, None, (replace(finding, help=_IN_THE_WAY),))  # what cannot be read is not written either
    except UnicodeDecodeError:
        return Reading(path, None, (_finding(Location(paths.shown(path)), "cannot be read: not UTF-8"),))
    lock, findings = _read(text, paths.shown(path))
    return Reading(path, lock, findings, text)


@lru_cache(maxsize=4)  # each composition of `lmroute validate` asks for the same one
def _read(text: str, shown: str) -> tuple[Lock | None, tuple[Diagnostic, ...]]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        at = Location(shown, error.lineno, error.colno)
        return None, (_finding(at, f"is no JSON: {error.msg[:1].lower()}{error.msg[1:]}"),)
    except RecursionError:
        return None, (_finding(Location(shown, 1, 1), "is no lock: it is nested too deeply"),)
    if newer := _newer(document):
        at = _located(_marks(text, shown), ("format_version",), shown)
        message = f"has format {newer}, and this lmroute reads {FORMAT_VERSION}"
        return None, (Diagnostic(NEWER, message, at, "format_version", f"update lmroute, or {AGAIN}"),)
    findings = tuple(_breaches(document, text, shown))
    return (None, findings) if findings else (parsed(document), ())


def _newer(document: Any) -> str:
    """The version of a format that came after this one; empty when it did not."""
    told = document.get("format_version") if isinstance(document, dict) else None
    found = _VERSION.fullmatch(told) if isinstance(told, str) else None
    ours = tuple(map(int, FORMAT_VERSION.split(".")))
    return found[0] if found and (int(found[1]), int(found[2])) > ours else ""


def _breaches(document: Any, text: str, shown: str) -> Iterator[Diagnostic]:
    errors = list(schema.validator(_SCHEMA).iter_errors(document))
    known = _marks(text, shown) if errors else {}

    def locate(path: KeyPath, *, key: bool = False) -> Location:
        return _located(known, path, shown, key=key)

    # jsonschema has an error for each key that is missing, and each of these names all of them.
    for found in dict.fromkeys(found for error in errors for found in diagnostics(Breach.of(error), locate)):
        yield replace(found, code=MALFORMED, help=f"{found.help} (or {AGAIN})" if found.help else AGAIN)


def _finding(place: Location, message: str, path: KeyPath = ()) -> Diagnostic:
    return Diagnostic(MALFORMED, message, place, dotted(path), AGAIN)


@lru_cache(maxsize=4)
def _marks(text: str, shown: str) -> dict[KeyPath, Mark]:
    return placed(yaml11.read(text).node, shown)  # JSON is YAML


def _located(known: dict[KeyPath, Mark], path: KeyPath, shown: str, *, key: bool = False) -> Location:
    for length in range(len(path), -1, -1):
        if mark := known.get(path[:length]):
            return mark.key if key or length < len(path) else mark.value
    return Location(shown, 1, 1)
