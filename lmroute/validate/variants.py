"""The defaults with another option in one group, without a composition of Hydra's for each.

A composition takes Hydra 60 ms, and a check of every option would need one for each. Most options are *plain*: a
mapping, no ``defaults`` list of its own, written to the one place in the document that its group has. What a plain
file does to a document is the same whatever else is chosen: it fills that place. So the document of ``provider=x`` is
the defaults' document, as Hydra composed it, with ``providers`` filled from the file instead, and its interpolations
resolved anew. This holds as long as nobody but plain files of the group writes to that place, and no choice in the
defaults list follows from another one; where it does not, Hydra composes. The tests compare both ways.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lmroute.config import packages
from lmroute.config.compose import Composition, compose, exchanged
from lmroute.config.keypaths import undotted
from lmroute.config.provenance import Source, Trace
from lmroute.config.tracing import selections
from lmroute.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.config.keypaths import KeyPath
    from lmroute.validate.files import File

_PROVIDER = "provider"
_PLACES = {_PROVIDER: "providers"}
"""The top-level key that the files of a group fill, where it is not the group's name."""
_KEY = re.compile(r"(?:[a-zA-Z][\w-]*(?:\.[a-zA-Z][\w-]*)*)?")


@dataclass(frozen=True)
class Variants:
    """Compositions that differ from a base in the option of one group."""

    base: Composition
    files: Sequence[File]

    def of(self, option: File, overrides: tuple[str, ...]) -> Composition:
        """The composition for ``overrides``, the last of which chooses ``option`` in its group.

        Raises ConfigError when it cannot be composed.
        """
        group = option.group
        others = tuple(word for word in self.base.overrides if not word.startswith(f"{group}="))
        if others == overrides[:-1] and self._interchangeable(group) and (filled := _filled(option)):
            try:
                return exchanged(self.base, filled, overrides, lambda: self._trace(option, overrides))
            except ConfigError:  # Hydra's own words about it are better
                pass
        return compose(overrides)

    def _interchangeable(self, group: str) -> bool:
        """Whether the place of a group in the base is filled by nobody but plain options."""
        return self._plain and self._root.get(place_of(group), {}) == {}

    @cached_property
    def _plain(self) -> bool:
        """Whether the base consists of ``config.yaml`` and plain options that were chosen one by one."""
        files = {file.path: file for file in self.files}
        options = [source for source in self.base.trace.sources if source.group]
        known = all(source.file in files and self._is_where_it_says(source, files[source.file]) for source in options)
        return known and "${" not in str(self._root.get("defaults"))

    @staticmethod
    def _is_where_it_says(source: Source, file: File) -> bool:
        return is_plain(file) and source.package == _package(file)

    @cached_property
    def _root(self) -> dict[str, Any]:
        found = next((file.reading.document for file in self.files if file.contract == "config"), None)
        return found if isinstance(found, dict) else {}

    def _trace(self, option: File, overrides: tuple[str, ...]) -> Trace:
        base, group = self.base.trace, option.group
        first = next((at for at, source in enumerate(base.sources) if source.group == group), len(base.sources))
        others = [source for source in base.sources if source.group != group]
        chosen = Source(option.path, _package(option) or (), group, overrides[-1])
        return Trace((*others[:first], chosen, *others[first:]), tuple(selections(overrides)))


def is_plain(option: File) -> bool:
    """Whether an option is a mapping without a defaults list that fills the place of its group and no other."""
    return bool(_filled(option))


def profiles_in(option: File) -> dict[str, Any]:
    """The profile that a plain provider option adds, by its name; none where it waits for a value."""
    profiles = _filled(option).get(_PLACES[_PROVIDER]) if option.group == _PROVIDER else None
    shown = profiles.items() if isinstance(profiles, dict) else ()
    return {name: profile for name, profile in shown if "???" not in str(profile)}


def place_of(group: str) -> str:
    """The top-level key that the files of a group fill."""
    return _PLACES.get(group, group)


def _filled(file: File) -> dict[str, Any]:
    """What stands at the place of a plain file's group when it is chosen alone; empty for other files."""
    document, package = file.reading.document, _package(file)
    ordinary = isinstance(document, dict) and "defaults" not in document and _is_ordinary(document, ())
    if not (document and ordinary) or package is None or "/" in file.name:
        return {}
    for step in reversed(package):
        document = {step: document}
    return document if list(document) == [place_of(file.group)] else {}


def _package(file: File) -> KeyPath | None:
    """The key that Hydra puts a file at. None when that is not an ordinary key of the document."""
    try:
        written = packages.composed(packages.header(file.text), file.group)
    except ValueError:
        return None
    return undotted(written) if _KEY.fullmatch(written) else None


def _is_ordinary(node: Any, ancestors: tuple[int, ...]) -> bool:
    """Whether this is data that JSON knows too, which OmegaConf takes as it is."""
    if id(node) in ancestors:  # an alias to what contains it
        return False
    inside = (*ancestors, id(node))
    if isinstance(node, dict):
        return all(isinstance(key, str) and _is_ordinary(value, inside) for key, value in node.items())
    if isinstance(node, list):
        return all(_is_ordinary(item, inside) for item in node)
    return node is None or isinstance(node, (str, bool, int, float))
