"""Resolve a secret reference, as late as possible.

A secret is looked up when a header is built, shown to nobody, and registered with the redactor so that a server which
echoes it back cannot put it into a log. There is no fallback from one source to another: a reference says where.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.errors import MissingExtra, SecretError
from lmroute.model import Secret, SecretRef, SecretSource
from lmroute.redact.errors import redacted
from lmroute.secrets import system_keyring
from lmroute.secrets.system_keyring import KEYRING_SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KEYRING_SERVICE", "Standing", "describe", "erase", "is_missing", "resolve", "store"]

COMMAND_TIMEOUT_S = 10.0

_VARIABLE = re.compile(r"\$[A-Z_][A-Z0-9_]*|\$\{[^}]*\}")
_STAND_INS = frozenset({*redact.PLACEHOLDERS, "none", "null", "empty", "not-needed", "changeme", "your-api-key"})
"""What people write where a key belongs, and is none."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a secret stands: whether it is there, never what it is.

    Attributes:
        source: where it is looked for.
        name: under which name; of several variables the one that is set, else all of them.
        present: ``None`` when it was not looked for.
        detail: one line: why it cannot be had, and what to do; empty when nothing is wrong.
        is_usable: whether a call would get as far as the server: it is there, or optional, or was not looked for.
    """

    source: SecretSource
    name: str
    present: bool | None
    detail: str = ""
    is_usable: bool = True


def resolve(ref: SecretRef) -> Secret | None:
    """The secret behind a reference, or ``None`` when it is optional and absent.

    Raises:
        SecretError: the secret is required and absent, or no token, or its source failed. Names the reference only.
        MissingExtra: a keyring is asked for, and ``keyring`` is not installed.
    """
    with redacted():  # the frames inside hold what was read
        return _resolved(ref)


def _resolved(ref: SecretRef) -> Secret | None:
    value = _LOOKUPS[ref.source](ref.names).strip()
    if value:
        _must_fit_a_header(value, str(ref))
        redact.remember(value)
        return Secret(value)
    if ref.optional:
        return None
    raise SecretError(_advice(ref))


def is_missing(ref: SecretRef) -> bool:
    """Whether a required secret is visibly absent, found out without running a command or unlocking a keyring."""
    if ref.optional or ref.source not in {SecretSource.ENV, SecretSource.FILE}:
        return False
    try:
        return not _LOOKUPS[ref.source](ref.names)
    except SecretError:
        return True


def describe(ref: SecretRef, *, run: bool = False) -> Standing:
    """How a secret stands, found out by looking it up; a command is not run unless ``run`` says so."""
    if ref.source is SecretSource.COMMAND and not run:
        return Standing(ref.source, _name(ref), None, "a command, which was not run")
    try:
        secret = resolve(ref)
    except (SecretError, MissingExtra) as error:
        return Standing(ref.source, _name(ref), present=False, detail=redact.one_line(str(error)), is_usable=False)
    if secret is None:
        return Standing(ref.source, _name(ref), present=False, detail="not set, and optional: no token is sent")
    return Standing(ref.source, _name(ref, is_set=True), present=True)


def store(name: str, value: str) -> None:
    """Put a token into the system's keyring, where ``{keyring: name}`` finds it. There is no other place it may end in.

    Raises:
        SecretError: it is no token, or the keyring does not take it; the message does not show it.
        MissingExtra: ``keyring`` is not installed.
    """
    value = value.strip()
    redact.remember(value)  # first of all: nothing below may show it
    if not value:
        raise SecretError("no token was given")
    _must_fit_a_header(value, "what was given")
    if _VARIABLE.fullmatch(value):
        raise SecretError(
            "what was given is the name of a variable and not its value; single quotes keep it from a shell"
        )
    if value.lower() in _STAND_INS or set(value) <= set("*.xX<>"):
        raise SecretError("what was given stands in for a token and is none; a server that wants none needs no entry")
    system_keyring.write(name, value)


def erase(name: str) -> bool:
    """Take a token out of the system's keyring; whether there was one.

    Raises:
        SecretError, MissingExtra: the keyring cannot be asked.
    """
    return system_keyring.delete(name)


def _must_fit_a_header(value: str, what: str) -> None:
    # HTTP libraries show a header that they refuse, so it must not get that far.
    if not (value.isascii() and value.isprintable()):
        raise SecretError(f"{what} holds more than one line, or characters that are not ASCII; a token has neither")


def _name(ref: SecretRef, *, is_set: bool = False) -> str:
    if ref.source is SecretSource.COMMAND:
        return ref.names[0]  # its arguments are nobody's business
    if is_set and ref.source is SecretSource.ENV:
        return next(name for name in ref.names if os.environ.get(name, "").strip())
    return " or ".join(ref.names)


def _from_env(names: tuple[str, ...]) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name, "").strip()), "")


def _from_file(names: tuple[str, ...]) -> str:
    try:
        path = Path(names[0]).expanduser()
        value = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, RuntimeError) as error:  # the last: a ~user that does not exist
        raise SecretError(f"secret file {names[0]} cannot be read: {_reason(error)}") from error
    # Windows has no such bits; there the user's profile folder is the protection.
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SecretError(f"secret file {path} is readable by others; run: chmod 600 {path}")
    return value


def _from_command(argv: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            encoding="utf-8",
            timeout=COMMAND_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        # Not chained: that exception holds what the command had printed.
        raise SecretError(f"secret command {argv[0]!r} did not end within {COMMAND_TIMEOUT_S:g} s") from None
    except (OSError, ValueError) as error:
        raise SecretError(f"secret command {argv[0]!r} failed: {_reason(error)}") from error
    if done.returncode:
        # Its output may hold the secret itself, so only the exit code is shown.
        raise SecretError(f"secret command {argv[0]!r} ended with exit code {done.returncode}; run it to see why")
    return done.stdout


def _from_keyring(names: tuple[str, ...]) -> str:
    return system_keyring.read(names[0])


def _reason(error: Exception) -> str:
    """Why, without the text of the error, which may quote what was read."""
    return getattr(error, "strerror", None) or type(error).__name__


def _advice(ref: SecretRef) -> str:
    match ref.source:
        case SecretSource.ENV:
            name = " or ".join(ref.names)
            return f"environment variable {name} is not set, or empty; export it or leave the provider out"
        case SecretSource.FILE:
            return f"secret file {ref.names[0]} is missing or empty; create it with mode 600"
        case SecretSource.COMMAND:
            return f"secret command {ref.names[0]!r} printed nothing"
        case SecretSource.KEYRING:
            return f"keyring has no entry {ref.names[0]!r}; add it: lmroute auth set {ref.names[0]}"


_LOOKUPS: dict[SecretSource, Callable[[tuple[str, ...]], str]] = {
    SecretSource.ENV: _from_env,
    SecretSource.FILE: _from_file,
    SecretSource.COMMAND: _from_command,
    SecretSource.KEYRING: _from_keyring,
}
