"""What a code means: its row of the table, and a bad and a good example that are really run.

An example is a folder ``examples/<code>/{bad,good}``: files as they would lie in a configuration folder of one's own,
and in ``overrides.txt`` the command line, a word a line. Without overrides the files are checked by themselves.
"""

from __future__ import annotations

import os
import shlex
from contextlib import chdir, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lmroute.validate import selection
from lmroute.validate.reporters.words import COMMAND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.diagnostics import Report

EXAMPLES = Path(__file__).parent / "examples"
_OVERRIDES = "overrides.txt"
_HOME = "LMROUTE_CONFIG_HOME"


@dataclass(frozen=True, slots=True)
class Example:
    """Files by their path in a configuration folder, and the command line that is checked."""

    files: dict[str, str]
    overrides: tuple[str, ...]

    @property
    def command(self) -> str:
        """What one would type."""
        return shlex.join([*COMMAND, *(self.overrides or ("--files-only",))])

    def check(self) -> Report:
        """What ``lmroute validate`` says about it."""
        with _laid_out(self.files):
            report = selection.run(selection.Request(overrides=self.overrides, files_only=not self.overrides))
            return replace(report, folders=())  # a temporary one tells nobody anything


def example(code: str, kind: str) -> Example | None:
    """The ``bad`` or the ``good`` example of a code; none where only a running server can show one."""
    folder = EXAMPLES / code / kind
    if not folder.is_dir():
        return None
    texts = {
        file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8")
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    overrides = texts.pop(_OVERRIDES, "")
    return Example(texts, tuple(overrides.splitlines()))


@contextmanager
def _laid_out(files: dict[str, str]) -> Iterator[None]:
    """The files in a configuration folder, which is the current folder too, so that messages name them shortly."""
    before = os.environ.get(_HOME)
    with TemporaryDirectory(prefix="lmroute-") as made:
        folder = Path(made).resolve()
        for name, text in files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="")
        try:
            os.environ[_HOME] = str(folder)
            with chdir(folder):
                yield
        finally:
            os.environ.pop(_HOME)
            if before is not None:
                os.environ[_HOME] = before
