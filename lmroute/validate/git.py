"""Ask git, without waiting for ever and without what its hooks set."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 20.0
_OF_A_HOOK = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"}
"""What git sets for its hooks; it may be relative to another directory than ours."""


class GitUnavailable(LmrouteError):
    """There is no git to run."""


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run a git command in a folder, with messages in English.

    Raises LmrouteError when git does not answer, GitUnavailable when it cannot be run.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    environment["LC_ALL"] = "C"  # its messages are told apart
    try:
        return subprocess.run(
            ["git", "--no-optional-locks", *words],  # noqa: S607  whichever git the user has
            cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LmrouteError(f"git did not answer within {TIMEOUT_S:g} s in {folder}") from None
    except (OSError, ValueError) as error:
        raise GitUnavailable(f"git cannot be run ({error})") from error
