"""Download models with LM Studio, which does it by itself: whoever watches may leave and come back."""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from lmroute.errors import LmrouteError, ProviderUnavailable
from lmroute.providers.http import WIRE_ERRORS, Unreadable
from lmroute.providers.inventory.models import tokens
from lmroute.providers.lmstudio.refusals import accepted, is_unknown_job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from lmroute.providers.http import Reply
    from lmroute.providers.inventory import Line

    OpenLine: TypeAlias = Callable[[], AbstractContextManager[Line]]

EVERY_S = 1.0
_DOWNLOAD = "/api/v1/models/download"
_LINK = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_HUB = re.compile(r"https://huggingface\.co/[^/\s]+/[^/\s]", re.IGNORECASE)
_UNKNOWN_KEY = "a key is written as on lmstudio.ai/models (publisher/name); or give a https://huggingface.co/ address"
_UNKNOWN_LINK = "open it in a browser: is it spelt so, and public? LM Studio takes repositories with GGUF or MLX files"
_PATIENCE = 10
"""Questions in a row that may go wrong: a server that is busy, or a machine that slept, is no end of a download."""


class Status(StrEnum):
    """How far a download is."""

    ALREADY_DOWNLOADED = "already_downloaded"
    DOWNLOADING = "downloading"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is, as the server tells. ``None`` where it does not.

    Attributes:
        job: the server's name for it; empty when there was nothing to do.
        done, total: bytes.
        bytes_per_s: how fast it is now.
    """

    status: Status
    job: str = ""
    done: int = 0
    total: int | None = None
    bytes_per_s: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes by itself."""
        return self.status is not Status.DOWNLOADING

    @property
    def left_s(self) -> float | None:
        """Seconds that it takes still, if it goes on like this."""
        if self.total is None or not self.bytes_per_s:
            return None
        return max(0, self.total - self.done) / self.bytes_per_s


def download(
    opened: OpenLine,
    model: str,
    quantization: str | None = None,
    *,
    wait: Callable[[float], object] = time.sleep,
) -> Iterator[Progress]:
    """Have LM Studio download a model, and tell how far it is until that is over.

    To stop asking stops no download. One that is under way is joined.

    Args:
        opened: opens a line to the server, for one question each time.
        model: a key of LM Studio's catalogue, or the address of a repository on Hugging Face.
        quantization: which of a repository's files.
        wait: waits so many seconds between two questions.

    Raises:
        LmrouteError: an address is none of a repository on Hugging Face, or ``quantization`` comes with a key.
        ModelMissing, TokenRefused, ProviderUnavailable: the server refuses, or forgot the download.
        Unreadable, and httpcore's errors, when the server does not answer.
    """
    is_link = bool(_LINK.match(model))
    if is_link and not _HUB.match(model):
        raise LmrouteError(
            f"{model} is not the address of a repository on Hugging Face\n"
            "  help: write https://huggingface.co/USER/REPOSITORY, or a key of lmstudio.ai/models"
        )
    if quantization and not is_link:
        raise LmrouteError(
            f"a quantization goes with a Hugging Face address, and {model} is none\n"
            f"  help: leave it out, or write https://huggingface.co/{model.removeprefix('huggingface.co/')}"
        )
    wanted = {"model": model} | ({"quantization": quantization} if quantization else {})
    with opened() as line:
        reply, advice = line.ask_root(_DOWNLOAD, wanted), _UNKNOWN_LINK if is_link else _UNKNOWN_KEY
        now = _read(line, accepted(line, reply, f"{model} is not downloaded", advice, deed="download"))
    yield now
    while not now.is_over:
        wait(EVERY_S)
        now = _asked(opened, model, now.job, wait)
        yield now


def _asked(opened: OpenLine, model: str, job: str, wait: Callable[[float], object]) -> Progress:
    for tries_left in reversed(range(_PATIENCE)):
        try:
            with opened() as line:
                return _told(line, line.ask_root(f"{_DOWNLOAD}/status/{quote(job, safe='')}"), model)
        except (*WIRE_ERRORS, Unreadable):
            if not tries_left:
                raise
            wait(EVERY_S)
    raise AssertionError("unreachable")


def _told(line: Line, reply: Reply, model: str) -> Progress:
    if is_unknown_job(reply):
        raise ProviderUnavailable(
            f"{line.root} has forgotten the download of {model}; was it started anew?\n"
            f"  help: ask for it again: lmroute models download {shlex.quote(model)}"
        )
    return _read(line, accepted(line, reply, f"{line.root} does not tell how far {model} is", deed="download"))


def _read(line: Line, body: dict[str, Any]) -> Progress:
    known = {status.value for status in Status}
    job, speed = body.get("job_id"), body.get("bytes_per_second")
    status = body.get("status")
    if status not in known or (status == Status.DOWNLOADING and not isinstance(job, str)):
        raise ProviderUnavailable(f"{line.root} tells of a download in words that lmroute does not know")
    return Progress(
        Status(status),
        job if isinstance(job, str) else "",
        tokens(body.get("downloaded_bytes")) or 0,
        tokens(body.get("total_size_bytes")),
        float(speed) if isinstance(speed, int | float) and not isinstance(speed, bool) else None,
    )
