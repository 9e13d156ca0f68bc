"""Which files git says have changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute.config.paths import project, shipped
from lmroute.errors import LmrouteError
from lmroute.validate.git import GitUnavailable, git

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable

_NO_REPOSITORY = b"not a git repository (or any"
"""What git says where there is none; without the second half, one is broken."""


def changed_since(ref: str, roots: Iterable[Path]) -> frozenset[Path]:
    """The files below some folders that differ from a git ref, with those that are new to git, and those gone.

    Each folder answers for itself. Left out are a user's own folder that lies in no repository, and the shipped one
    unless one stands in its repository: a clone that lmroute runs from says nothing about somebody's project.

    Args:
        ref: anything that names a commit; empty for the last one, or for nothing where there is none yet.
        roots: existing folders, as ``lmroute.config.paths.roots`` has them.

    Raises LmrouteError when a folder's repository does not know the ref, when the project or every folder lies in no
    repository, and when git does not do its work.
    """
    folders = tuple(roots)
    asked = [root for root in folders if _takes_part(root)]
    if not asked:
        raise _no_repository(*(Path.cwd() if root == shipped("conf") else root for root in folders))
    return frozenset(root / name for root in asked for name in _names(_commit(ref, root), root))


def _takes_part(root: Path) -> bool:
    if root == shipped("conf"):
        above = _repository(root)
        return above is not None and above == _repository(Path.cwd())
    own = project()
    return (own is not None and root == own / "conf") or _is_in_repository(root)


def _repository(folder: Path) -> Path | None:
    """The root of the repository around a folder, also of one that git would not let us look into."""
    here = folder.resolve()
    return next((above for above in (here, *here.parents) if (above / ".git").exists()), None)


def _is_in_repository(folder: Path) -> bool:
    """Raises LmrouteError with git's own words when there is one that git does not read: it may be somebody else's."""
    found = _git(folder, "rev-parse", "--git-dir")
    if found.returncode and _NO_REPOSITORY not in found.stderr:
        raise LmrouteError(f"git could not read the repository of {folder}: {_text(found.stderr).strip()}")
    return not found.returncode


def _commit(ref: str, folder: Path) -> str:
    """The object that files are compared with. Raises LmrouteError when there is none."""
    if not _is_in_repository(folder):
        raise _no_repository(folder)
    found = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref or 'HEAD'}^{{commit}}")
    if found.returncode and not ref:  # before the first commit: the empty tree
        found = _git(folder, "hash-object", "-t", "tree", "--stdin")
    if found.returncode:
        shallow = _git(folder, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true"
        fix = "; this clone is shallow: `git fetch --unshallow` brings the older ones" if shallow else ""
        raise LmrouteError(f"git knows no commit {ref!r} for {folder}: name a commit, a branch or a tag{fix}")
    return _text(found.stdout).strip()


def _no_repository(*folders: Path) -> LmrouteError:
    listed = ", ".join(map(str, folders))
    return LmrouteError(f"{listed}: not in a git repository; leave --changed out to check every file")


def _names(commit: str, folder: Path) -> list[str]:
    # of a renamed file, both names: the old one is gone
    tracked = _git(folder, "diff", "--name-only", "--no-renames", "--relative", "-z", commit, "--", ".")
    new = _git(folder, "ls-files", "--others", "--exclude-standard", "-z", "--", ".")
    for done in (tracked, new):
        if done.returncode:
            raise LmrouteError(f"git could not list the changes of {folder}: {_text(done.stderr).strip()}")
    return [name for name in _text(tracked.stdout + new.stdout).split("\0") if name]


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return git(folder, *words)
    except GitUnavailable as error:
        raise LmrouteError(f"{error}; leave --changed out to check every file") from error


def _text(output: bytes) -> str:
    return os.fsdecode(output)
