"""``python run.py``: check everything, then run it. DSPy, which takes a second to import, waits until all is well."""

from __future__ import annotations

import io
import os
import sys
import traceback
from contextlib import redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from lmroute import redact
from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from omegaconf import DictConfig

    from lmroute.config import launch

BROKEN_PIPE = 141  # what a shell reports of a program that SIGPIPE has ended


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run the task that the command line composes, or the sweep of several; ends the process.

    Exit codes: 0 all rows answered, 1 a finding in the configuration, 2 anything else, 130 interrupted, 141 when
    nobody reads what is printed.
    """
    _write_anything()
    try:
        sys.exit(_run(sys.argv[1:] if words is None else words))
    except LmrouteError as error:
        _tell(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `| head` has seen enough; nothing more may be written, not even by Python's own exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)
    except KeyboardInterrupt:
        print("interrupted; what was answered is in the run's folder", file=sys.stderr)
        sys.exit(130)
    except Exception as error:  # noqa: BLE001  a bug: all of it, under another exit code than Python's 1
        _tell(error)
        sys.exit(2)


def _write_anything() -> None:
    """Models answer in any script, and a pipe's encoding may know one only: what it does not know becomes ``?``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _tell(error: Exception) -> None:
    """Print an error: what was raised on purpose is its message, anything else is a bug and needs all of it."""
    said = str(error) if isinstance(error, LmrouteError) else "".join(traceback.format_exception(error)).rstrip()
    print(redact.text(said), file=sys.stderr, flush=True)


def _run(words: Sequence[str]) -> int:
    from lmroute.config import compose, launch  # noqa: PLC0415  Ctrl-C while they are imported is caught by now
    from lmroute.experiments import preflight  # noqa: PLC0415  see above

    line = launch.parse(words)
    if line.asks_only:
        preflight.refuse_literal_keys(line.overrides)
        preflight.refuse_pasted_keys(line.words)
        return _print_redacted(line)
    line = replace(line, multirun=line.multirun or compose.sweeps(line.overrides))
    for warning in preflight.check(compose.jobs(line.overrides) if line.multirun else [line.overrides]):
        print(redact.text(f"warning: {warning}"), file=sys.stderr)
    preflight.refuse_pasted_keys(line.words)
    return launch.launch(_job, line, _tell)


def _print_redacted(line: launch.CommandLine) -> int:
    """What Hydra prints of a configuration (``--cfg``, ``--help`` ...), with all that looks like a key masked."""
    from lmroute.config import launch  # noqa: PLC0415  see _run

    shown = io.StringIO()
    try:
        with redirect_stdout(shown):
            return launch.launch(_job, line, _tell)
    finally:
        print(redact.text(shown.getvalue()), end="")


def _job(cfg: DictConfig, folder: Path) -> None:
    from lmroute.experiments import job  # noqa: PLC0415  DSPy waits until there is something to run

    job.run(cfg, folder)
