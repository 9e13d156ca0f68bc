"""Ask the routed LM about every row, in order or on several threads, and keep going when single rows fail."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import dspy
from dspy.utils.exceptions import AdapterParseError, DSPyError

from lmroute.engine.attributes import task as task_scope
from lmroute.engine.call import TRACE_KEY
from lmroute.engine.verdicts import one_line
from lmroute.experiments.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lmroute.experiments.data import Row
    from lmroute.experiments.tasks import Task
    from lmroute.model import TaskSpec

GIVE_UP_AFTER = 3
"""Rows in a row that no provider answers, after which the rest is not asked: the servers are gone."""


def run(task: Task, spec: TaskSpec, rows: Sequence[Row], lm: dspy.LM, adapter: dspy.Adapter) -> Iterator[Outcome]:
    """The outcome of each row, in the order of the rows, as soon as it is known. Ends early when nobody answers."""
    predict = dspy.Predict(task.signature)
    unserved = 0

    def ask(row: Row) -> Outcome:
        with (
            dspy.context(lm=lm, adapter=adapter),
            task_scope(spec.name, privacy=spec.privacy, tags=spec.tags),
        ):
            return _ask(predict, row)

    with ThreadPoolExecutor(max_workers=spec.threads) as pool:
        for outcome in _in_order(pool, ask, rows, spec.threads):
            yield outcome
            unserved = unserved + 1 if outcome.unserved else 0
            if unserved == GIVE_UP_AFTER:
                return


def _in_order(pool: ThreadPoolExecutor, ask: Any, rows: Sequence[Row], ahead: int) -> Iterator[Outcome]:
    """Like ``pool.map``, but no more than ``ahead`` rows are under way, so that stopping early stops."""
    waiting = [pool.submit(ask, row) for row in rows[:ahead]]
    for row in [*rows[ahead:], *[None] * len(waiting)]:
        if not waiting:
            return
        outcome = waiting.pop(0).result()
        if row is not None:
            waiting.append(pool.submit(ask, row))
        yield outcome


def _ask(predict: dspy.Predict, row: Row) -> Outcome:
    # A copy has a history of its own, which tells the calls of this row from those of other threads.
    lm = dspy.settings.lm.copy()
    started = time.monotonic()
    answer: dict[str, Any] = {}
    error, unserved = "", False
    try:
        with dspy.context(lm=lm):
            prediction = predict(**row.inputs)
            answer = {name: prediction[name] for name in predict.signature.output_fields}
    except AdapterParseError as problem:
        error = f"unusable answer: {one_line(problem)}"
    except DSPyError as problem:
        error, unserved = one_line(problem), True
    duration_ms = (time.monotonic() - started) * 1000
    return Outcome(row, answer, _traces(lm), error, unserved, duration_ms)


def _traces(lm: dspy.LM) -> tuple[dict[str, Any], ...]:
    responses = [response for entry in lm.history for response in _listed(entry["response"])]
    return tuple(r.provider_data[TRACE_KEY] for r in responses if (r.provider_data or {}).get(TRACE_KEY))


def _listed(response: Any) -> Sequence[Any]:
    return response if isinstance(response, list | tuple) else (response,)
