"""Positions in YAML text: which line and column each key and each value of a file stands at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from lmroute.config.text import yaml11
from lmroute.diagnostics import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.keypaths import KeyPath

_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a key and its value stand. List items have no key: both places are the item's."""

    key: Location
    value: Location


def marks(text: str, file: str) -> dict[KeyPath, Mark]:
    """Map every path in a YAML text to its mark; ``()`` is the whole file, whose key is its first line.

    Anchored and merged (``<<``) parts point at the place where they are written. Raises ``yaml.YAMLError``
    when the text is not YAML.
    """
    return placed(yaml11.compose(text), file)


def placed(root: yaml.Node | None, file: str) -> dict[KeyPath, Mark]:
    """``marks`` of a text that was composed already."""
    if root is None:
        return {}
    top = Location(file, 1, 1)
    return {(): Mark(top, place(root, file)), **dict(_inside(root, (), file))}


def _inside(node: yaml.Node, path: KeyPath, file: str) -> Iterator[tuple[KeyPath, Mark]]:
    for name, (key, value) in _entries(node).items():
        yield (*path, name), Mark(place(key, file), place(value, file))
        yield from _inside(value, (*path, name), file)


def _entries(node: yaml.Node) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """The key and the value of each name in a mapping, or twice the item of each position in a list."""
    if isinstance(node, yaml.SequenceNode):
        return {str(index): (item, item) for index, item in enumerate(node.value)}
    if not isinstance(node, yaml.MappingNode):
        return {}
    merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        if key.tag == _MERGE:
            # The first of several parts wins, and the mapping's own keys over all of them.
            for part in value.value[::-1] if isinstance(value, yaml.SequenceNode) else [value]:
                merged |= _entries(part)
    return merged | {_name(key): (key, value) for key, value in node.value if key.tag != _MERGE}


def _name(key: yaml.Node) -> str:
    """A key as it stands in a path: ``on`` is ``True`` in YAML 1.1, and ``0x10`` is ``16``."""
    return str(yaml11.scalar(key) if isinstance(key, yaml.ScalarNode) else key.value)


def place(node: yaml.Node, file: str) -> Location:
    """Where a node begins and ends."""
    start, end = node.start_mark, _end(node)
    return Location(file, start.line + 1, start.column + 1, end_line=end.line + 1, end_column=end.column + 1)


def _end(node: yaml.Node) -> yaml.Mark:
    """Just behind a node; of a mapping or list in block style, behind what its first line holds."""
    if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
        return node.end_mark
    first = node.value[0]
    if isinstance(node, yaml.MappingNode):
        key, value = first
        # A merged key or an alias stands elsewhere.
        first = value if node.start_mark.line == value.start_mark.line else key
    end = _end(first)
    return end if end.line >= node.start_mark.line else node.start_mark
