"""Store a key in the system's keyring: Keychain, Credential Locker, Secret Service or KWallet.

It is asked for where a person sits at a terminal, and else read from stdin up to the first line end.

  lmroute auth set openai_key
  op read op://Private/OpenAI/key | lmroute auth set openai_key

A profile refers to it with auth_token: {keyring: openai_key}. Instead of the name a provider may be given that refers
to the keyring already. There is no other place that it may end in: without a keyring nothing is stored.
"""

from __future__ import annotations

import getpass
import sys
import warnings
from typing import TYPE_CHECKING

from lmroute import redact, secrets
from lmroute.cli.auth.entries import NO_ARGUMENT, entry
from lmroute.cli.output import emit
from lmroute.errors import LmrouteError, SecretError

if TYPE_CHECKING:
    import argparse

WRONG_USAGE = NO_ARGUMENT

_SHORTEST = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments; those that are refused as well, so that the refusal can be in our words."""
    parser.add_argument("words", nargs="*", metavar="NAME|PROVIDER", help="the entry, or a provider that refers to one")


def run(arguments: argparse.Namespace) -> int:
    """Ask, and store."""
    name = entry(arguments.words)
    value = _asked(name) if sys.stdin is not None and sys.stdin.isatty() else _piped()
    secrets.store(name, value)
    if len(value.strip()) < _SHORTEST:
        print("note: it is so short that it cannot be recognised, and masked, in what servers answer", file=sys.stderr)
    emit(redact.text(f"stored as keyring entry {secrets.KEYRING_SERVICE}/{name}; auth_token: {{keyring: {name}}}\n"))
    return 0


def _asked(name: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(redact.text(f"key for {name} (it is not shown): "))
        except getpass.GetPassWarning:
            raise LmrouteError("this terminal would show the key; pipe it in: … | lmroute auth set NAME") from None
        except EOFError:
            return ""


def _piped() -> str:
    if sys.stdin is None:
        return ""
    try:
        return sys.stdin.readline()
    except ValueError:  # it is no text, and the error would quote it
        raise SecretError("what was given is no text; a token is one line of ASCII") from None
