"""The rule about files that change nothing, because Hydra never reads them."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from lmroute.config import packages, paths
from lmroute.config.complaints import did_you_mean
from lmroute.diagnostics import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lmroute.validate.files import File

_ELSEWHERE = "hydra"
"""The folder of Hydra's own groups: launchers, sweepers, logging."""


def never_read(file: File) -> Iterator[Diagnostic]:
    """LMR004: a file with the wrong suffix or folder, or under a name that an earlier folder has already."""
    if found := _reason(file):
        message, advice = found
        yield Diagnostic("LMR004", message, file.start, help=advice)


def _reason(file: File) -> tuple[str, str] | None:
    if file.path.suffix != ".yaml":
        reader = "lmroute policy test" if file.is_policy_test else "Hydra"
        return f"{reader} reads .yaml files and never {file.path.suffix}", f"rename it to {file.path.stem}.yaml"
    if file.is_policy_test:  # of two with one name, both are run
        return None
    if not file.group:
        return _at_the_root(file)
    if file.group not in {*packages.GROUPS, _ELSEWHERE}:
        return _in_no_group(file)
    if earlier := _earlier(file):
        what = "another name, in its header and its id too" if file.group == "provider" else "another name"
        return f"{paths.shown(earlier)} is read instead of this file", f"give it {what}"
    return None


def _at_the_root(file: File) -> tuple[str, str] | None:
    if file.own and file.name == "config":
        advice = "put choices and settings in experiment/NAME.yaml and add +experiment=NAME"
        return "a config.yaml of your own is never read; the shipped one is", advice
    return None


def _in_no_group(file: File) -> tuple[str, str] | None:
    if _spreads(file):  # a group of the user's own, whose files say that they set keys of ours: +mine=NAME
        return None
    near = did_you_mean(file.group, packages.GROUPS)
    return f"'{file.group}' is no group", near or f"the folders of groups are {', '.join(packages.GROUPS)}"


def _spreads(file: File) -> bool:
    try:
        return packages.composed(packages.header(file.text), file.group) == ""
    except ValueError:
        return False


def _earlier(file: File) -> Path | None:
    """The file that Hydra finds first under the same name."""
    inner = file.path.relative_to(file.root)
    before = takewhile(lambda root: root != file.root, paths.roots()) if file.own else ()
    return next((root / inner for root in before if (root / inner).is_file()), None)
