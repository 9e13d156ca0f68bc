"""The script that makes the stand-in the ``lms`` of a PATH."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from lmroute.emulator.lms.address import VARIABLE
from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from pathlib import Path

MODULE = "lmroute.emulator.lms"
_MARK = f"{MODULE}: a stand-in for LM Studio's lms"


def install(folder: Path, url: str = "") -> Path:
    """Write the script ``lms`` (on Windows ``lms.cmd``) into ``folder`` and return its path.

    Args:
        url: the emulator that the script commands where neither command line nor variable names one.

    Raises:
        LmrouteError: when it cannot be written, or something that is not ours has that name.
    """
    windows = sys.platform == "win32"
    path = folder / ("lms.cmd" if windows else "lms")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists() and _MARK not in path.read_text(encoding="utf-8", errors="replace"):
            raise LmrouteError(f"{path} is not the stand-in, so it is left alone; choose another folder")
        path.write_text(_batch(url) if windows else _shell(url), encoding="utf-8", newline="")
        path.chmod(0o755)
    except OSError as error:
        raise LmrouteError(f"{path}: the script cannot be written: {error.strerror}") from error
    return path


def _shell(url: str) -> str:
    default = f'export {VARIABLE}="${{{VARIABLE}:-{url}}}"\n' if url else ""
    return f'#!/bin/sh\n# {_MARK}\n{default}exec {shlex.quote(sys.executable)} -m {MODULE} "$@"\n'


def _batch(url: str) -> str:
    default = f"if not defined {VARIABLE} set {VARIABLE}={url}\r\n" if url else ""
    return f'@echo off\r\nrem {_MARK}\r\nsetlocal\r\n{default}"{sys.executable}" -m {MODULE} %*\r\n'
