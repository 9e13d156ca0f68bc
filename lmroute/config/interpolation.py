"""Interpolations as they are written: where ``${…}`` leads to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmroute.config.marks import KeyPath

_WHOLE = re.compile(r"\$\{\s*(\.*)([\w-]+(?:[.\[\]]+[\w-]+)*\]?)\s*\}")
"""A value that is nothing but a reference to another key: dots for where it starts from, then the key."""


class Unresolved(str):
    """A value whose interpolation leads nowhere; its text is the interpolation."""

    __slots__ = ()


def origin(written: Any, path: KeyPath) -> KeyPath:
    """The path at which the value at ``path`` really stands: references followed to their end.

    A value that is no reference, that a resolver makes (``${oc.env:NAME}``) or that has text around its references
    stands where it is; so does a reference to nothing.

    Args:
        written: the document with its interpolations as they are written.
    """
    seen: set[KeyPath] = set()
    while path not in seen:
        seen.add(path)
        path = _followed(written, path)
    return path


def _followed(written: Any, path: KeyPath) -> KeyPath:
    """One step: the first reference on the way to a path replaced by what it refers to."""
    for depth, node in enumerate(_nodes(written, path), start=1):
        if isinstance(node, str) and (reference := _WHOLE.fullmatch(node)):
            dots, key = reference.groups()
            start = path[: depth - len(dots)] if dots else ()
            target = (*start, *(step for step in re.split(r"[.\[\]]+", key) if step), *path[depth:])
            return target if _leads_on(written, target) else path
    return path


def _leads_on(written: Any, path: KeyPath) -> bool:
    """Whether there is something at a path, or a reference on the way to it."""
    nodes = _nodes(written, path)
    return len(nodes) == len(path) or (bool(nodes) and isinstance(nodes[-1], str) and bool(_WHOLE.fullmatch(nodes[-1])))


def _nodes(node: Any, path: KeyPath) -> list[Any]:
    """What stands at each step of a path, as far as there is something."""
    nodes = []
    for step in path:
        if isinstance(node, dict):
            node = next((value for key, value in node.items() if str(key) == step), None)
        elif isinstance(node, list) and step.isdecimal() and int(step) < len(node):
            node = node[int(step)]
        else:
            break
        nodes.append(node)
    return nodes
