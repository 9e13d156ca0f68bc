"""Provenance: for each key of a composed document, the file position or the override that set it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from lmroute.config.interpolation import target
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
    """Who wrote a key last. ``below`` stands in for the keys in it that nobody wrote by themselves."""

    value: Any
    mark: Mark
    below: Mark
    children: dict[str, _Node] = field(default_factory=dict)
    deleted: bool = False


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
        node, known = self._root, len(present(self._document, path))
        if node is None:
            return UNKNOWN
        for depth, step in enumerate(path):
            child = node.children.get(step)
            if child is None or child.deleted or depth >= known:
                # A parent stands in for what is missing or has no place of its own: show where it begins.
                return (child.mark if child is not None and child.deleted else node.below).key
            node = child
        return node.mark.key if key else node.mark.value

    @cached_property
    def _root(self) -> _Node | None:
        """The tree of who wrote what, made by writing it all again."""
        writes = self._trace().writes
        root = _Node({}, writes[0].mark, writes[0].mark) if writes else None
        for write in writes:
            if root is not None and write.path:  # the root of the document stays its first file's
                _replay(root, write)
        return root


def _replay(root: _Node, write: Write) -> None:
    """Write one key as Hydra does: a mapping is merged with a mapping, all else replaces what was there."""
    *way, last = write.path
    node = root
    for depth, step in enumerate(way, start=1):  # what has to be made on the way is the writer's too
        child = node.children.setdefault(step, _Node({}, write.mark, write.mark))
        # OmegaConf writes over a reference on its way, but deletes what it refers to.
        there = _referred(root, child, write.path[:depth]) if write.deletes else child
        if not isinstance(there.value, dict | list):  # no room for keys: a mapping takes its place
            there = node.children[step] = _Node({}, write.mark, write.mark)
        node = there
    before = node.children.get(last)
    if before is None or before.deleted or not write.merges or not _takes_more(before.value, write.by):
        node.children[last] = _Node(write.value, write.mark, write.mark, deleted=write.deletes)
        return
    # A reference that a file merges a mapping into has brought keys of its own; they stay where it stands.
    if isinstance(before.value, dict) and before.below is before.mark:
        before.below = write.mark
    before.mark, before.value = write.mark, write.value


def _takes_more(value: Any, by: Source | Setting) -> bool:
    """Whether a mapping is merged into what is there. Of overrides, OmegaConf puts it in a reference's place."""
    return isinstance(value, dict) or (isinstance(by, Source) and target(value, ("",)) is not None)


def _referred(root: _Node, node: _Node, path: KeyPath) -> _Node:
    """The node that a reference stands for, or the node itself."""
    seen: list[_Node] = []
    while node not in seen and (there := target(node.value, path)) is not None:
        seen.append(node)
        found: _Node | None = root
        for step in there:
            found = found.children.get(step) if found else None
        if found is None:
            break
        node, path = found, there
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
