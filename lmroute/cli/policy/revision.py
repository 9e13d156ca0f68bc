"""A policy as a revision of git has it."""

from __future__ import annotations

import os
from pathlib import Path

from lmroute.config import paths
from lmroute.config.complaints import did_you_mean
from lmroute.errors import LmrouteError
from lmroute.validate.git import git


def in_revision(revision: str, name: str) -> tuple[str, str]:
    """The text of a policy in a revision, and how messages name its place.

    The repository is that of the current directory, and no other one: wherever else options may lie, the same name of
    a revision means something else there.

    Args:
        revision: whatever names a commit: ``main``, ``HEAD~2``, ``v1.0``.
        name: an option, looked for in the folders that lie in the repository, or a file from the current directory.

    Raises LmrouteError when git knows no such revision, or the revision no such policy.
    """
    repository = _repository()
    if not _has(repository, revision):
        raise LmrouteError(
            f"git knows no commit '{revision}' in the repository {repository}\n  help: name a commit, a branch or a tag"
        )
    is_file = name.endswith((".yaml", ".yml"))
    folders = [Path.cwd()] if is_file else [root for root in paths.roots() if _lies_in(repository, root)]
    file = name if is_file else f"routing/{name}.yaml"
    for folder in folders:
        if (text := _shown(folder, revision, file)) is not None:
            return text, f"{revision}:{paths.shown(folder / file)}"
    told = f"'{revision}' has no policy '{name}' in the repository {repository}"
    raise LmrouteError(f"{told}\n  help: {_advice(revision, name, folders, is_file=is_file)}")


def _repository() -> Path:
    """The root of the repository around the current directory."""
    found = git(Path.cwd(), "rev-parse", "--show-toplevel")
    if found.returncode:
        raise LmrouteError(f"{Path.cwd()} is in no git repository, so it has no revisions")
    return Path(os.fsdecode(found.stdout.rstrip(b"\r\n")))


def _lies_in(repository: Path, folder: Path) -> bool:
    return folder.is_dir() and folder.resolve().is_relative_to(repository.resolve())


def _has(folder: Path, revision: str) -> bool:
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    return git(folder, *words).returncode == 0


def _shown(folder: Path, revision: str, file: str) -> str | None:
    """A file of a revision; ``None`` when it has none such."""
    done = git(folder, "show", "--end-of-options", f"{revision}:./{Path(file).as_posix()}")
    if done.returncode:
        return None
    try:
        return done.stdout.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise LmrouteError(f"{revision}:{file}: cannot be read: not UTF-8") from None


def _advice(revision: str, name: str, folders: list[Path], *, is_file: bool) -> str:
    if is_file:
        return f"a file is looked for from the current directory, {folders[0]}"
    listed = [git(folder, "ls-tree", "--name-only", revision, "routing/").stdout.decode() for folder in folders]
    known = sorted({Path(line).stem for lines in listed for line in lines.splitlines() if line.endswith(".yaml")})
    if near := did_you_mean(name, known):
        return near
    is_elsewhere = name in paths.options("routing")  # as it is now
    hint = "; policies that lmroute ships, or your own folder has, are not in this repository" if is_elsewhere else ""
    return f"it has {', '.join(known) or 'none'} there{hint}"
