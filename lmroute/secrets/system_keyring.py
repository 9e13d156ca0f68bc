"""The system's keyring, asked with patience that ends: one that is locked, or whose service hangs, stops nobody.

Keychain on macOS, Credential Locker on Windows, Secret Service or KWallet on Linux; entries are ``lmroute``/NAME.
"""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from lmroute.errors import MissingExtra, SecretError
from lmroute.forks import Forked

if TYPE_CHECKING:
    from collections.abc import Callable

KEYRING_SERVICE = "lmroute"
TIMEOUT_S = 3.0

_ELSEWHERE = "keep it in a variable, {env: NAME}, or in a file of mode 600, {file: path}"
_T = TypeVar("_T")


def read(name: str) -> str:
    """An entry, or the empty text.

    Raises:
        SecretError: the keyring cannot be asked, or not in time.
        MissingExtra: ``keyring`` is not installed.
    """
    return _ask(f"keyring entry {name!r} cannot be read", lambda ring: ring.get_password(KEYRING_SERVICE, name) or "")


def write(name: str, value: str) -> None:
    """Make an entry, or change it. Only into a keyring that protects what it keeps.

    Raises:
        SecretError, MissingExtra: as ``read``, and when there is no keyring, or none but a plain file.
    """

    def act(ring: Any) -> bool:
        _must_protect(ring)
        ring.set_password(KEYRING_SERVICE, name, value)
        kept: bool = ring.get_password(KEYRING_SERVICE, name) == value
        return kept

    if not _ask(f"keyring entry {name!r} cannot be written", act):
        raise SecretError(f"the keyring does not keep what it is given; {_ELSEWHERE}")


def delete(name: str) -> bool:
    """Take an entry out; whether there was one. Raises as ``read``."""

    def act(ring: Any) -> bool:
        if ring.get_password(KEYRING_SERVICE, name) is None:
            return False
        ring.delete_password(KEYRING_SERVICE, name)
        return True

    return _ask(f"keyring entry {name!r} cannot be removed", act)


def _must_protect(ring: Any) -> None:
    """Raise for backends that Python's keyring itself does not recommend: none, one that forgets, plain text files."""
    if ring.priority < 1:
        kind = f"{type(ring).__module__}.{type(ring).__name__}"
        raise SecretError(f"this system has no keyring that protects what it keeps ({kind}); {_ELSEWHERE}")


class _Turn(Forked):
    """One question at a time, each in a daemon thread; whoever comes while one hangs does not wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self._begin_in_child()

    def _begin_in_child(self) -> None:
        self._free = threading.Lock()
        self._hangs = False

    def ask(self, question: Callable[[], _T]) -> _T:
        """What the question gives or raises.

        Raises:
            TimeoutError: no answer within ``TIMEOUT_S``, or an earlier question has none yet.
        """
        if not self._free.acquire(timeout=0 if self._hangs else TIMEOUT_S):
            raise TimeoutError
        answers: SimpleQueue[tuple[_T] | Exception] = SimpleQueue()

        def work() -> None:
            try:
                answers.put((question(),))
            except Exception as error:  # noqa: BLE001  raised where it is waited for
                answers.put(error)
            finally:
                self._hangs = False
                self._free.release()

        threading.Thread(target=work, name="lmroute keyring", daemon=True).start()
        try:
            answer = answers.get(timeout=TIMEOUT_S)
        except Empty:
            self._hangs = True
            raise TimeoutError from None
        if isinstance(answer, Exception):
            raise answer
        return answer[0]


_turn = _Turn()


def _ask(complaint: str, question: Callable[[Any], _T]) -> _T:
    try:
        import keyring  # noqa: PLC0415 - an extra
        from keyring.errors import KeyringLocked, NoKeyringError  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("a keyring secret", "keyring") from error
    try:
        return _turn.ask(lambda: question(keyring.get_keyring()))
    except SecretError:
        raise
    except TimeoutError:
        advice = "it may be locked, or wait for an answer to a dialog: unlock it and try again"
        raise SecretError(f"{complaint}: no answer within {TIMEOUT_S:g} s; {advice}") from None
    except NoKeyringError:
        raise SecretError(f"{complaint}: this system has no keyring; {_ELSEWHERE}") from None
    except KeyringLocked:
        raise SecretError(f"{complaint}: it is locked; unlock it and try again") from None
    except Exception as error:  # noqa: BLE001  backends raise what their libraries do, and may quote what they were given
        raise SecretError(f"{complaint}: {type(error).__name__}") from None
