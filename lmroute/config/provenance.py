"""Provenance: for each key of a composed document, the file position or the override that set it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from lmroute.config.marks import KeyPath, Mark, marks
from lmroute.config.paths import shown
from lmroute.config.secrecy import masked
from lmroute.diagnostics import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

UNKNOWN = Location("<config>")
COMMAND_LINE = "<command line>"


class Locate(Protocol):
    """Says where a value stands, or with ``key=True`` where its key does."""

    def __call__(self, path: KeyPath, *, key: bool = False) -> Location:
        """The location; of the nearest existing parent when there is nothing at ``path``."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """A file that took part in a composition, the key path its content was put at, and its group."""

    file: Path
    package: KeyPath
    group: str = ""

    @property
    def place(self) -> Location:
        """Where the file begins."""
        return Location(shown(self.file), 1, 1)


@dataclass(frozen=True, slots=True)
class Setting:
    """An override ``text`` that set ``path`` to ``value``."""

    path: KeyPath
    value: Any
    text: str


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a document came from: files in the order they were merged, then overrides in theirs."""

    sources: tuple[Source, ...] = ()
    settings: tuple[Setting, ...] = ()


class Provenance:
    """Locates the keys of one document. A key that is not there is located at its nearest parent that is.

    The trace is asked for, and the files are read, when the first key is located: a document without findings
    never pays for it.
    """

    def __init__(self, document: Any, trace: Callable[[], Trace]) -> None:
        self._document = document
        self._trace = trace

    def __call__(self, path: KeyPath, *, key: bool = False) -> Location:
        """See ``Locate``."""
        present = _present(self._document, path)
        for length in range(len(present), -1, -1):
            mark = self._index.get(path[:length])
            if mark is not None:
                # A parent stands in for what is missing or has no place of its own: show where it begins.
                return mark.key if key or length < len(path) else mark.value
        return UNKNOWN

    @cached_property
    def _index(self) -> dict[KeyPath, Mark]:
        trace = self._trace()
        index: dict[KeyPath, Mark] = {}
        for source in trace.sources:
            text = source.file.read_text(encoding="utf-8")
            for path, mark in marks(text, shown(source.file)).items():
                if source.package or path or not index:  # the root of the document is the first file's
                    index[(*source.package, *path)] = mark
        for setting in trace.settings:
            place = Location(COMMAND_LINE, override=masked(setting.text))
            index.update((path, Mark(place, place)) for path in _paths(setting.value, setting.path))
            for length in range(1, len(setting.path)):  # what an override had to make on its way
                index.setdefault(setting.path[:length], Mark(place, place))
        return index


def dotted(path: KeyPath) -> str:
    """A path as it is written on the command line: ``routing.rules.0.name``."""
    return ".".join(path)


def undotted(key: str) -> KeyPath:
    """The path of a key written with dots or brackets: ``routing.rules[0].name``."""
    return tuple(part for part in re.split(r"[.\[\]]+", key) if part)


def _present(node: Any, path: KeyPath) -> KeyPath:
    """The longest start of a path that exists in the document."""
    for depth, step in enumerate(path):
        if isinstance(node, dict):
            keys = {str(key): key for key in node}
            if step not in keys:
                return path[:depth]
            node = node[keys[step]]
        elif isinstance(node, list) and step.isdecimal() and int(step) < len(node):
            node = node[int(step)]
        else:
            return path[:depth]
    return path


def _paths(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _paths(item, (*path, str(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _paths(item, (*path, str(index)))
