"""Where a file stands in the repository: CI systems show a finding beside the code only when they know that."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmroute.diagnostics import Location


def is_file(location: Location) -> bool:
    """Whether a place is in a file or folder, and not on the command line or nowhere in particular."""
    return not location.override and not location.file.startswith("<")


def repository() -> Path:
    """The root of the repository: what GitHub says, else the nearest folder above with ``.git``, else this one."""
    if workspace := os.environ.get("GITHUB_WORKSPACE"):
        return Path(workspace)
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)


def in_repository(location: Location, root: Path) -> str | None:
    """The path of a location's file from the root of the repository, with slashes; ``None`` outside of it."""
    if not is_file(location):
        return None
    file = absolute(location)
    for inner, outer in ((file, root), (file.resolve(), root.resolve())):  # either may have been reached by a link
        if inner.is_relative_to(outer):
            return inner.relative_to(outer).as_posix()
    return None


def absolute(location: Location) -> Path:
    """The file of a location."""
    return Path(os.path.normpath(Path.cwd() / location.file))
