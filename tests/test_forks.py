"""What a forked child begins anew, and that nobody makes a lock without thinking of it."""

import os
import re
import threading
from pathlib import Path

import pytest

import lmroute
from lmroute import redact
from lmroute.config import compose
from lmroute.forks import Forked, Locked
from lmroute.providers.embedded import server
from lmroute.secrets import system_keyring

PACKAGE = Path(lmroute.__file__).parent
ELSEWHERE = {
    "telemetry/ledger.py": "closes its database before a fork, and so has hooks of its own",
    "providers/embedded/serve.py": "the server's own process, which is not forked",
    "health/tokens.py": "the monitor makes another one in a child",
}
LOCK = re.compile(r"threading\.(R?Lock|Condition|(Bounded)?Semaphore)\(")
fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
quiet = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def is_true_in_a_child(holds):
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if holds() else 1)
        except BaseException:  # noqa: BLE001 - it must not go on as a second pytest
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


@fork
@quiet
def test_one_that_fails_keeps_nobody_from_beginning():
    class Fails(Forked):
        def _begin_in_child(self):
            raise ValueError("on purpose")

    everybody = [made for _ in range(5) for made in (Fails(), Locked())]
    before = [one._lock for one in everybody[1::2]]
    assert is_true_in_a_child(lambda: all(one._lock is not b for one, b in zip(everybody[1::2], before, strict=True)))
    assert [one._lock for one in everybody[1::2]] == before


@fork
@quiet
@pytest.mark.parametrize(
    "lock",
    [lambda: compose._session, lambda: server._lock, lambda: system_keyring._turn._free, lambda: redact._known._lock],
    ids=["composing", "embedded", "keyring", "redact"],
)
def test_what_is_kept_for_the_process_is_free(lock):
    with lock():
        assert is_true_in_a_child(lambda: lock().acquire(timeout=0))


@fork
@quiet
def test_a_keyring_that_hangs_hangs_in_the_parent_only(monkeypatch):
    turn = system_keyring._Turn()
    monkeypatch.setattr(system_keyring, "TIMEOUT_S", 0.01)
    answers = threading.Event()
    with pytest.raises(TimeoutError):
        turn.ask(answers.wait)
    monkeypatch.setattr(system_keyring, "TIMEOUT_S", 5.0)
    try:
        assert is_true_in_a_child(lambda: turn.ask(lambda: "well") == "well")
    finally:
        answers.set()


def test_whoever_makes_a_lock_thinks_of_forks():
    making = {path for path in PACKAGE.rglob("*.py") if LOCK.search(path.read_text(encoding="utf-8"))}
    thinking = {path for path in making if "lmroute.forks" in path.read_text(encoding="utf-8")}
    rest = {path.relative_to(PACKAGE).as_posix() for path in making - thinking}
    assert rest == {"forks.py", *ELSEWHERE}
