"""Where lmroute keeps what it fetched and what it shares between processes, and whether it may fetch at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import platformdirs

_NO = frozenset({"", "0", "false", "no", "off"})


def cache_dir() -> Path:
    """The user's cache folder for lmroute; ``LMROUTE_CACHE_DIR`` overrides it. It need not exist yet."""
    override = os.environ.get("LMROUTE_CACHE_DIR")
    if override:
        return Path(override).expanduser().resolve()
    return platformdirs.user_cache_path("lmroute", appauthor=False)


def offline() -> bool:
    """Whether ``LMROUTE_OFFLINE`` forbids fetching; any value but 0, false, no and off does."""
    return os.environ.get("LMROUTE_OFFLINE", "").strip().lower() not in _NO


def private_folder(name: str) -> Path:
    """A folder of the cache that only this user may look into; made when it is missing."""
    folder = cache_dir() / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def write_atomically(path: Path, text: str) -> None:
    """Put ``text`` into ``path``, mode 0600: a reader sees the old file or the whole new one."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mkstemp makes it 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
