"""Results of probes in files, so that the processes of a machine ask a server once and not each.

    shared = Shared()
    if found := shared.fresh(profile, token, max_age_s=15.0):
        result, age_s = found
    else:
        with shared.probing(profile, token) as is_ours:
            if is_ours:
                result = probe(profile)
                shared.publish(profile, token, result)

There is one file for each question: two processes share an answer when whatever it depends on is the same, the token
included. Nothing here raises for what a file system does: where results cannot be shared, everybody probes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import platform
import re
import secrets as random
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

from filelock import FileLock, Timeout

from lmroute import redact
from lmroute.config.paths import user_state_dir
from lmroute.health.stored import from_json, to_json
from lmroute.model import Locality
from lmroute.providers.embedded.cache import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filelock import BaseFileLock

    from lmroute.model import Profile, Secret
    from lmroute.providers.probe import ProbeResult

LARGEST = 1_000_000
"""Bytes. What is longer is not shared: a list of that many models is rare, and every reader would parse it."""

_LONGEST_PAUSE_S = 300.0
"""A server that asks to be left alone is left alone by all processes, but not for days."""
_KEPT_S = 86_400.0
_SALT = "salt"
_SALT_BYTES = 32
_SALT_WAIT_S = 0.5
"""For another process that makes it in this moment."""
_UNUSABLE = (OSError, NotImplementedError)
"""What a folder raises that is read-only, a disk that is full, a file system without locks."""
_OURS = re.compile(r"\.?[0-9a-f]{32}\.(json|lock)(-.*)?")
"""Results, locks, and what a writer left that was killed half-way."""
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class Shared:
    """A folder of probes' results, one file a question.

    Args:
        folder: ``health`` in the user's state folder by default. It need not exist.
        monotonic, wall: clocks, in seconds. Python's monotonic one is the same for all processes of a machine.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder or user_state_dir() / "health"
        self._monotonic, self._wall = monotonic, wall

    def fresh(self, profile: Profile, token: Secret | None, max_age_s: float) -> tuple[ProbeResult, float] | None:
        """The last result that any process published, and its age in seconds; ``None`` when there is none so young.

        That of a server which asked to be left alone stays fresh for as long, at most five minutes. The age is the
        larger one by two clocks: after a reboot, a suspend or a clock set anew one of them is negative or too large.
        """
        salt = _read(self._folder / _SALT)
        if salt is None:
            return None
        try:
            told = _opened(salt, _read(self._folder / f"{_name(profile, token, salt)}.json"))
            result, since, at = from_json(told["result"]), float(told["monotonic"]), float(told["wall"])
        except (KeyError, TypeError, ValueError):
            return None
        ages = (self._monotonic() - since, self._wall() - at)
        longest = max(max_age_s, min(result.retry_after_s or 0.0, _LONGEST_PAUSE_S))
        return (result, max(ages)) if min(ages) >= 0 and max(ages) <= longest else None

    @contextmanager
    def probing(self, profile: Profile, token: Secret | None) -> Iterator[bool]:
        """Whether it is this process's turn to probe; ``False`` while another one is at it. Never waits.

        Who is told ``False`` finds the other's result with ``fresh`` in a moment. The other may hang or be stopped, so
        whoever has waited for as long as a probe takes, probes.
        """
        lock, is_ours = self._lock(profile, token)
        try:
            yield is_ours
        finally:
            if lock is not None:
                with suppress(OSError):
                    lock.release()

    def publish(self, profile: Profile, token: Secret | None, result: ProbeResult) -> None:
        """Let all processes have a result; one for which nobody was asked is not worth it."""
        if not result.tries:
            return
        told = {"monotonic": self._monotonic(), "wall": self._wall(), "result": to_json(result)}
        try:
            path = self._path(profile, token, "json")
            text = _sealed(self._salt(), redact.text(json.dumps(told)))
            if len(text) > LARGEST:
                path.unlink(missing_ok=True)  # rather no answer than the one before
            else:
                write_atomically(path, text)
            self._tidy()
        except _UNUSABLE:
            return

    def _lock(self, profile: Profile, token: Secret | None) -> tuple[BaseFileLock | None, bool]:
        """The lock, if it was to be had, and whether to probe: not when another process holds it."""
        try:
            path = self._path(profile, token, "lock")
        except _UNUSABLE:
            return None, True
        lock = FileLock(path, timeout=0, mode=0o600, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            return None, False
        except _UNUSABLE:
            return None, True
        return lock, True

    def _path(self, profile: Profile, token: Secret | None, ending: str) -> Path:
        return self._folder / f"{_name(profile, token, self._salt())}.{ending}"

    def _salt(self) -> bytes:
        """What makes names tell nothing and seals contents; made when it is missing.

        Raises:
            OSError, NotImplementedError: it cannot be kept.
        """
        path = self._folder / _SALT
        if salt := _read(path):
            return salt
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        with FileLock(f"{path}.lock", timeout=_SALT_WAIT_S, poll_interval=0.01, mode=0o600):
            if (salt := _read(path)) is None:  # nobody was faster
                write_atomically(path, random.token_hex(_SALT_BYTES))
                salt = _read(path)
        if salt is None:
            raise OSError(f"{path} is somebody else's")
        return salt

    def _tidy(self) -> None:
        """Remove what nobody has touched for a day, or touched in the future."""
        now = time.time()
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(OSError):  # another process was faster
                    if _OURS.fullmatch(entry.name) and abs(now - entry.stat(follow_symlinks=False).st_mtime) > _KEPT_S:
                        os.unlink(entry)  # noqa: PTH108  os.scandir's entries are no Path


def _name(profile: Profile, token: Secret | None, salt: bytes) -> str:
    """A name for everything that the answer depends on. It tells nothing of it to whoever sees a list of the folder.

    The machine counts, because home folders may be shared between machines and loopback is not.
    """
    question: list[Any] = [
        platform.node(),
        profile.id,  # messages name it
        profile.type,
        profile.endpoint,
        profile.locality,
        profile.models,
        profile.timeouts.connect_s,
        profile.load.mode,
        str(profile.auth_token),
        None if token is None else token.reveal(),
        [os.environ.get(name) for name in _CERTIFICATES],
        sorted(getproxies().items()) if profile.locality is Locality.CLOUD else None,
    ]
    return hmac.new(salt, json.dumps(question).encode(), hashlib.sha256).hexdigest()[:32]


def _sealed(salt: bytes, text: str) -> str:
    """A text below the seal that tells it from what is torn, edited by hand, or of another origin."""
    return f"{hmac.new(salt, text.encode(), hashlib.sha256).hexdigest()}\n{text}"


def _opened(salt: bytes, data: bytes | None) -> Any:
    """What was sealed, or ``None``.

    Raises:
        ValueError: it is no JSON: what looked like a secret was taken out of it.
    """
    seal, _, text = (data or b"").partition(b"\n")
    if not hmac.compare_digest(seal, hmac.new(salt, text, hashlib.sha256).hexdigest().encode()):
        return None
    return json.loads(text)


def _read(path: Path) -> bytes | None:
    """The contents of a file of one's own; ``None`` when there is none, or none of a sensible size.

    Opened without waiting, and only then looked at: in its place may be a pipe, or a link to somewhere else.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(path, flags), "rb") as file:  # noqa: PTH123  it is open already
            found = os.fstat(file.fileno())
            is_own = not hasattr(os, "getuid") or found.st_uid == os.getuid()
            data = file.read(LARGEST + 1) if stat.S_ISREG(found.st_mode) and is_own else b""
    except OSError:
        return None
    return data if 0 < len(data) <= LARGEST else None
