"""Run a job under Hydra: run directories, sweeps, launchers, ``--cfg`` and the rest of Hydra's command line."""

from __future__ import annotations

import os
import sys
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeGuard
from uuid import uuid4

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException

from lmroute.config.compose import compose, searchpath, version_base
from lmroute.config.paths import shipped, shown, user_config_dir
from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Sequence

    from omegaconf import DictConfig

_NOT_ALL = "not all jobs of the sweep succeeded; what they said stands above"
_LOGGING = "hydra/job_logging"
_ELSEWHERE = ("config_dir", "config_path", "config_name")


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


def parse(words: Sequence[str]) -> CommandLine:
    """Hydra's own reading of the command line; on bad flags it prints usage and exits with 2.

    Raises:
        LmrouteError: it asks for other configuration files, which nothing would have checked.
    """
    parsed = get_args_parser().parse_args(list(words))
    _refuse_elsewhere(parsed)
    asks = (parsed.help, parsed.hydra_help, parsed.cfg, parsed.info, parsed.shell_completion)
    return CommandLine(tuple(words), tuple(parsed.overrides), bool(parsed.multirun), any(asks))


def _refuse_elsewhere(parsed: Namespace) -> None:
    for name in _ELSEWHERE:
        if getattr(parsed, name):
            flag = f"--{name.replace('_', '-')}"
            raise LmrouteError(
                f"{flag} is not supported here\n"
                f"  help: put files of your own into {user_config_dir()} or into a project (lmroute init), "
                "or add hydra.searchpath=[file://FOLDER]"
            )


def _say(error: Exception) -> None:
    print(error, file=sys.stderr)


def launch(job: Callable[[DictConfig, Path], None], line: CommandLine, tell: Callable[[Exception], None] = _say) -> int:
    """Run ``job(config, run_folder)`` once, or once for each combination of a sweep.

    The job runs in the folder that the user is in, whatever ``hydra.job.chdir`` says, because file names in the
    configuration are meant from there. Returns the exit code of what Hydra does without a job.

    What a job raises never reaches Hydra, which would print the command line, keys and all, and stop reading.

    Args:
        tell: prints what a job of a sweep raised, at once, perhaps in another process.

    Raises:
        Exception: what the job raised; after a sweep a LmrouteError, that one of its jobs failed.
    """
    failed: list[Exception] = []

    with TemporaryDirectory(prefix="lmroute-") as failures:

        @hydra.main(config_path=str(shipped("conf")), config_name="config", **version_base())
        def task(config: DictConfig) -> None:
            running = HydraConfig.get().runtime
            try:
                with chdir(running.cwd):
                    job(config, Path(running.output_dir))
            except Exception as error:  # noqa: BLE001  all of it is told, here or by whoever called
                if not line.multirun:
                    failed.append(error)
                    return
                tell(_unwritable(error) if isinstance(error, OSError) else error)
                _note_failure(Path(failures))

        with _argv(_with_ours(line)), _raising():
            code = _run(task, line)
        if any(Path(failures).iterdir()):
            raise LmrouteError(_NOT_ALL)
    if failed:
        raise _unwritable(failed[0]) if _is_about_files(failed[0]) else failed[0]
    return code


def _note_failure(folder: Path) -> None:
    """Leave word of a failed job where the process that launched it will look."""
    try:
        (folder / uuid4().hex).touch()
    except OSError:  # another machine, from where only Hydra can tell
        raise LmrouteError(_NOT_ALL) from None


def _is_about_files(error: Exception) -> TypeGuard[OSError]:
    return isinstance(error, OSError) and not isinstance(error, BrokenPipeError)


def _unwritable(error: OSError) -> LmrouteError:
    place = shown(Path(error.filename).absolute()) if error.filename else "the run's folder"
    return LmrouteError(f"{place}: cannot be written: {error.strerror}; go to another folder, or set hydra.run.dir")


def _with_ours(line: CommandLine) -> list[str]:
    """The words, with the search path and our logging among the overrides: Hydra's parser takes them from one place.

    Hydra's own choice of logging writes down what libraries log as it is, keys and all.
    """
    words = list(line.words)
    place = words.index(line.overrides[0]) if line.overrides else 0
    chosen = any(override.lstrip("+~").startswith(_LOGGING) for override in line.overrides)
    ours = [] if chosen else [f"{_LOGGING}=lmroute"]
    return [*words[:place], *searchpath(line.overrides), *ours, *words[place:]]


def _run(task: Callable[[], None], line: CommandLine) -> int:
    try:
        task()
    except HydraException as error:
        compose(line.overrides)  # says it with the place and the fix, if it is about the composition
        raise LmrouteError(str(error)) from error
    except OSError as error:
        raise _unwritable(error) from error
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


@contextmanager
def _raising() -> Iterator[None]:
    """Hydra raises what happens instead of printing it."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before
