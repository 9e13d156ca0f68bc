"""Which files of tests there are, and which of them a command line means."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute.config.complaints import did_you_mean
from lmroute.config.packages import POLICY_TESTS
from lmroute.config.paths import options
from lmroute.errors import LmrouteError
from lmroute.validate.files import File, discover

if TYPE_CHECKING:
    from collections.abc import Sequence

_SUFFIXES = (".yaml", ".yml")


class _Elsewhere(File):
    """A file of tests that does not lie where they are looked for."""

    @cached_property
    def group(self) -> str:
        return POLICY_TESTS

    @cached_property
    def name(self) -> str:
        return self.path.stem


def find(words: Sequence[str] = ()) -> list[File]:
    """The files that are meant, each once; without words, all there are.

    Args:
        words: names of files of tests or of policies that are tested, and paths.

    Raises LmrouteError for a word that means none.
    """
    known = [file for file in discover() if file.is_policy_test and file.path.suffix == ".yaml"]
    if not words:
        return known
    return list({file.path.resolve(): file for word in words for file in _meant(word, known)}.values())


def policy_of(file: File) -> str:
    """The policy that a file tests."""
    document = file.reading.document
    named = document.get("policy") if isinstance(document, dict) else None
    return named if isinstance(named, str) else file.path.stem


def _meant(word: str, known: Sequence[File]) -> list[File]:
    if word.endswith(_SUFFIXES) or "/" in word or os.sep in word:
        return [_at(Path(word).absolute(), known)]
    if found := [file for file in known if word in {file.name, policy_of(file)}]:
        return found
    if word in options("routing"):
        raise LmrouteError(f"policy '{word}' has no tests\n  help: write conf/{POLICY_TESTS}/{word}.yaml")
    names = sorted({file.name for file in known} | {policy_of(file) for file in known})
    advice = did_you_mean(word, names) or f"there are {', '.join(names)}"
    raise LmrouteError(f"there are no policy tests '{word}'\n  help: {advice}")


def _at(path: Path, known: Sequence[File]) -> File:
    if not path.is_file():
        raise LmrouteError(f"{path}: there is no such file")
    same = (file for file in known if file.path.resolve() == path.resolve())
    return next(same, _Elsewhere(path.parent, path, own=True))
