"""Run a job under Hydra: run directories, sweeps, launchers, ``--cfg`` and the rest of Hydra's command line."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException

from lmroute.config.compose import searchpath, version_base
from lmroute.config.paths import shipped
from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from omegaconf import DictConfig


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Hydra's command line, taken apart.

    Attributes:
        asks_only: it wants something printed (``--help``, ``--cfg``, ``--info`` ...) and nothing run.
    """

    words: tuple[str, ...]
    overrides: tuple[str, ...]
    multirun: bool
    asks_only: bool


class JobFailed(CompactHydraException):
    """What Hydra shows as its message alone, without a traceback."""


def parse(words: Sequence[str]) -> CommandLine:
    """Hydra's own reading of the command line; on bad flags it prints usage and exits with 2."""
    parsed = get_args_parser().parse_args(list(words))
    asks = (parsed.help, parsed.hydra_help, parsed.cfg, parsed.info, parsed.shell_completion)
    return CommandLine(tuple(words), tuple(parsed.overrides), bool(parsed.multirun), any(asks))


def launch(job: Callable[[DictConfig, Path], None], line: CommandLine) -> int:
    """Run ``job(config, run_folder)`` once, or once for each combination of a sweep.

    Returns the exit code: 0, or 2 when a job failed; Hydra prints the first failed job's message.
    """

    @hydra.main(config_path=str(shipped("conf")), config_name="config", **version_base())
    def task(config: DictConfig) -> None:
        try:
            job(config, Path(HydraConfig.get().runtime.output_dir))
        except LmrouteError as error:
            raise JobFailed(str(error)) from error

    with _argv([*searchpath(line.overrides), *line.words]):
        try:
            task()
        except SystemExit as end:
            return 2 if end.code else 0
    return 0


@contextmanager
def _argv(words: list[str]) -> Iterator[None]:
    """Hydra reads the process's arguments and takes no others."""
    before = sys.argv
    sys.argv = [before[0], *words]
    try:
        yield
    finally:
        sys.argv = before
