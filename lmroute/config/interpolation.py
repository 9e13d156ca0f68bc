"""Interpolations as they are written: where ``${…}`` leads to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmroute.config.keypaths import KeyPath

_WHOLE = re.compile(r"\$\{\s*(\.*)([\w-]+(?:[.\[\]]+[\w-]+)*\]?)\s*\}")
"""A value that is nothing but a reference to another key: dots for where it starts from, then the key."""

MOST_FOLLOWED = 100
"""References in a row after which they lead nowhere: ``a: ${a.b}`` leads to ``a.b.b`` and on, without end."""

_VARIABLE = re.compile(r"\$\{\s*oc\.env:\s*([^\s,{}]+)")


class Unresolved(str):
    """A value whose interpolation leads nowhere; its text is the interpolation."""

    __slots__ = ()


def origin(written: Any, path: KeyPath) -> KeyPath:
    """The path at which the value at ``path`` really stands: references followed to their end.

    A value that is no reference, that a resolver makes (``${oc.env:NAME}``) or that has text around its references
    stands where it is; so do a reference to nothing and one that leads on without end.

    Args:
        written: the document with its interpolations as they are written.
    """
    seen: set[KeyPath] = set()
    here = path
    while here not in seen:
        if len(seen) == MOST_FOLLOWED:
            return path
        seen.add(here)
        here = _followed(written, here)
    return here


def target(value: Any, path: KeyPath) -> KeyPath | None:
    """The path that a value at ``path`` refers to; None when it is no reference to another key and nothing else."""
    reference = _WHOLE.fullmatch(value) if isinstance(value, str) else None
    return _absolute(reference, path) if reference else None


def references(value: Any, path: KeyPath) -> list[tuple[str, KeyPath]]:
    """All references to other keys in a text at ``path``, as they are written, and the paths they refer to."""
    found = _WHOLE.finditer(value) if isinstance(value, str) else ()
    return [(reference[0], _absolute(reference, path)) for reference in found]


def variables(written: Any) -> set[str]:
    """The environment variables that a document reads: ``${oc.env:NAME}``."""
    if isinstance(written, str):
        return set(_VARIABLE.findall(written))
    inner = written.values() if isinstance(written, dict) else written if isinstance(written, list) else ()
    return set().union(*map(variables, inner))


def _absolute(reference: re.Match[str], path: KeyPath) -> KeyPath:
    dots, key = reference.groups()
    start = path[: max(len(path) - len(dots), 0)] if dots else ()
    return (*start, *(step for step in re.split(r"[.\[\]]+", key) if step))


def _followed(written: Any, path: KeyPath) -> KeyPath:
    """One step: the first reference on the way to a path replaced by what it refers to."""
    for depth, node in enumerate(_nodes(written, path), start=1):
        if (there := target(node, path[:depth])) is not None:
            onward = (*there, *path[depth:])
            return onward if _leads_on(written, onward) else path
    return path


def _leads_on(written: Any, path: KeyPath) -> bool:
    """Whether there is something at a path, or a reference on the way to it."""
    nodes = _nodes(written, path)
    return len(nodes) == len(path) or (bool(nodes) and target(nodes[-1], ()) is not None)


def _nodes(node: Any, path: KeyPath) -> list[Any]:
    """What stands at each step of a path, as far as there is something."""
    nodes: list[Any] = []
    for step in path:
        inner = node if isinstance(node, dict) else dict(enumerate(node)) if isinstance(node, list) else {}
        found = [value for key, value in inner.items() if str(key) == step]
        if not found:
            break
        node = found[0]
        nodes.append(node)
    return nodes
