"""Which files git says have changed."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TIMEOUT_S = 20.0
_OF_A_HOOK = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"}
"""What git sets for its hooks; it may be relative to another directory than ours."""


def changed_since(ref: str, roots: Iterable[Path]) -> frozenset[Path]:
    """The files below some folders that differ from a git ref, with those that are new to git, and those gone.

    Folders that lie in no repository that knows the ref have no part in it.

    Args:
        ref: anything that names a commit; empty for the last one, or for nothing where there is none yet.

    Raises LmrouteError when none of the folders lies in such a repository, or git does not do its work.
    """
    folders = tuple(roots)
    commits = {root: commit for root in folders if (commit := _commit(ref, root))}
    if not commits:
        listed = ", ".join(map(str, folders))
        raise LmrouteError(
            f"git knows no commit {ref!r} for {listed}: name a commit, a branch or a tag"
            if any(map(_is_in_repository, folders))
            else f"{listed}: not in a git repository; leave --changed out to check every file"
        )
    return frozenset(root / name for root, commit in commits.items() for name in _names(commit, root))


def _is_in_repository(folder: Path) -> bool:
    return _git(folder, "rev-parse", "--git-dir").returncode == 0


def _commit(ref: str, folder: Path) -> str:
    """The object that files are compared with; empty when there is none."""
    found = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref or 'HEAD'}^{{commit}}")
    if found.returncode and not ref and _is_in_repository(folder):  # before the first commit: the empty tree
        found = _git(folder, "hash-object", "-t", "tree", "--stdin")
    return "" if found.returncode else _text(found.stdout).strip()


def _names(commit: str, folder: Path) -> list[str]:
    tracked = _git(folder, "diff", "--name-only", "--relative", "-z", commit, "--", ".")
    new = _git(folder, "ls-files", "--others", "--exclude-standard", "-z", "--", ".")
    for done in (tracked, new):
        if done.returncode:
            raise LmrouteError(f"git could not list the changes of {folder}: {_text(done.stderr).strip()}")
    return [name for name in _text(tracked.stdout + new.stdout).split("\0") if name]


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    try:
        return subprocess.run(
            ["git", "--no-optional-locks", *words],  # noqa: S607  whichever git the user has
            cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LmrouteError(f"git did not answer within {TIMEOUT_S:g} s in {folder}") from None
    except (OSError, ValueError) as error:
        raise LmrouteError(f"git cannot be run ({error}); leave --changed out to check every file") from error


def _text(output: bytes) -> str:
    return os.fsdecode(output)
