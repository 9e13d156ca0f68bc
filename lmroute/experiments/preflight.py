"""Everything that can be found out before a run directory is made and a model is asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lmroute import config, secrets
from lmroute.diagnostics import Diagnostic
from lmroute.errors import ConfigError, SecretError
from lmroute.experiments import data
from lmroute.experiments.tasks import TASKS
from lmroute.routing.policy import compile_policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lmroute.config import Checked
    from lmroute.model import SecretRef, Stack


def check(jobs: Sequence[Sequence[str]]) -> None:
    """Check every job of a run.

    Raises:
        ConfigError: all findings of all jobs, each once.
        DataError: a data file is missing or malformed.
    """
    findings: dict[Diagnostic, None] = {}
    for overrides in jobs:
        try:
            checked = config.check(overrides)
            findings.update(dict.fromkeys(_missing_secrets(checked)))
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
        config.check(overrides)
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


def _missing_secrets(checked: Checked) -> Iterator[Diagnostic]:
    """Required secrets of providers that the policy can reach. Optional ones and unreachable providers need none."""
    stack = checked.stack
    for name in compile_policy(stack.policy, stack.providers).providers_in_use():
        ref = stack.providers[name].auth_token
        if ref is not None and stack.providers[name].enabled and secrets.is_missing(ref):
            key = ("providers", name, "auth_token")
            others = [other for other in stack.providers if other != name] or ["embedded"]
            advice = f"without {name}: provider=[{','.join(others)}]"
            yield Diagnostic("LMR401", _why(ref), checked.locate(key), ".".join(key), advice)


def _why(ref: SecretRef) -> str:
    """Why there is no secret, and what to do about it, in the words of the resolver."""
    try:
        secrets.resolve(ref)
    except SecretError as error:
        return str(error)
    return f"{ref} was not set a moment ago"
