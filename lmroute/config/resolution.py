"""Resolve a composed configuration as far as it can be resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lmroute.config.interpolation import Unresolved

if TYPE_CHECKING:
    from lmroute.config.keypaths import KeyPath

_CIRCLE = "the interpolation leads back to itself"
_DEEPEST = 100
"""Levels of nesting after which an interpolation has led into itself."""


def resolved(config: DictConfig) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """Plain data without interpolations, and why some lead nowhere: OmegaConf's words by path.

    What leads nowhere is ``Unresolved`` in the data.
    """
    try:
        document: Any = OmegaConf.to_container(config, resolve=True)
    except (OmegaConfBaseException, RecursionError):
        faults: dict[KeyPath, str] = {}
        return _plain(config, (), faults), faults
    return document, {}


def _plain(node: Any, path: KeyPath, faults: dict[KeyPath, str]) -> Any:
    if isinstance(node, DictConfig):
        return {str(key): _child(node, key, path, faults) for key in node}
    if isinstance(node, ListConfig):
        return [_child(node, index, path, faults) for index in range(len(node))]
    return node


def _child(parent: DictConfig | ListConfig, key: Any, path: KeyPath, faults: dict[KeyPath, str]) -> Any:
    here = (*path, str(key))
    if OmegaConf.is_missing(parent, key):
        return "???"
    try:
        value = parent[key]
    except (OmegaConfBaseException, RecursionError) as error:
        faults[here] = str(error) if str(error) and not isinstance(error, RecursionError) else _CIRCLE
        written: Any = OmegaConf.to_container(parent)
        return Unresolved(written[key])
    if len(here) > _DEEPEST:
        faults[here] = _CIRCLE
        return Unresolved("${…}")
    return _plain(value, here, faults)
