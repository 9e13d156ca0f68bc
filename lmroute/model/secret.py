"""References to secrets, and secrets that cannot show themselves."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn


class SecretSource(StrEnum):
    """Where a secret is kept."""

    ENV = "env"
    FILE = "file"
    COMMAND = "command"
    KEYRING = "keyring"


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A reference to a secret, never the secret.

    Attributes:
        source: where to look.
        names: environment variables in order of preference, one file path, one argv, or one keyring account.
        optional: when true, an absent secret means "send no token" instead of an error.
    """

    source: SecretSource
    names: tuple[str, ...]
    optional: bool = False

    def __str__(self) -> str:
        joined = " ".join(self.names) if self.source is SecretSource.COMMAND else " or ".join(self.names)
        return f"{self.source.value} {joined}"


class Secret:
    """A resolved secret. It shows itself as ``***`` everywhere; only ``reveal()`` gives the value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, to be called where a header is built and nowhere else."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled; pickle its SecretRef")
