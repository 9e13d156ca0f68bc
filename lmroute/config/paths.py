"""Where configuration lies: what lmroute ships, and what a user adds."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

_PACKAGE = Path(__file__).resolve().parents[1]


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


def overlays() -> tuple[Path, ...]:
    """The existing folders that add group files to the shipped ones."""
    folder = user_config_dir()
    return (folder,) if folder.is_dir() else ()


def options(group: str) -> list[str]:
    """The names one can choose in a group, shipped and added: ``options("provider")``."""
    folders = [root / group for root in (shipped("conf"), *overlays())]
    return sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})


def shown(file: Path) -> str:
    """A path as a message should show it: relative to the current directory when it lies in it."""
    try:
        return file.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(file)
