"""Remove a key from the system's keyring. Whoever gave it out still takes it: have it revoked there.

  lmroute auth clear openai_key

Instead of the name a provider may be given that refers to the keyring. It is no error if there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute import redact, secrets
from lmroute.cli.auth.entries import NO_ARGUMENT, entry
from lmroute.cli.output import emit

if TYPE_CHECKING:
    import argparse

WRONG_USAGE = NO_ARGUMENT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("words", nargs="*", metavar="NAME|PROVIDER", help="the entry, or a provider that refers to one")


def run(arguments: argparse.Namespace) -> int:
    """Remove it."""
    name = entry(arguments.words)
    said = "removed" if secrets.erase(name) else "there is no"
    emit(redact.text(f"{said} keyring entry {secrets.KEYRING_SERVICE}/{name}\n"))
    return 0
