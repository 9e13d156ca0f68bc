"""Secrets for those who ask again and again: a password manager is not asked every 15 seconds."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmroute import secrets
from lmroute.errors import LmrouteError, MissingExtra, SecretError
from lmroute.model import SecretSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmroute.model import Secret, SecretRef

AGAIN_S = 60.0
"""A source that failed, or whose token was refused, is not asked again before that: it may well ask a person."""
_COSTLY = frozenset({SecretSource.COMMAND, SecretSource.KEYRING})


@dataclass(slots=True)
class _Found:
    secret: Secret | None
    error: LmrouteError | None
    at: float
    is_doubted: bool


class Tokens:
    """``secrets.resolve`` that remembers what commands and keyrings said. Safe to use from many threads.

    Args:
        clock: seconds of a clock that never goes back.
    """

    def __init__(
        self, clock: Callable[[], float], resolve: Callable[[SecretRef], Secret | None] = secrets.resolve
    ) -> None:
        self._clock, self._resolve = clock, resolve
        self._lock = threading.Lock()  # two providers with one token ask for it once
        self._found: dict[SecretRef, _Found] = {}

    def __call__(self, ref: SecretRef) -> Secret | None:
        """The secret behind a reference.

        Raises:
            SecretError, MissingExtra: see ``secrets.resolve``.
        """
        if ref.source not in _COSTLY:
            return self._resolve(ref)
        with self._lock:
            found = self._found.get(ref)
            if found is None or (found.is_doubted and self._clock() - found.at >= AGAIN_S):
                found = self._found[ref] = self._asked(ref)
        if found.error is not None:
            raise found.error
        return found.secret

    def refused(self, ref: SecretRef) -> None:
        """A server did not take it: perhaps there is another one by now."""
        with self._lock:
            if ref in self._found:
                self._found[ref].is_doubted = True

    def _asked(self, ref: SecretRef) -> _Found:
        try:
            return _Found(self._resolve(ref), None, self._clock(), is_doubted=False)
        except (SecretError, MissingExtra) as error:
            return _Found(None, error, self._clock(), is_doubted=True)
