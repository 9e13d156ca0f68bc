"""Start a server process, and say why when it does not come up."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lmroute import redact
from lmroute.errors import EmbeddedUnavailable
from lmroute.model import Secret
from lmroute.providers.embedded.lease import Lease

if TYPE_CHECKING:
    from lmroute.providers.embedded.lease import Plan

_SCRIPT = Path(__file__).with_name("serve.py")
_LLAMA_ERROR = re.compile(r"^[\d.]+ E (?P<complaint>.+)", re.MULTILINE)


class Child:
    """A server process that this process started and therefore has to reap."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._reaper = threading.Thread(target=process.wait, name="lmroute-embedded-reaper", daemon=True)
        self._reaper.start()

    def reap(self, timeout: float) -> None:
        """Wait until the ended process is no zombie any more."""
        self._reaper.join(timeout)


def launch(plan: Plan, lease_path: Path, load_s: float, until: float) -> tuple[Lease, Child]:
    """Start a server for ``plan`` and wait until its model is loaded, until the monotonic clock shows ``until``.

    It ends soon unless somebody takes hold of it. ``load_s`` is the patience that was asked for, which a message names.

    Raises:
        EmbeddedUnavailable: it did not come up; the message quotes its log.
    """
    key = secrets.token_hex(32)
    redact.remember(key)
    log = lease_path.with_suffix(".log")
    wish = {
        "model": str(plan.model),
        "model_id": plan.model_id,
        "context_window": plan.context_window,
        "api_key": key,
        "lease": str(lease_path),
        "load_s": load_s,
    }
    with _private(log) as complaints:
        process = _spawn(complaints, lease_path.parent)
    ready = _ask(process, json.dumps(wish), max(until - time.monotonic(), 0.0))
    if ready is None:
        late = time.monotonic() >= until
        reason = f"not loaded after {load_s:g} s; raise timeouts.load_s" if late else _last_words(log)
        raise EmbeddedUnavailable(
            f"llama.cpp could not load {plan.model}: {reason or f'exit status {process.returncode}'}\n(log: {log})"
        )
    return Lease(ready["pid"], ready["base_url"], ready["port"], Secret(key)), Child(process)


def _spawn(complaints: IO[bytes], folder: Path) -> subprocess.Popen[str]:
    """The process, in a session of its own: Ctrl-C in one terminal must not end it under another holder."""
    return subprocess.Popen(
        [sys.executable, "-P", str(_SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        cwd=folder,  # not the user's working folder, which may be removed while the server lives
        # OpenMP's threads spin while they wait, which starves them when the cores are busy: 3 tokens/s instead of 60.
        env={"OMP_WAIT_POLICY": "passive", **os.environ},
        encoding="utf-8",
        **_detached(),
    )


def _detached() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _ask(process: subprocess.Popen[str], wish: str, patience: float) -> Any:
    """Hand over the wish and wait for the answer; ``None`` when the process ended, or was ended, without one."""
    clock = threading.Timer(patience, process.kill)
    clock.start()
    try:
        answer = _exchange(process, wish)
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        clock.cancel()
    if not answer:
        process.wait()
        return None
    return json.loads(answer)


def _exchange(process: subprocess.Popen[str], wish: str) -> str:
    assert process.stdin is not None  # noqa: S101 - both were asked for as pipes
    assert process.stdout is not None  # noqa: S101
    with process.stdout:
        try:
            with process.stdin:
                process.stdin.write(f"{wish}\n")
        except OSError:  # it has ended already
            return ""
        return process.stdout.readline()


def _private(path: Path) -> IO[bytes]:
    """An empty file for this user's eyes only."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _last_words(log: Path) -> str:
    """Why the process gave up: llama.cpp's first complaint (the ones that follow repeat it), else the last line."""
    text = log.read_text(encoding="utf-8", errors="replace")
    if "libgomp" in text:
        return "it needs the GNU OpenMP library libgomp.so.1; install it, e.g. apt-get install libgomp1"
    complaint = _LLAMA_ERROR.search(text)
    lines = text.strip().splitlines()
    return redact.text(complaint["complaint"] if complaint else lines[-1] if lines else "")
