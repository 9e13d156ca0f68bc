"""The configuration files by themselves: which there are, what each holds, and what is wrong with it.

Nothing here composes, so nothing imports Hydra or OmegaConf.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute.config import paths, schema
from lmroute.config.keypaths import KeyPath, undotted
from lmroute.config.packages import GROUPS, POLICY_TESTS, belongs
from lmroute.config.text import yaml11
from lmroute.config.text.marks import Mark, placed
from lmroute.diagnostics import Diagnostic, Location, ordered
from lmroute.validate.folders import readable
from lmroute.validate.pipeline import stamped
from lmroute.validate.table import FILE_CHECKS
from lmroute.validate.written import Written, open_ends

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class File:
    """A file of configuration. It is read when its contents are asked for, once.

    Attributes:
        root: the folder of groups it lies in: the shipped one or an overlay.
        own: it is the user's own, not shipped.
    """

    root: Path
    path: Path
    own: bool = False

    @cached_property
    def group(self) -> str:
        """The first folder below the root; empty for what lies in the root itself, as config.yaml does.

        Policy tests lie in a group's folder and are no options of it.
        """
        if self._below.as_posix().startswith(f"{POLICY_TESTS}/"):
            return POLICY_TESTS
        return self._below.parts[0] if len(self._below.parts) > 1 else ""

    @cached_property
    def name(self) -> str:
        """How it is chosen in its group: ``lmstudio``, ``cloud/openai``."""
        inner = self._below.relative_to(self.group) if self.group else self._below
        return inner.with_suffix("").as_posix()

    @cached_property
    def shown(self) -> str:
        """Its path as a message shows it."""
        return paths.shown(self.path)

    @cached_property
    def package(self) -> KeyPath:
        """The composed key at which it belongs."""
        return undotted(belongs(self.group, self.path.stem)) if self.group in GROUPS else ()

    @property
    def is_policy_test(self) -> bool:
        """Whether it holds tests of a policy, which take part in no composition."""
        return self.group == POLICY_TESTS

    @property
    def contract(self) -> str:
        """The schema it keeps to, as ``schema.check_file`` calls it; empty when there is none."""
        if self.is_policy_test:
            return schema.POLICY_TEST
        if self.group:
            return self.group if self.group in GROUPS else ""
        return "config" if self.name == "config" and not self.own else ""

    @cached_property
    def raw(self) -> bytes | OSError:
        """Its bytes, or why they cannot be read."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            return error

    @cached_property
    def text(self) -> str:
        """Its text as Python reads text files; what is not UTF-8 is replaced."""
        raw = self.raw if isinstance(self.raw, bytes) else b""
        return raw.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")

    @cached_property
    def misfit(self) -> UnicodeDecodeError | None:
        """Why it is not UTF-8, if it is not."""
        try:
            _ = self.raw.decode("utf-8") if isinstance(self.raw, bytes) else ""
        except UnicodeDecodeError as error:
            return error
        return None

    @cached_property
    def reading(self) -> yaml11.Text:
        """What it says, as Hydra reads it."""
        if self.misfit or not isinstance(self.raw, bytes):
            return yaml11.UNREADABLE
        return yaml11.read(self.text)

    @cached_property
    def marks(self) -> dict[KeyPath, Mark]:
        """Where each of its keys stands; paths are the file's own."""
        return placed(self.reading.node, self.shown)

    @cached_property
    def breaches(self) -> list[Diagnostic]:
        """How it breaks the schema of its group. Keys are the file's own."""
        document = self.reading.document
        if not (self.contract and isinstance(document, dict)):
            return []
        return schema.check_file(self.contract, document, self.locate)

    @cached_property
    def written(self) -> Written | None:
        """The policy that it holds; None when it holds none, or is completed by what it builds on."""
        raw = self.reading.document
        if self.group != "routing" or not isinstance(raw, dict) or "defaults" in raw:
            return None
        told = (undotted(breach.key) for breach in self.breaches)
        unread = chain(told, open_ends(raw))
        return Written(raw, self.package, self._located, frozenset((*self.package, *path) for path in unread))

    def _located(self, path: KeyPath, *, key: bool = False) -> Location:
        """``locate`` by the key that a composition has."""
        return self.locate(path[len(self.package) :], key=key)

    @property
    def start(self) -> Location:
        """Where it begins."""
        return Location(self.shown, 1, 1)

    def locate(self, path: KeyPath, *, key: bool = False) -> Location:
        """Where a value stands, or its key; see ``provenance.Locate``."""
        for length in range(len(path), -1, -1):
            if mark := self.marks.get(path[:length]):
                return mark.key if key or length < len(path) else mark.value
        return self.start

    @property
    def _below(self) -> Path:
        return self.path.relative_to(self.root)


def discover(roots: Sequence[Path] | None = None) -> list[File]:
    """Every file of configuration in these folders; without any, of the shipped one and the user's overlays.

    ``.yml`` files are among them, hidden ones and the backups of editors are not.
    """
    shipped = paths.shipped("conf")
    folders = paths.roots() if roots is None else roots
    return [File(root, path, own=root != shipped) for root in folders for path in _files(root)]


def check(file: File) -> list[Diagnostic]:
    """Everything that is wrong with a file by itself, in the order of the places."""
    return ordered(stamped(finding) for rule in FILE_CHECKS for finding in rule(file))


def _files(root: Path) -> Iterator[Path]:
    folders = ((Path(folder), names) for folder, _, names in os.walk(root))
    for path in sorted(folder / name for folder, names in folders if readable(folder) for name in names):
        visible = not any(part.startswith(".") for part in path.relative_to(root).parts)
        if visible and path.suffix.lower() in _SUFFIXES and path.is_file():
            yield path
