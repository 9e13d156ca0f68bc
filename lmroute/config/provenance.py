"""Provenance: for each key of a composed document, the file position or the override that set it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from lmroute.config.interpolation import MOST_FOLLOWED, target
from lmroute.config.keypaths import KeyPath, at, inside, present
from lmroute.config.paths import shown
from lmroute.config.secrecy import masked
from lmroute.config.text.marks import Mark, marks
from lmroute.config.text.yaml11 import read
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
    """A file that took part in a composition, the key path its content was put at, and its group.

    Attributes:
        chosen_by: the override that chose it, or the file whose defaults list did; empty for the root.
        text: what it says, where it is no file on disk but one of another revision; ``None`` reads it.
    """

    file: Path
    package: KeyPath
    group: str = ""
    chosen_by: str = ""
    text: str | None = field(default=None, repr=False)

    @property
    def place(self) -> Location:
        """Where the file begins."""
        return Location(shown(self.file), 1, 1)


@dataclass(frozen=True, slots=True)
class Setting:
    """An override ``text`` that set ``path`` to ``value``, or deleted it."""

    path: KeyPath
    value: Any
    text: str
    deletes: bool = False


@dataclass(frozen=True)
class Trace:
    """Where a document came from: files in the order they were merged, then overrides in theirs."""

    sources: tuple[Source, ...] = ()
    settings: tuple[Setting, ...] = ()

    @cached_property
    def writes(self) -> tuple[Write, ...]:
        """Everything that was written, in merge order; a mapping comes before its keys."""
        return tuple(chain(*map(_written_in, self.sources), *map(_set_by, self.settings)))


@dataclass(frozen=True, slots=True)
class Write:
    """One key that a file or an override wrote.

    Attributes:
        value: as it is written, with its interpolations. Mappings are merged with what is there, all else replaces it.
        by: the file or the override.
    """

    path: KeyPath
    mark: Mark
    value: Any
    by: Source | Setting

    @property
    def deletes(self) -> bool:
        """Whether it removed the key."""
        return isinstance(self.by, Setting) and self.by.deletes

    @property
    def merges(self) -> bool:
        """Whether what stood there before stays."""
        return isinstance(self.value, dict) and not self.deletes


@dataclass(slots=True)
class _Node:
    """Who wrote a key last, and the keys in it."""

    value: Any
    mark: Mark
    children: dict[str, _Node] = field(default_factory=dict)
    deleted: bool = False


class Provenance:
    """Locates the keys of one document. A key that is not there is located at its nearest parent that is.

    So is a key in a mapping that a resolver or a reference with a computed name made: no file has a place for it.
    What a reference brought into a mapping that a file merged with it is located where it was copied from.

    The trace is asked for, and the files are read, when the first key is located: a document without findings
    never pays for it.
    """

    def __init__(self, document: Any, trace: Callable[[], Trace]) -> None:
        self._document = document
        self._trace = trace

    def __call__(self, path: KeyPath, *, key: bool = False) -> Location:
        """See ``Locate``."""
        node, known = self._root, len(present(self._document, path))
        if node is None:
            return UNKNOWN
        for depth, step in enumerate(path):
            child = node.children.get(step)
            if child is None or child.deleted or depth >= known:
                # A parent stands in for what is missing or has no place of its own: show where it begins.
                return (child.mark if child is not None and child.deleted else node.mark).key
            node = child
        return node.mark.key if key else node.mark.value

    @cached_property
    def _root(self) -> _Node | None:
        """The tree of who wrote what, made by writing it all again."""
        writes = self._trace().writes
        root = _Node({}, writes[0].mark) if writes else None
        for write in writes:
            if root is not None and write.path:  # the root of the document stays its first file's
                _replay(root, write)
        return root


def _replay(root: _Node, write: Write) -> None:
    """Write one key as Hydra does: a mapping is merged with a mapping, all else replaces what was there."""
    *way, last = write.path
    if write.deletes:  # OmegaConf deletes what a reference on the way refers to; what a resolver made stays as it is
        if (holder := _reached(root, tuple(way))) is not None:
            holder.children[last] = _Node(write.value, write.mark, deleted=True)
        return
    parent = root
    for depth in range(1, len(write.path)):
        parent = _opened(root, parent, write.path[:depth], write)
    if write.merges:
        there = _opened(root, parent, write.path, write)
        there.mark, there.value = write.mark, write.value
    else:
        parent.children[last] = _Node(write.value, write.mark)


def _opened(root: _Node, parent: _Node, path: KeyPath, write: Write) -> _Node:
    """The mapping or list that keys are written into; where there is none, one that is the writer's too.

    A file that is merged with a reference adds to a copy of what it refers to. An override takes the reference's place.
    """
    node = parent.children.get(path[-1])
    if node is not None and isinstance(write.by, Source) and target(node.value, path) is not None:
        copied = _reached(root, path)
        node = _Node(copied.value, node.mark, _copies(copied)) if copied else None
    if node is None or node.deleted or not isinstance(node.value, dict | list):
        node = _Node({}, write.mark)
    parent.children[path[-1]] = node
    return node


def _copies(node: _Node) -> dict[str, _Node]:
    """The keys in a node, so that what is written to them later does not change the node."""
    return {step: replace(child, children=_copies(child)) for step, child in node.children.items()}


def _reached(root: _Node, path: KeyPath, most: int = MOST_FOLLOWED) -> _Node | None:
    """The node at a path, at most so many references on the way and at the end followed; None where there is none."""
    node = root
    for depth, step in enumerate(path, start=1):
        found = node.children.get(step)
        if found is None or found.deleted:
            return None
        if (there := target(found.value, path[:depth])) is not None:
            return _reached(root, (*there, *path[depth:]), most - 1) if most else None
        node = found
    return node


def _written_in(source: Source) -> Iterator[Write]:
    text = source.file.read_text(encoding="utf-8") if source.text is None else source.text
    document = read(text).document
    for path, mark in marks(text, shown(source.file)).items():
        yield Write((*source.package, *path), mark, at(document, path), source)


def _set_by(setting: Setting) -> Iterator[Write]:
    place = Location(COMMAND_LINE, override=masked(setting.text))
    for path, value in _nodes(setting.value, setting.path):
        yield Write(path, Mark(place, place), value, setting)


def _nodes(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    yield path, value
    for step, inner in inside(value).items():
        yield from _nodes(inner, (*path, step))
