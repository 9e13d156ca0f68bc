"""YAML text as Hydra reads it, without Hydra: YAML 1.1, OmegaConf's numbers, no key twice."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.constructor import ConstructorError

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where the wheel has it: 15 times faster


@dataclass(frozen=True, slots=True)
class Text:
    """What a YAML text says: plain data (``None`` for nothing at all), or the error that keeps it from being read."""

    document: Any = None
    error: yaml.YAMLError | None = None


class _Loader(_BASE):  # type: ignore[misc]  # the base depends on the machine
    """OmegaConf's dialect: dates stay texts, ``1e3`` is a number, a key twice is an error."""


def read(text: str) -> Text:
    """Read one YAML document."""
    try:
        return Text(yaml.load(text, Loader=_Loader))  # noqa: S506  a SafeLoader
    except yaml.YAMLError as error:
        return Text(error=error)
    except (ValueError, RecursionError) as error:  # 2001-99-99 and the like, which PyYAML lets escape
        return Text(error=yaml.YAMLError(str(error)))


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if key.tag != "tag:yaml.org,2002:merge":
            name = str(key.value)
            if name in seen:
                raise ConstructorError("while constructing a mapping", node.start_mark, f"found duplicate key {name}",
                                       key.start_mark)  # fmt: skip
            seen.add(name)
    loader.flatten_mapping(node)
    mapping: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    return mapping


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: loader.construct_scalar(node))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    # OmegaConf's: YAML 1.1 wants a dot in every float, people write 1e-4.
    re.compile(r"[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)
