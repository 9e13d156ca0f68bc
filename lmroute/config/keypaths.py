"""Key paths: the way to a value in plain data, as text and walked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

KeyPath: TypeAlias = tuple[str, ...]
"""The way to a value: keys and list positions, all as text, e.g. ``("routing", "rules", "0", "name")``."""


def dotted(path: KeyPath) -> str:
    """A path as it is written on the command line: ``routing.rules.0.name``."""
    return ".".join(path)


def undotted(key: str) -> KeyPath:
    """The path of a key written with dots or brackets: ``routing.rules[0].name``."""
    return tuple(part for part in re.split(r"[.\[\]]+", key) if part)


def present(node: Any, path: KeyPath) -> KeyPath:
    """The longest start of a path that exists in the document."""
    for depth, step in enumerate(path):
        inner = inside(node)
        if step not in inner:
            return path[:depth]
        node = inner[step]
    return path


def at(node: Any, path: KeyPath) -> Any:
    """What stands at a path; None when there is nothing."""
    for step in path:
        node = inside(node).get(step)
    return node


def inside(node: Any) -> dict[str, Any]:
    """The values in a mapping or list by the text of their keys or positions."""
    if isinstance(node, dict):
        return {str(key): value for key, value in node.items()}
    return {str(index): value for index, value in enumerate(node)} if isinstance(node, list) else {}


def leaves(node: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """What is no mapping and no list, in a document or a part of it at ``path``, with where it stands."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*path, str(key)))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from leaves(value, (*path, str(index)))
    else:
        yield path, node
