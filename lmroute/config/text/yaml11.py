"""YAML text as Hydra reads it, without Hydra: YAML 1.1 in OmegaConf's dialect, no key twice.

What this reads and refuses, OmegaConf's own loader reads and refuses; a test compares them.
"""

from __future__ import annotations

import pathlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml
from yaml.constructor import ConstructorError

if TYPE_CHECKING:
    from collections.abc import Callable

_TEXT = yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG
_DEEPEST = 100
"""Levels of nesting that a file may have. Deeper ones exhaust the stack of whoever walks them."""
_FLOAT = re.compile(r"[-+]?[0-9]+(?:_[0-9]+)*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$")
"""OmegaConf's addition to the floats of YAML 1.1, which want a dot and a signed exponent: ``1e3``, ``1.5e3``."""
_DISPUTED = re.compile(
    r"[\t!\x85\u2028\u2029\ufeff]|^\?|[\s\[{,]\?|\?(?:[\s,\[\]{}]|\Z)|[|>][-+\d]*#|[^\n]{2000}", re.MULTILINE
)
"""What libyaml reads more generously than PyYAML does, or otherwise; and lines long enough to nest very deeply."""
_MOST_BRACKETS = 1000
_MOST_VALUES = 100_000
"""Values that a file may have, its aliases written out."""


@dataclass(frozen=True, slots=True)
class Text:
    """What a YAML text says.

    Attributes:
        document: plain data; ``None`` for nothing at all.
        error: what keeps it from being read.
        node: the same as nodes with positions, merge keys replaced by what they merge.
    """

    document: Any = None
    error: yaml.YAMLError | None = None
    node: yaml.Node | None = field(default=None, repr=False, compare=False)


class TooMuch(ConstructorError):
    """A text that no program should walk: it would take for ever, or exhaust the stack."""


UNREADABLE = Text(error=yaml.YAMLError("not a text"))
"""What bytes say that are no text."""


def read(text: str) -> Text:
    """Read one YAML document."""
    try:
        return _read(text)
    except yaml.YAMLError as error:
        return Text(error=error)


def compose(text: str) -> yaml.Node | None:
    """The nodes of one YAML document, with their positions. Raises ``yaml.YAMLError`` when it is none."""
    return _composed(text)[1]


def lines(text: str) -> list[str]:
    """The lines of a text as YAML counts them, without their ends."""
    return re.split("[\n\x85\u2028\u2029]", text)


def scalar(node: yaml.ScalarNode) -> Any:
    """The value of a scalar node. Raises ``yaml.YAMLError`` when it has none."""
    return node.value if node.tag == _TEXT else _Values().construct_object(node)


class _Dialect:
    """What OmegaConf changes in PyYAML's safe loader, as a mixin of its constructor."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != _TEXT:
                continue
            if key.value in seen:
                problem = f"found duplicate key {key.value}"
                raise ConstructorError("while constructing a mapping", node.start_mark, problem, key.start_mark)
            seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)  # type: ignore[misc]  # a mixin
        return mapping

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return _writable(super().construct_object(node, deep=deep))  # type: ignore[misc]  # a mixin
        except yaml.YAMLError:
            raise
        except Exception as error:  # `0x_`, `!!int one` and `!!bool 2` raise whatever int() and dicts do
            problem = f"cannot be read as {node.tag.rpartition(':')[2]}"
            raise ConstructorError(None, None, problem, node.start_mark) from error


def _writable(value: Any) -> Any:
    """A value. Raises ValueError for a number with more digits than Python writes: nobody could complain about it."""
    return int(str(value)) if type(value) is int else value


class _Values(_Dialect, yaml.constructor.SafeConstructor):
    """Makes values of nodes, whoever read them."""


class _Pure(_Dialect, yaml.SafeLoader):
    """What OmegaConf has: PyYAML's own scanner, whose verdict counts."""


class _Fast(_Dialect, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # depends on the machine
    """libyaml where the wheel has it: 15 times faster."""


def _read(text: str) -> Text:
    loader, node = _composed(text)
    if node is None:
        return Text()
    try:
        return Text(loader.construct_document(node), node=node)
    except TypeError:  # a list in the guise of a key: `!!str [a]: 1`
        raise ConstructorError(None, None, "found unhashable key", node.start_mark) from None


def _composed(text: str) -> tuple[Any, yaml.Node | None]:
    """The loader that read a text, and its nodes. The fast one decides nothing that could be disputed."""
    if not (_DISPUTED.search(text) or text.count("[") + text.count("{") > _MOST_BRACKETS):
        try:
            return _composed_by(_Fast, text)
        except yaml.YAMLError:
            pass
    return _composed_by(_Pure, text)


def _composed_by(kind: type[Any], text: str) -> tuple[Any, yaml.Node | None]:
    loader = kind(text)
    try:
        node = loader.get_single_node()
    except RecursionError:
        raise _too_much(None, f"{_DEEPEST} levels of nesting") from None
    if node is not None:
        _extent(node, (), {})
    return loader, node


def _extent(node: yaml.Node, around: tuple[yaml.Node, ...], known: dict[yaml.Node, tuple[int, int]]) -> tuple[int, int]:
    """How many values a node has with its aliases written out, and on how many levels.

    Refuses what no program could walk to its end: an anchor inside of itself, nesting without end, aliases that grow.
    """
    if node in around:
        raise ConstructorError(None, None, "found an anchor that contains itself", node.start_mark)
    if len(around) > _DEEPEST:
        raise _too_much(node, f"{_DEEPEST} levels of nesting")
    if not isinstance(node, yaml.CollectionNode):
        return 1, 0
    if node not in known:
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        inner = [_extent(part, (*around, node), known) for part in parts]
        known[node] = 1 + sum(size for size, _ in inner), 1 + max((levels for _, levels in inner), default=0)
    size, levels = known[node]
    if levels > _DEEPEST:
        raise _too_much(node, f"{_DEEPEST} levels of nesting")
    if size > _MOST_VALUES:
        raise _too_much(node, f"{_MOST_VALUES} values")
    return size, levels


def _too_much(node: yaml.Node | None, what: str) -> TooMuch:
    mark = node.start_mark if node else yaml.Mark("", 0, 0, 0, None, 0)
    return TooMuch(None, None, f"found more than {what}", mark)


def _path(kind: type[pathlib.Path]) -> Callable[[Any, Any], pathlib.Path]:
    return lambda loader, node: kind(*loader.construct_sequence(node))


for _loader in (_Pure, _Fast):
    _loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
    _loader.yaml_implicit_resolvers = {  # dates stay texts
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in _loader.yaml_implicit_resolvers.items()
    }
    for _kind in (pathlib.Path, pathlib.PosixPath, pathlib.WindowsPath):  # how OmegaConf saves paths
        _loader.add_constructor(f"tag:yaml.org,2002:python/object/apply:pathlib.{_kind.__name__}", _path(_kind))
