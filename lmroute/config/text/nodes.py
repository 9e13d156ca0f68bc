"""What a YAML file is made of below its values: scalars as they are written, and what Hydra cannot hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from lmroute.config.text import yaml11
from lmroute.config.text.marks import place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.keypaths import KeyPath
    from lmroute.diagnostics import Location

_TAG = "tag:yaml.org,2002:"
_SPECIAL = {f"{_TAG}merge", f"{_TAG}value"}
_NEVER = {f"{_TAG}set": "a set", f"{_TAG}timestamp": "a date"}


@dataclass(frozen=True, slots=True)
class Plain:
    """A scalar whose meaning is left to the reader: it has neither quotes nor a tag.

    Attributes:
        path: where it stands, or, of a key, what it is the key of.
        written: its text.
    """

    path: KeyPath
    written: str
    place: Location
    _node: yaml.ScalarNode

    @property
    def value(self) -> object:
        """What Hydra reads."""
        return yaml11.scalar(self._node)


def plain_scalars(root: yaml.Node | None, text: str, file: str) -> Iterator[Plain]:
    """The plain scalars of a file, keys too, each where it is first met; merge keys are none."""
    for path, node in _scalars(root, (), set()):
        before = text[node.start_mark.index : node.end_mark.index].removesuffix(node.value)
        if not (node.style or node.tag in _SPECIAL or "!" in before):
            yield Plain(path, node.value, place(node, file), node)


def unheld(root: yaml.Node | None, file: str) -> Iterator[tuple[Location, str]]:
    """What YAML can say and Hydra refuses, with a name for it."""
    for node in _nodes(root, set()):
        if node.tag in _NEVER:
            yield place(node, file), _NEVER[node.tag]
        if isinstance(node, yaml.MappingNode):
            yield from ((place(key, file), "a key that is null") for key, _ in node.value if key.tag == f"{_TAG}null")


def _scalars(node: yaml.Node | None, path: KeyPath, seen: set[yaml.Node]) -> Iterator[tuple[KeyPath, yaml.ScalarNode]]:
    if node is None or node in seen:
        return
    seen.add(node)
    if isinstance(node, yaml.ScalarNode):
        yield path, node
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _scalars(item, (*path, str(index)), seen)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(yaml11.scalar(key)) if isinstance(key, yaml.ScalarNode) else "")
            yield from _scalars(key, inner, seen)
            yield from _scalars(value, inner, seen)


def _nodes(node: yaml.Node | None, seen: set[yaml.Node]) -> Iterator[yaml.Node]:
    """A node and all below it that are no keys, each once."""
    if node is None or node in seen:
        return
    seen.add(node)
    yield node
    parts = [value for _, value in node.value] if isinstance(node, yaml.MappingNode) else node.value
    for part in parts if isinstance(node, yaml.CollectionNode) else ():
        yield from _nodes(part, seen)
