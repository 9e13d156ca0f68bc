"""The embedded server as the rest of lmroute sees it: acquire it, talk to it, let go of it."""

from __future__ import annotations

import atexit
import os
import threading
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Self

from filelock import FileLock, Timeout

from lmroute.errors import EmbeddedUnavailable, MissingExtra
from lmroute.forks import in_child
from lmroute.providers.embedded.cache import cache_dir, private_folder
from lmroute.providers.embedded.fetch import Fetch, ensure_weights
from lmroute.providers.embedded.gguf import read_header
from lmroute.providers.embedded.launch import Child, launch
from lmroute.providers.embedded.lease import Lease, Plan, read_lease, write_lease
from lmroute.providers.embedded.lifeline import Lifeline, take_hold
from lmroute.providers.embedded.weights import SMOLLM2

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

_REAP_S = 5.0


@dataclass(slots=True)
class _Hold:
    """This process's one lifeline to a server, shared by everybody in it."""

    lease: Lease
    lifeline: Lifeline
    child: Child | None
    users: int = 0

    def release(self) -> None:
        """Let go of the server, and reap it if it was ours and has ended."""
        if self.lifeline.release() and self.child:
            self.child.reap(_REAP_S)


_holds: dict[tuple[int, str], _Hold] = {}  # by process id as well: a forked child takes a lifeline of its own
_lock = threading.Lock()


@in_child
def _begin_in_child() -> None:
    global _lock  # noqa: PLW0603 - it is the process's
    _lock = threading.Lock()  # the parent may have been loading a model


class EmbeddedServer:
    """A running llama.cpp server with one model, shared with other threads and processes that want the same.

    Attributes:
        DEFAULT_WINDOW: the context window of a server when nobody asks for another.
        base_url: its address, without ``/v1``.
        api_key: the bearer token it wants.
        model_id: the model's name in requests and answers.
        context_window: tokens of prompt and answer together.
        pid: the server's process id.
    """

    DEFAULT_WINDOW: ClassVar = 4096

    def __init__(self, plan: Plan, hold: _Hold) -> None:
        self.base_url = hold.lease.base_url
        self.api_key = hold.lease.api_key
        self.model_id = plan.model_id
        self.context_window = plan.context_window
        self.pid = hold.lease.pid
        self._hold: _Hold | None = hold

    @classmethod
    def acquire(
        cls,
        model_path: Path | None,
        *,
        context_window: int = DEFAULT_WINDOW,
        load_s: float = 120.0,
        report: Callable[[Fetch], None] | None = None,
    ) -> Self:
        """The server for a model: the running one if there is one, else a new one. May be called from any thread.

        Args:
            model_path: a local GGUF file; ``None`` means the default weights, fetched on first use.
            context_window: tokens wanted; a model trained for fewer gets what it was trained for.
            load_s: seconds for loading, or for waiting while another process loads.
            report: told the progress of a fetch.

        Raises:
            MissingExtra: llama.cpp is not installed.
            EmbeddedUnavailable: no weights, not a GGUF, or the server does not come up.
        """
        if find_spec("xllamacpp") is None:
            raise MissingExtra("the embedded model", "embedded")
        path = model_path.expanduser().resolve() if model_path else ensure_weights(report)
        trained = read_header(path).context_length
        model_id = path.stem if model_path else SMOLLM2.model_id
        plan = Plan(path, model_id, min(context_window, trained or context_window))
        with _lock:
            hold = _share(plan, load_s)
            hold.users += 1
        return cls(plan, hold)

    def close(self) -> None:
        """Let go; the server ends when nobody in any process holds it any more. Closing twice is fine."""
        with _lock:
            hold, self._hold = self._hold, None
            if hold is None:
                return
            hold.users -= 1
            if not hold.users:
                _forget(hold)
                hold.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _share(plan: Plan, load_s: float) -> _Hold:
    """This process's hold on the plan's server; a new one when there is none or its server has died."""
    key = (os.getpid(), plan.identity())
    hold = _holds.get(key)
    if hold is None or not hold.lifeline.is_alive():
        hold = _holds[key] = _join_or_start(plan, load_s)
    return hold


def _forget(hold: _Hold) -> None:
    for key in [key for key, value in _holds.items() if value is hold]:
        del _holds[key]


def _join_or_start(plan: Plan, load_s: float) -> _Hold:
    """One process at a time, so that two which start together end up with one server."""
    deadline = time.monotonic() + load_s
    try:
        lease_path = private_folder("run") / f"{plan.identity()}.json"
        with FileLock(lease_path.with_suffix(".lock"), timeout=load_s):
            lease = read_lease(lease_path)
            if lease and (lifeline := take_hold(lease)):
                return _Hold(lease, lifeline, None)
            return _start(plan, lease_path, load_s, deadline)
    except Timeout:
        raise EmbeddedUnavailable(
            f"another process has been loading {plan.model} for {load_s:g} s; try again, or raise timeouts.load_s"
        ) from None
    except OSError as error:
        raise EmbeddedUnavailable(
            f"cannot start the embedded model from {cache_dir()}: {error.strerror or error};"
            "\nset LMROUTE_CACHE_DIR to a folder you may write"
        ) from error


def _start(plan: Plan, lease_path: Path, load_s: float, until: float) -> _Hold:
    lease, child = launch(plan, lease_path, load_s, until)
    write_lease(lease_path, lease)
    lifeline = take_hold(lease)
    if lifeline is None:
        child.reap(_REAP_S)
        raise EmbeddedUnavailable(
            f"llama.cpp ended right after loading {plan.model}; see {lease_path.with_suffix('.log')}"
        )
    return _Hold(lease, lifeline, child)


@atexit.register
def _release_all() -> None:
    """Let go of what was never closed. The kernel would do it too; this also waits for the server's end."""
    for (pid, _), hold in list(_holds.items()):
        if pid == os.getpid():
            hold.release()
    _holds.clear()
