"""The note by which processes find a running server: one file for each model as it is loaded."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.model import Secret
from lmroute.providers.embedded.cache import write_atomically

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Plan:
    """A model as it is to be served: equal plans share a server.

    Attributes:
        model: absolute path of the GGUF file.
        model_id: the name it answers to.
        context_window: tokens of prompt and answer together.
    """

    model: Path
    model_id: str
    context_window: int

    def identity(self) -> str:
        """A file name for everything that makes a server another one, the file's content (by its times) included.

        The machine counts too, because home folders may be shared between machines and loopback is not.
        """
        facts = self.model.stat()
        content = (self.model, facts.st_size, facts.st_mtime_ns)
        parts = (*content, self.model_id, self.context_window, _llama_version(), platform.node())
        whole = "\0".join(str(part) for part in parts)
        return f"server-{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


def _llama_version() -> str:
    try:
        return version("xllamacpp")
    except PackageNotFoundError:  # built and put on the path by hand
        return ""


@dataclass(frozen=True, slots=True)
class Lease:
    """Where a server is.

    Attributes:
        pid: its process id.
        base_url: its HTTP address, without ``/v1``.
        port: where it takes lifelines.
        api_key: opens both.
    """

    pid: int
    base_url: str
    port: int
    api_key: Secret


def write_lease(path: Path, lease: Lease) -> None:
    """Publish a lease, readable for this user only."""
    shown = {"pid": lease.pid, "base_url": lease.base_url, "port": lease.port}
    write_atomically(path, json.dumps({**shown, "api_key": lease.api_key.reveal()}))


def read_lease(path: Path) -> Lease | None:
    """The lease at ``path``, or ``None`` where there is none to be read. It may be of a server long gone."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        redact.remember(note["api_key"])
        return Lease(int(note["pid"]), note["base_url"], int(note["port"]), Secret(note["api_key"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
