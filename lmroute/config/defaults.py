"""Defaults lists: which files a file chooses, and where it says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmroute.config.packages import GROUPS
from lmroute.config.paths import files, options, shipped, shown
from lmroute.config.text import yaml11
from lmroute.config.text.marks import placed
from lmroute.diagnostics import Location

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lmroute.config.keypaths import KeyPath

_SELF = "_self_"


@dataclass(frozen=True, slots=True)
class Choice:
    """One name in a defaults list.

    Attributes:
        words: what stands before the group, ``override`` for one.
        group: the group as Hydra finds it, ``experiment/provider`` for ``override provider:`` in an experiment.
        written: the group as it is written, without ``override`` and package.
        path: where the name stands in the file.
    """

    group: str
    written: str
    name: str
    path: KeyPath
    words: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        """Whether there is such a file. Hydra's own groups are Hydra's business."""
        return self.group.startswith("hydra/") or self.name in options(self.group)


def choices(document: Any, group: str) -> Iterator[Choice]:
    """What the defaults list of a file of ``group`` chooses (``""`` for config.yaml), in order.

    What it leaves open (``null``, ``???``, ``${…}``) or takes only if it is there (``optional``) is no choice.
    """
    listed = document.get("defaults") if isinstance(document, dict) else None
    for index, entry in enumerate(listed if isinstance(listed, list) else ()):
        path = ("defaults", str(index))
        if isinstance(entry, str) and entry != _SELF:
            written, _, name = entry.partition("@")[0].rpartition("/")
            yield from _named(written, [(name, path)], group, absolute=entry.startswith("/"))
        elif isinstance(entry, dict):
            for key, value in entry.items():
                yield from _entry(str(key), value, (*path, str(key)), group)


def _entry(key: str, value: Any, path: KeyPath, group: str) -> Iterator[Choice]:
    *words, target = key.split()
    if "optional" not in words:
        written = target.partition("@")[0]
        names = (
            [(name, (*path, str(at))) for at, name in enumerate(value)] if isinstance(value, list) else [(value, path)]
        )
        yield from _named(written.lstrip("/"), names, group, words, absolute=written.startswith("/"))


def _named(
    written: str, names: list[tuple[Any, KeyPath]], group: str, words: Iterable[str] = (), *, absolute: bool
) -> Iterator[Choice]:
    found = written if absolute or not group else f"{group}/{written}".rstrip("/")
    for name, path in names:
        if isinstance(name, str) and "${" not in name and name != "???":
            yield Choice(found, written, name.removesuffix(".yaml"), path, tuple(words))


def place_of(group: str, name: str) -> Location:
    """Where a defaults list chooses this, as far as one does; else the shipped folder."""
    listing = [("", shipped("conf") / "config.yaml"), *((own, file) for own in GROUPS for file in files(own))]
    for own, file in listing:
        reading = yaml11.read(file.read_text(encoding="utf-8", errors="replace"))
        for choice in choices(reading.document, own):
            if (choice.group, choice.name) == (group, name):
                return placed(reading.node, shown(file))[choice.path].value
    return Location(shown(shipped("conf")))
