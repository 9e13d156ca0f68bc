"""A policy as a revision of git has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lmroute.config import paths
from lmroute.config.complaints import did_you_mean
from lmroute.errors import LmrouteError
from lmroute.validate.git import git

if TYPE_CHECKING:
    from collections.abc import Iterator


def in_revision(revision: str, name: str) -> tuple[str, str]:
    """The text of a policy in a revision, and how messages name its place.

    Args:
        revision: whatever names a commit: ``main``, ``HEAD~2``, ``v1.0``.
        name: an option, looked for in the folders that lie in a repository, or a file from the current directory.

    Raises LmrouteError when git knows no such revision, or the revision no such policy.
    """
    folders = [(Path.cwd(), name)] if name.endswith((".yaml", ".yml")) else list(_options(name))
    known = [folder for folder, _ in folders if _has(folder, revision)]
    if not known:
        _require_repository(folders[0][0])
        raise LmrouteError(f"git knows no commit '{revision}': name a commit, a branch or a tag")
    for folder, file in folders:
        if folder in known and (text := _shown(folder, revision, file)) is not None:
            return text, f"{revision}:{paths.shown(folder / file)}"
    raise LmrouteError(f"'{revision}' has no policy '{name}': {_advice(revision, name, known)}")


def _options(name: str) -> Iterator[tuple[Path, str]]:
    yield from ((root, f"routing/{name}.yaml") for root in paths.roots())


def _has(folder: Path, revision: str) -> bool:
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    return git(folder, *words).returncode == 0


def _require_repository(folder: Path) -> None:
    if git(folder, "rev-parse", "--git-dir").returncode:
        raise LmrouteError(f"{folder} is in no git repository, so it has no revisions")


def _shown(folder: Path, revision: str, file: str) -> str | None:
    """A file of a revision; ``None`` when it has none such."""
    done = git(folder, "show", "--end-of-options", f"{revision}:./{Path(file).as_posix()}")
    if done.returncode:
        return None
    try:
        return done.stdout.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise LmrouteError(f"{revision}:{file}: cannot be read: not UTF-8") from None


def _advice(revision: str, name: str, folders: list[Path]) -> str:
    listed = [git(folder, "ls-tree", "--name-only", revision, "routing/").stdout.decode() for folder in folders]
    known = sorted({Path(line).stem for lines in listed for line in lines.splitlines()})
    return did_you_mean(name, known) or f"it has {', '.join(known) or 'none'}"
