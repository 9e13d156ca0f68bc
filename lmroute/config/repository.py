"""Hydra's repository of configuration files, which parses each text once.

Hydra parses every file of a composition anew, a dozen of its own among them, and again to trace it. That is a quarter
of what a check costs, and a sample of compositions, a sweep or a watched folder goes through the same files over and
over. Files are read every time and compared by their text, so that one which was written a moment ago counts at once.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING

from hydra._internal.config_repository import ConfigRepository
from hydra.core.object_type import ObjectType

if TYPE_CHECKING:
    from hydra.plugins.config_source import ConfigResult, ConfigSource

_HYDRAS_OWN = "hydra.conf"
"""The package with Hydra's own files, which are no one's to edit."""

_parsed: dict[tuple[str, str, str], tuple[str, bytes]] = {}
"""The last text of each file, by who brings it, its folder and its name, and what Hydra made of it, pickled.

To unpickle a configuration takes an eighth of the time of a deep copy.
"""


class Repository(ConfigRepository):
    """Hydra's, with a memory. Each caller gets a copy: Hydra merges what it loads into the composition, nodes and all.

    What cannot be read or parsed is left to Hydra, which has the words for it.
    """

    def load_config(self, config_path: str) -> ConfigResult | None:
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        text = None if source is None else _text(source, config_path)
        if source is None or text is None:
            return super().load_config(config_path)
        name = (source.provider, source.path, config_path)
        known = _parsed.get(name)
        if known is None or known[0] != text:
            found = super().load_config(config_path)
            if found is None or text != _text(source, config_path):  # written meanwhile: whose text is it?
                return found
            known = _parsed[name] = (text, pickle.dumps(found))
        copy: ConfigResult = pickle.loads(known[1])  # noqa: S301  our own, it never left this process
        return copy


def _text(source: ConfigSource, config_path: str) -> str | None:
    """What a file's parsing depends on. None where that cannot be told."""
    if source.scheme() == "pkg" and source.path == _HYDRAS_OWN:
        return ""
    if source.scheme() != "file":
        return None
    name = config_path if config_path.endswith(".yaml") else f"{config_path}.yaml"
    try:
        return Path(source.path, name).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
