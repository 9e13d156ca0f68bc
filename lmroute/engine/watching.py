"""Route by the files as they change: a policy that is saved takes effect, if it is proved to be sound."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self, TypeAlias

from lmroute import validate
from lmroute.config import paths
from lmroute.engine.identity import stack_name
from lmroute.engine.routing_engine import RoutingEngine
from lmroute.errors import LmrouteError
from lmroute.logs import logger

if TYPE_CHECKING:
    from pathlib import Path

    import dspy

    from lmroute.model import Stack

    _State: TypeAlias = dict[Path, tuple[int, int]]

_log = logger("lmroute.engine")


def watch(lm: dspy.LM, *, every_s: float = 1.0, may_weaken: bool = False) -> Watch:
    """Follow the files that an LM was composed from. Until it is closed, what is saved there is put in force.

    A change is composed with the same overrides and checked like ``lmroute validate`` does, proofs included. When
    anything is wrong the old configuration stays in force, and ``problem`` and the log say why; so it does when a
    guarantee in force would be gone or another one, as it is in a file that is only half written. Calls under way end
    by the configuration they began with. ``lm.model`` follows, so that DSPy's cache keeps the answers apart; copies of
    the LM that were made before share the engine and keep their own ``model``.

    Args:
        every_s: how often the files are looked at. A change counts when they are the same at two looks.
        may_weaken: put a configuration in force that lacks a guarantee of the one before.

    Raises:
        TypeError: the LM is none of lmroute's, or was not composed from files.
    """
    engine = getattr(lm, "engine", None)
    if not isinstance(engine, RoutingEngine):
        raise TypeError(f"lmroute.watch takes an LM made by lmroute.load or lmroute.build, not {lm!r}")
    if engine.stack.overrides is None:
        raise TypeError("this LM was not composed from files, so there is nothing to watch; use lmroute.load(…)")
    return Watch(lm, engine.stack.overrides, every_s, may_weaken=may_weaken)


class Watch:
    """A watched LM. As a context manager it stops at the end.

    Attributes:
        problem: why the files as they are now are not in force; ``None`` when they are.
        changes: how many configurations were put in force since it began.
    """

    def __init__(self, lm: dspy.LM, overrides: tuple[str, ...], every_s: float, *, may_weaken: bool = False) -> None:
        self.problem: LmrouteError | None = None
        self.changes = 0
        self._lm = lm
        self._overrides, self._may_weaken = overrides, may_weaken
        self._seen: _State | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(every_s,), name="lmroute watch", daemon=True)
        self._thread.start()

    def look(self) -> bool:
        """Look at the files now; whether another configuration was put in force.

        What is wrong with them is in ``problem`` afterwards.
        """
        try:
            stack = validate.load(self._overrides)
            self._keep_guarantees(stack)
        except LmrouteError as error:
            if str(error) != str(self.problem):
                _log.warning("the configuration on disk is not put in force:\n%s", error)
            self.problem = error
            return False
        self.problem = None
        return self._put_in_force(stack)

    def close(self) -> None:
        """Stop watching. The configuration in force stays."""
        self._closed.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, every_s: float) -> None:
        last = _state()
        while not self._closed.wait(every_s):
            now = _state()
            if now == last and now != self._seen:  # at first too: what was saved since the LM was made
                self._seen = now
                self._look_safely()
            last = now

    def _look_safely(self) -> None:
        try:
            self.look()
        except Exception:  # noqa: BLE001  whatever it is, watching goes on and the old configuration stays
            _log.exception("the configuration on disk could not be read")

    def _keep_guarantees(self, stack: Stack) -> None:
        """Raises LmrouteError when a guarantee in force is not among those of the new configuration."""
        now = self._lm.engine.stack.policy
        lost = [guarantee.name for guarantee in now.guarantees if guarantee not in stack.policy.guarantees]
        if lost and not self._may_weaken:
            raise LmrouteError(
                f"guarantee '{lost[0]}' of policy '{now.name}' is gone or another one\n"
                "  help: start anew for that, or lmroute.watch(lm, may_weaken=True)"
            )

    def _put_in_force(self, stack: Stack) -> bool:
        engine, name = self._lm.engine, stack_name(stack)
        if engine.routing.name == name:
            return False
        engine.reroute(stack)
        if engine.twin is not None:
            engine.twin.reroute(stack)
        self._lm.model = f"lmroute/{name}"
        self.changes += 1
        _log.info("%s is in force", name)
        return True


def _state() -> _State:
    """Every file that may take part, with what shows that it changed."""
    found: _State = {}
    for root in paths.roots():
        for file in root.rglob("*.yaml"):
            try:
                stat = file.stat()
            except OSError:  # gone between the two
                continue
            found[file] = (stat.st_mtime_ns, stat.st_size)
    return found
