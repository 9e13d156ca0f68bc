"""The command line: ``lmroute <verb>``. A verb is a module of this package and a row of ``VERBS``.

A verb that has verbs of its own is a package with a ``VERBS`` table of them: ``lmroute policy verify``. If it has a
``DEFAULT`` too, that is the one of them which may be left out: ``lmroute models`` is ``lmroute models list``.

Exit codes: 0 for good, 1 for a finding, 2 for wrong usage or an internal error, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import threading
import traceback
from contextlib import contextmanager
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from lmroute import redact
from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

VERBS = {
    "validate": "find every mistake in the configuration before anything runs",
    "why": "tell where a value of the configuration comes from, and what it took the place of",
    "route": "tell why a request goes where it goes",
    "policy": "prove, compare, test and replay routing policies",
    "health": "tell how the servers are, once or as they change",
    "models": "tell what models the servers have; load, unload and download those of LM Studio",
    "auth": "store, check and remove the keys that profiles refer to",
    "usage": "tell what calls cost: counts, latencies, tokens, money, errors and fallbacks",
    "logs": "show the latest calls, or follow them",
    "lock": "write down what the servers were found to be, or tell what changed since",
    "explain": "tell what a code like LMR102 means, with a bad and a good example",
    "init": "make a project: your own profiles and policies, checked by editor, commit and CI",
    "emulator": "serve LM Studio's API with a scripted or a real small model",
}
"""Each verb and what it does.

Module ``lmroute.cli.<verb>`` has ``add_arguments(parser)`` and ``run(arguments) -> exit code``. Its docstring is the
beginning of its help; paragraphs that are indented there are examples, and stay as they are.
"""

_HOLDING = {"init", "emulator", "auth.set", "models.load", "models.download"}
"""The verbs that Ctrl-C interrupts, so that they can tidy up; the others it ends."""

USAGE = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``lmroute`` with ``argv`` (the process's own by default) and return its exit code.

    Raises:
        SystemExit: from argparse, after ``--help``, ``--version`` or wrong usage.
    """
    _open_streams()
    parser = _parser()
    chosen = parser.parse_args(argv)
    if chosen.verb is None:
        parser.print_help(sys.stderr)
        return USAGE
    try:
        return _run(chosen.verb, chosen.arguments)
    except LmrouteError as error:
        print(redact.text(str(error)), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  the last net: a person reads this, not a traceback
        return _internal(error)


def _open_streams() -> None:
    """What was closed (``>&-``) goes nowhere; else every word would be an error, or those of stderr go to stdout."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  until the process ends


def _run(verb: str, arguments: list[str]) -> int:
    """Run a verb, or one inside of a verb: ``policy.verify``."""
    # Imported when it is asked for, so that a verb costs nothing to those who use another one.
    module = import_module(f"lmroute.cli.{verb}")
    prog = f"lmroute {verb.replace('.', ' ')}"
    if verbs := getattr(module, "VERBS", None):
        default = getattr(module, "DEFAULT", None)
        if default and not {*arguments[:1]} & {*verbs, "-h", "--help"}:
            return _run(f"{verb}.{default}", arguments)
        chooser = _chooser(prog, module.__doc__, verbs)
        chosen = chooser.parse_args(arguments)
        if chosen.verb is None:
            chooser.print_help(sys.stderr)
            return USAGE
        return _run(f"{verb}.{chosen.verb}", chosen.arguments)
    parser = _Parser(prog=prog, description=module.__doc__, formatter_class=_Help)
    parser.wrong_usage = getattr(module, "WRONG_USAGE", None)
    module.add_arguments(parser)
    chosen = parser.parse_intermixed_args(arguments)  # overrides and options in any order
    with _ending(at_once=verb not in _HOLDING):
        code: int = module.run(chosen)
    return code


class _Parser(argparse.ArgumentParser):
    """Quotes no key in its complaints; and where any word may be one, no word: ``wrong_usage`` is said instead."""

    wrong_usage: str | None = None

    def error(self, message: str) -> NoReturn:
        super().error(self.wrong_usage or redact.text(message))


class _Help(argparse.HelpFormatter):
    """Fills the paragraphs of a docstring one by one; those that are indented stay as they are written."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip().split("\n\n")
        fill = super()._fill_text
        return "\n\n".join(p if p.startswith(" ") else fill(p, width, indent) for p in paragraphs)


@contextmanager
def _ending(*, at_once: bool) -> Iterator[None]:
    """Let Ctrl-C end the process there and then.

    A KeyboardInterrupt would not: it is lost when it is raised in a finalizer, as Hydra's parser has them, or turned
    into another exception. Whoever handles or ignores the signal in another way, or is no main thread, keeps that.
    """
    plain = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not (at_once and plain and threading.current_thread() is threading.main_thread()):
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _parser() -> argparse.ArgumentParser:
    parser = _chooser("lmroute", "Declarative, provable LLM routing for DSPy.", VERBS)
    parser.add_argument("--version", action="version", version=f"lmroute {_version()}")
    return parser


def _chooser(prog: str, description: str | None, verbs: Mapping[str, str]) -> argparse.ArgumentParser:
    """A parser that finds out which verb is meant, and leaves the rest to it."""
    listed = "\n".join(f"  {verb:<12}{what}" for verb, what in verbs.items())
    parser = _Parser(
        prog=prog,
        usage=f"{prog} <verb> [options]",
        description=description,
        epilog=f"verbs:\n{listed}\n\n'{prog} <verb> --help' tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", nargs="?", choices=verbs, help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _version() -> str:
    try:
        return metadata.version("lmroute")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "0+unknown"


def _internal(error: Exception) -> int:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        print(f"cannot write: {error.strerror}; free some space, or write elsewhere", file=sys.stderr)
        return USAGE
    if os.environ.get("LMROUTE_DEBUG") == "1":
        print(redact.text("".join(traceback.format_exception(error))), file=sys.stderr)
    print(
        f"internal error: {type(error).__name__}: {redact.text(str(error))}\n"
        "This is a bug in lmroute; please report it, with what LMROUTE_DEBUG=1 adds to this message.",
        file=sys.stderr,
    )
    return USAGE
