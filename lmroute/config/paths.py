"""Where configuration lies: what lmroute ships, and what a user adds."""

from __future__ import annotations

import os
import sys
from itertools import takewhile
from pathlib import Path

import platformdirs

_PACKAGE = Path(__file__).resolve().parents[1]
MARKER = ".lmroute"
"""The file in a project's ``conf`` that says it is lmroute's. Its contents do not matter."""


def shipped(name: str) -> Path:
    """A folder or file that lmroute ships: ``conf``, ``schemas``, ``examples/data``.

    It lies inside the package in a wheel and beside the package in a checkout.
    """
    inside = _PACKAGE / name
    return inside if inside.exists() else _PACKAGE.parent / name


def user_config_dir() -> Path:
    """The user's own configuration folder, which need not exist. ``LMROUTE_CONFIG_HOME`` overrides it."""
    chosen = os.environ.get("LMROUTE_CONFIG_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return platformdirs.user_config_path("lmroute", appauthor=False, roaming=True)


def user_state_dir() -> Path:
    """Where what programs leave for each other is kept, such as spent budgets. ``LMROUTE_STATE_HOME`` overrides it."""
    chosen = os.environ.get("LMROUTE_STATE_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return platformdirs.user_state_path("lmroute", appauthor=False)


def project() -> Path | None:
    """The root of the project one is in, if one is: the folder whose ``conf`` has the marker file ``.lmroute``.

    It is the current directory, or the nearest one above it up to the root of the git repository or the home
    directory; outside of both, no other one is looked at. ``lmroute init`` writes the marker, because ``conf`` is
    what every program with Hydra calls its folder. A ``conf`` that belongs to somebody else is no project of ours:
    its profiles could run commands.
    """
    return next((folder for folder in _own_folders(Path.cwd()) if _is_project(folder / "conf")), None)


def unmarked() -> list[Path]:
    """The folders ``conf``, from the current directory up to the project, that only lack the marker; nearest first.

    What is somebody else's is not among them, nor what is read all the same: what lmroute ships, the user's folder.
    """
    root, known = project(), {folder.resolve() for folder in roots()}
    nearer = takewhile(lambda folder: folder != root, _own_folders(Path.cwd()))
    return [conf for folder in nearer if _is_trusted(conf := folder / "conf") and conf.resolve() not in known]


def overlays() -> tuple[Path, ...]:
    """The existing folders that add group files to the shipped ones; of two files of one name the first one wins."""
    root, user = project(), user_config_dir()
    folders = [*([root / "conf"] if root else []), *([user] if user.is_dir() else [])]
    return tuple(dict.fromkeys(folders))


def roots() -> tuple[Path, ...]:
    """Every folder of group files, in the order in which Hydra looks into them: the shipped one, the overlays."""
    return (shipped("conf"), *overlays())


def files(group: str) -> list[Path]:
    """The files of a group, the shipped ones first."""
    return [file for root in roots() for file in sorted((root / group).glob("*.yaml"))]


def options(group: str) -> list[str]:
    """The names one can choose in a group, shipped and added: ``options("provider")``."""
    return sorted({file.stem for file in files(group)})


def shown(file: Path) -> str:
    """A path as a message should show it: relative to the current directory when it lies in it."""
    try:
        return file.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(file)


def _own_folders(here: Path) -> list[Path]:
    """A directory and those above it that surely are the same person's: up to a repository's root, or to home."""
    above = [here, *here.parents]
    home = Path(os.path.realpath(os.path.expanduser("~")))  # noqa: PTH111  Path.home() raises where there is none
    end = next((index for index, folder in enumerate(above) if (folder / ".git").exists() or folder == home), 0)
    return above[: end + 1]


def _is_project(conf: Path) -> bool:
    try:
        found = (conf / MARKER).is_file() and conf.resolve() != shipped("conf").resolve()
        return found and _is_trusted(conf)
    except OSError:  # a folder that may not be looked into
        return False


def _is_trusted(conf: Path) -> bool:
    try:
        return conf.is_dir() and conf.stat().st_uid in _trusted()
    except OSError:
        return False


def _trusted() -> set[int]:
    """Whose files may configure us: the administrator's, one's own, those of whoever owns the current directory."""
    own = {os.getuid()} if sys.platform != "win32" else set()
    return {0, Path.cwd().stat().st_uid, *own}
