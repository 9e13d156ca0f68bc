"""Writing a file so that it is there as a whole or not at all."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, text: str, again: str = "say 'lmroute init' again; it goes on from there") -> None:
    """Write a text file and the folders above it; one that is there keeps its mode, a link leads on.

    Args:
        again: what a person does after mending what was in the way.

    Raises:
        LmrouteError: it cannot be written.
    """
    target = path.resolve()
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8", newline="\n")
        if target.exists():
            shutil.copymode(target, partial)
        partial.replace(target)
    except OSError as error:
        raise LmrouteError(f"{path}: cannot be written: {error.strerror}\n  help: mend that and {again}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
