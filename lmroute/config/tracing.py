"""Which files and overrides Hydra makes a composition of, in merge order, and what chose each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.types import RunMode

from lmroute.config.keypaths import undotted
from lmroute.config.paths import options
from lmroute.config.provenance import Setting, Source, Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hydra._internal.defaults_list import DefaultsList
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.default_element import ResultDefault


def folders_of(sources: Any) -> tuple[Path, ...]:
    """The search path of a composition, as far as it consists of folders."""
    return tuple(Path(source.path) for source in sources if source.schema == "file")


def trace(loader: ConfigLoader, name: str | None, words: list[str], folders: tuple[Path, ...]) -> Trace:
    """The files and settings that Hydra composes a configuration from, in merge order.

    Args:
        name: the root file, without suffix.
        words: the overrides, the one that sets the search path included.
        folders: the search path, the first one first.
    """
    found = loader.compute_defaults_list(name, words, RunMode.RUN)
    sources = [
        Source(file, undotted(default.package or ""), _group(default.config_path), _chooser(default, words, found))
        for default in found.defaults
        if default.config_path and (file := _file(default.config_path, folders))
    ]
    settings = [
        Setting(undotted(override.key_or_group), override.value(), override.input_line, override.is_delete())
        for override in found.config_overrides
        if not override.is_hydra_override()
    ]
    unchosen = {word[1:] for word in words if word.startswith("~")} - {source.group for source in sources}
    dropped = [Setting((group,), None, f"~{group}", deletes=True) for group in unchosen if options(group)]
    return Trace(tuple(sources), (*selections(words), *dropped, *settings))


def selections(words: Sequence[str]) -> list[Setting]:
    """What the group choices set: no file is "the providers", so the override that selects them says what they are."""
    return [Setting(("providers",), {}, word) for word in words if word.startswith("provider=")]


def _group(config_path: str) -> str:
    return config_path.rpartition("/")[0]


def _chooser(default: ResultDefault, words: Sequence[str], found: DefaultsList) -> str:
    """The override or the file that has a file take part; empty for the root."""
    if default.is_self:
        return ""
    group = _group(default.config_path or "")
    key = default.override_key or group
    by_file = found.overrides.override_metadata.get(key)
    if by_file and by_file.containing_config_path:
        return f"{by_file.containing_config_path}.yaml"
    if default.parent and _group(default.parent) == group:  # a file that builds on another one of its group
        return f"{default.parent}.yaml"
    named = [word for word in words if word.lstrip("+").partition("=")[0] in {key, group}]
    return named[-1] if named else f"{default.parent}.yaml"


def _file(config_path: str, folders: tuple[Path, ...]) -> Path | None:
    name = config_path if config_path.endswith(".yaml") else f"{config_path}.yaml"
    return next((folder / name for folder in folders if (folder / name).is_file()), None)
