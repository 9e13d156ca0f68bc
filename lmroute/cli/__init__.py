"""The command line: ``lmroute <verb>``. A verb is a module of this package and a row of ``VERBS``.

Exit codes: 0 for good, 1 for a finding, 2 for wrong usage or an internal error, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import traceback
from contextlib import contextmanager
from importlib import import_module, metadata
from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VERBS = {
    "validate": "find every mistake in the configuration before anything runs",
    "why": "tell where a value of the configuration comes from, and what it took the place of",
    "explain": "tell what a code like LMR102 means, with a bad and a good example",
    "init": "make a project: your own profiles and policies, checked by editor, commit and CI",
    "emulator": "serve LM Studio's API with a scripted or a real small model",
}
"""Each verb and what it does.

Module ``lmroute.cli.<verb>`` has ``add_arguments(parser)`` and ``run(arguments) -> exit code``.
"""

_HOLDING = {"init", "emulator"}
"""The verbs that Ctrl-C interrupts, so that they can tidy up; the others it ends."""

USAGE = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``lmroute`` with ``argv`` (the process's own by default) and return its exit code.

    Raises:
        SystemExit: from argparse, after ``--help``, ``--version`` or wrong usage.
    """
    parser = _parser()
    chosen = parser.parse_args(argv)
    if chosen.verb is None:
        parser.print_help(sys.stderr)
        return USAGE
    try:
        with _ending(at_once=chosen.verb not in _HOLDING):
            return _run(chosen.verb, chosen.arguments)
    except LmrouteError as error:
        print(redact.text(str(error)), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  the last net: a person reads this, not a traceback
        return _internal(error)


def _run(verb: str, arguments: list[str]) -> int:
    # Imported when it is asked for, so that a verb costs nothing to those who use another one.
    module = import_module(f"lmroute.cli.{verb}")
    parser = argparse.ArgumentParser(prog=f"lmroute {verb}", description=module.__doc__)
    module.add_arguments(parser)
    code: int = module.run(parser.parse_intermixed_args(arguments))  # overrides and options in any order
    return code


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
    verbs = "\n".join(f"  {verb:<12}{what}" for verb, what in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="lmroute",
        usage="lmroute <verb> [options]",
        description="Declarative, provable LLM routing for DSPy.",
        epilog=f"verbs:\n{verbs}\n\n'lmroute <verb> --help' tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lmroute {_version()}")
    parser.add_argument("verb", nargs="?", choices=VERBS, help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _version() -> str:
    try:
        return metadata.version("lmroute")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "0+unknown"


def _internal(error: Exception) -> int:
    if os.environ.get("LMROUTE_DEBUG") == "1":
        print(redact.text("".join(traceback.format_exception(error))), file=sys.stderr)
    print(
        f"internal error: {type(error).__name__}: {redact.text(str(error))}\n"
        "This is a bug in lmroute; please report it, with what LMROUTE_DEBUG=1 adds to this message.",
        file=sys.stderr,
    )
    return USAGE
