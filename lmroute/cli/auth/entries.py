"""Which entry of the keyring a word of the command line means, and that it is a name and no key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.errors import LmrouteError
from lmroute.model import SecretSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.model import SecretRef

NO_ARGUMENT = (
    "one name, and no key: what stands on a command line is seen by other programs and kept in the shell's history\n"
    "  help: lmroute auth set NAME asks for it, or takes it from a pipe; a key that stood here is better made anew"
)
"""What wrong usage is answered with. It quotes nothing: the words may be a key."""

_KEEPS = {
    SecretSource.ENV: "whoever sets that variable keeps it",
    SecretSource.FILE: "write it into that file, with mode 600",
    SecretSource.COMMAND: "that command's own program keeps it",
}


def entry(words: Sequence[str]) -> str:
    """The entry that a word means: the one that the provider of that name refers to, else the one of that name.

    Raises:
        LmrouteError: it is not one word, or looks like a key, or names a provider whose token is kept elsewhere.
        ConfigError: the configuration cannot be read.
    """
    if len(words) != 1 or not words[0].strip() or redact.text(words[0]) != words[0]:
        raise LmrouteError(NO_ARGUMENT)
    from lmroute.config import paths  # noqa: PLC0415  --help needs no configuration

    return _entry_of(words[0]) if words[0] in paths.options("provider") else words[0]


def _entry_of(provider: str) -> str:
    from lmroute.cli.models.choice import profiles  # noqa: PLC0415  a name that is no provider's needs no Hydra

    [profile] = profiles([provider], ())
    ref = profile.auth_token
    if ref is not None and ref.source is SecretSource.KEYRING:
        return ref.names[0]
    raise LmrouteError(f"{_kept(profile.id, ref)}\n  help: {_advice(profile.id, ref)}")


def _kept(name: str, ref: SecretRef | None) -> str:
    if ref is None:
        return f"'{name}' is a provider that sends no token: its profile has no auth_token"
    return f"the token of '{name}' is not in the keyring: its auth_token is {ref}; {_KEEPS[ref.source]}"


def _advice(name: str, ref: SecretRef | None) -> str:
    """What to write so that the keyring is asked. The entry has another name, so that it can be made at any time."""
    written, key = f"{{keyring: {name}_key}}", f"providers.{name}.auth_token"
    without = f"'~{key}' " if ref else ""
    return (
        f"to keep it there: lmroute auth set {name}_key, and auth_token: {written} in the profile; "
        f"or for one run: {without}'+{key}={written}'"
    )
