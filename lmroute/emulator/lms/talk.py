"""Words to the person at the terminal, and questions to them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Told(LmrouteError):
    """Something that cannot be done; the message says why."""

    exit_code = 1


def say(text: str) -> None:
    """A line of information, on stderr: stdout is for JSON."""
    print(text, file=sys.stderr)


def choose(question: str, options: Sequence[str]) -> str:
    """Ask which of ``options`` is meant, and wait for the number of one on stdin, for ever as the real ``lms`` does.

    Raises:
        Told: when stdin has ended.
    """
    say(question)
    for number, option in enumerate(options, 1):
        say(f"  {number}  {option}")
    while True:
        answer = _answer()
        if answer.isascii() and answer.isdigit() and 0 < int(answer) <= len(options):
            return options[int(answer) - 1]
        say(f"a number from 1 to {len(options)}, please")


def agree(question: str) -> bool:
    """Ask yes or no.

    Raises:
        Told: when stdin has ended.
    """
    say(f"{question} [y/n]")
    return _answer().lower() in {"y", "yes"}


def _answer() -> str:
    line = sys.stdin.readline()
    if not line:
        raise Told("nobody answers; say --yes, or name exactly one")
    return line.strip()
