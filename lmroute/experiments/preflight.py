"""Everything that can be found out before a run directory is made and a model is asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lmroute import validate
from lmroute.errors import ConfigError
from lmroute.experiments import data
from lmroute.experiments.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.diagnostics import Diagnostic
    from lmroute.model import Stack


def check(jobs: Sequence[Sequence[str]]) -> None:
    """Check every job of a run.

    Raises:
        ConfigError: all findings of all jobs, each once.
        DataError: a data file is missing or malformed.
    """
    findings: dict[Diagnostic, None] = {}
    for overrides in jobs:
        try:
            checked = validate.check(overrides)
            findings.update(dict.fromkeys(w for w in checked.warnings if w.code == "LMR401"))
        except ConfigError as error:
            findings.update(dict.fromkeys(error.diagnostics))
        else:
            rows_of(checked.stack, Path.cwd())
    if findings:
        raise ConfigError(list(findings))


def refuse_literal_keys(overrides: Sequence[str]) -> None:
    """Refuse a configuration that holds a secret itself, before Hydra prints it. Other findings are no matter here.

    Raises:
        ConfigError: the literal secrets.
    """
    try:
        validate.check(overrides)
    except ConfigError as error:
        if literal := [finding for finding in error.diagnostics if finding.code == "LMR005"]:
            raise ConfigError(literal) from None


def rows_of(stack: Stack, folder: Path) -> list[data.Row]:
    """The rows that a configuration's task is about. Relative names of data files are looked up in ``folder``.

    Raises:
        DataError: the data file is missing or malformed.
    """
    spec, task = stack.task, TASKS[stack.task.name]
    if spec.data is None:
        return [data.Row(0, {"question": spec.question or ""}, {})]
    return data.sample(data.read(data.find(spec.data, folder), task), spec.limit, stack.seed)
