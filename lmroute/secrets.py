"""Resolve a secret reference, as late as possible.

A secret is looked up when a header is built, shown to nobody, and registered with the redactor so that a server which
echoes it back cannot put it into a log. There is no fallback from one source to another: a reference says where.
"""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.errors import MissingExtra, SecretError
from lmroute.model import Secret, SecretRef, SecretSource

if TYPE_CHECKING:
    from collections.abc import Callable

COMMAND_TIMEOUT_S = 10.0
KEYRING_SERVICE = "lmroute"


def resolve(ref: SecretRef) -> Secret | None:
    """The secret behind a reference, or ``None`` when it is optional and absent.

    Raises:
        SecretError: the secret is required and absent, or no token, or its source failed. Names the reference only.
        MissingExtra: a keyring is asked for, and ``keyring`` is not installed.
    """
    value = _LOOKUPS[ref.source](ref.names).strip()
    if value:
        # HTTP libraries show a header that they refuse, so it must not get that far.
        if not (value.isascii() and value.isprintable()):
            raise SecretError(f"{ref} holds more than one line, or characters that are not ASCII; a token has neither")
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
    try:
        import keyring  # noqa: PLC0415 - an extra
        from keyring.errors import KeyringError  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("a keyring secret", "keyring") from error
    try:
        return keyring.get_password(KEYRING_SERVICE, names[0]) or ""
    except KeyringError as error:
        raise SecretError(f"keyring entry {names[0]!r} cannot be read: {type(error).__name__}") from error


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
            return f"keyring has no entry {ref.names[0]!r}; add it: keyring set {KEYRING_SERVICE} {ref.names[0]}"


_LOOKUPS: dict[SecretSource, Callable[[tuple[str, ...]], str]] = {
    SecretSource.ENV: _from_env,
    SecretSource.FILE: _from_file,
    SecretSource.COMMAND: _from_command,
    SecretSource.KEYRING: _from_keyring,
}
