"""One run of one task: ask, measure, show and write down."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmroute import validate
from lmroute.engine.adapters import adapter_for
from lmroute.engine.resolver import build
from lmroute.errors import ProviderUnavailable
from lmroute.experiments import report, runner
from lmroute.experiments.files import CALLS, RunFiles
from lmroute.experiments.outcomes import Outcome, summarise
from lmroute.experiments.preflight import rows_of
from lmroute.experiments.tasks import TASKS
from lmroute.telemetry.sinks.sink import JsonlSink

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import dspy
    from omegaconf import DictConfig

    from lmroute.model import Stack
    from lmroute.validate import Checked


def run(cfg: DictConfig, folder: Path) -> None:
    """One run of one task.

    Raises:
        LmrouteError: the configuration or the data is wrong, or rows got no answer.
    """
    checked = validate.check_composed(cfg)
    stack = checked.stack
    rows = rows_of(stack, Path.cwd())
    console = report.results_console()
    started = time.monotonic()
    outcomes: list[Outcome] = []
    with (
        RunFiles(folder) as files,
        report.Watch(report.progress_console(), len(rows)) as watch,
        asking(stack, files, watch) as (lm, adapter),
    ):
        identity = _identity(stack, lm, adapter)
        report.show_choice(console, identity, rows=len(rows))
        try:
            for outcome in runner.run(TASKS[stack.task.name], stack.task, rows, lm, adapter):
                outcomes.append(outcome)
                files.add(outcome)
                watch.answered(outcome)
        finally:  # also when interrupted: what is done is worth its summary
            summary = {**identity, **summarise(outcomes, duration_s=time.monotonic() - started)}
            files.finish(summary)
    if not all(outcome.unserved for outcome in outcomes):
        (report.show_rows if stack.task.data else report.show_answers)(console, outcomes)
        report.show_summary(console, summary, folder)
    _complain(checked, outcomes, len(rows))


@contextmanager
def asking(stack: Stack, files: RunFiles, watch: report.Watch) -> Iterator[tuple[dspy.LM, dspy.Adapter]]:
    """The LM and the adapter of a run: greedy, seeded, uncached, recorded; let go of at the end."""
    sink = JsonlSink(files.folder / CALLS)
    task = stack.task
    greedy = {"cache": False, "temperature": 0.0, "seed": stack.seed, "max_tokens": task.max_tokens}
    lm = build(stack, sink=sink, on_fetch=watch.fetching, **greedy)
    try:
        yield lm, adapter_for(stack)
    finally:
        lm.engine.close()
        sink.close()


def _identity(stack: Stack, lm: dspy.LM, adapter: dspy.Adapter) -> dict[str, Any]:
    """What was run, for the summary."""
    return {
        "task": stack.task.name,
        "data": stack.task.data,
        "stack": lm.model.removeprefix("lmroute/"),
        "providers": list(stack.providers),
        "adapter": type(adapter).__qualname__,
        "seed": stack.seed,
    }


def _complain(checked: Checked, outcomes: Sequence[Outcome], rows: int) -> None:
    """Raise when rows got no answer, naming what was tried and where to mend it."""
    unserved = [outcome for outcome in outcomes if outcome.unserved]
    if not unserved:
        return
    first, left, providers = unserved[0], rows - len(outcomes), checked.stack.providers
    what = f"{len(unserved)} of {rows} rows got no answer (line {first.row.line} of the data first)"
    stopped = f"; {left} not asked" if left else ""
    lines = [f"{what if first.row.line else 'the question got no answer'}{stopped}: {first.error}"]
    lines += [f"  {name} is declared at {checked.locate(('providers', name))}" for name in providers]
    if "embedded" not in providers:
        advice = f"provider=[{','.join(providers)},embedded]"
        lines.append(f"  help: start a server or mend its endpoint; or add the model that needs none: {advice}")
    raise ProviderUnavailable("\n".join(lines))
