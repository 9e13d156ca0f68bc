"""Everything that can be found out before a run directory is made and a model is asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.config.compose import compose
from lmroute.config.decode import decode
from lmroute.diagnostics import Severity
from lmroute.errors import ConfigError, LmrouteError
from lmroute.validate.pipeline import judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.diagnostics import Diagnostic
    from lmroute.experiments import data
    from lmroute.model import Stack

_STOPS = {"LMR401"}
"""What checking files only warns of, and a run cannot do without: the secrets it needs."""


def check(jobs: Sequence[Sequence[str]]) -> list[Diagnostic]:
    """Check every job of a run; returns what they are warned about, each once.

    Data files are read last, when nothing is wrong with any job's configuration.

    Raises:
        ConfigError: all errors of all jobs, each once.
        DataError: a data file is missing or malformed.
    """
    found: dict[Diagnostic, None] = {}
    stacks: list[Stack] = []
    for overrides in jobs:
        stack, findings = _judged(overrides)
        found.update(dict.fromkeys(findings))
        stacks += [stack] if stack else []
    if errors := [finding for finding in found if finding.severity is Severity.ERROR]:
        raise ConfigError(errors)
    for stack in stacks:
        rows_of(stack, Path.cwd())
    return list(found)


def _judged(overrides: Sequence[str]) -> tuple[Stack | None, list[Diagnostic]]:
    """The stack of one job, if it has no errors, and what is found in it."""
    try:
        composition = compose(overrides)
    except ConfigError as error:
        return None, list(error.diagnostics)
    judged = judge(composition)
    findings = [replace(one, severity=Severity.ERROR) if one.code in _STOPS else one for one in judged]
    broken = any(finding.severity is Severity.ERROR for finding in findings)
    return None if broken else decode(composition.document), findings


def refuse_literal_keys(overrides: Sequence[str]) -> None:
    """Refuse a configuration that holds a secret itself, before Hydra prints it. Other findings are no matter here.

    Raises:
        ConfigError: the literal secrets.
    """
    if literal := [finding for finding in _judged(overrides)[1] if finding.code == "LMR005"]:
        raise ConfigError(literal)


def refuse_pasted_keys(words: Sequence[str]) -> None:
    """Refuse a command line with a key in it, wherever: Hydra writes the words into the run's folder, as they are.

    Raises:
        LmrouteError: a word has the shape of a key.
    """
    for word in words:
        if (shown := redact.text(word)) != word:
            raise LmrouteError(
                f"the command line holds what looks like a key: {shown}\n"
                "  help: leave it out, since words are kept in the run's folder (.hydra) and in the shell's history; "
                "a key that stood here is better made anew"
            )


def rows_of(stack: Stack, folder: Path) -> list[data.Row]:
    """The rows that a configuration's task is about. Relative names of data files are looked up in ``folder``.

    Raises:
        DataError: the data file is missing or malformed.
    """
    # DSPy describes what a task asks, and takes a second to import: by now the configuration is known to be good.
    from lmroute.experiments import data  # noqa: PLC0415
    from lmroute.experiments.tasks import TASKS  # noqa: PLC0415

    spec, task = stack.task, TASKS[stack.task.name]
    if spec.data is None:
        return [data.Row(0, {"question": spec.question or ""}, {})]
    return data.sample(data.read(data.find(spec.data, folder), task), spec.limit, stack.seed)
