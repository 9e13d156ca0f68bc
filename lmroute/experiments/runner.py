"""Ask the routed LM about every row, in order or on several threads, and keep going when single rows fail."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from itertools import islice
from typing import TYPE_CHECKING, Any

import dspy
from dspy.utils.exceptions import AdapterParseError, DSPyError, LMInvalidRequestError

from lmroute.engine.request.scope import task as task_scope
from lmroute.engine.trace import TRACE_KEY
from lmroute.engine.verdicts import one_line
from lmroute.experiments.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lmroute.experiments.data import Row
    from lmroute.experiments.tasks import Task
    from lmroute.model import TaskSpec

GIVE_UP_AFTER = 3
"""Rows in a row that no provider answers, after which the rest is not asked: the servers are gone."""

_LONGEST_ERROR = 2000  # characters: it names every candidate that was tried, and why it failed


def run(task: Task, spec: TaskSpec, rows: Sequence[Row], lm: dspy.LM, adapter: dspy.Adapter) -> Iterator[Outcome]:
    """The outcome of each row, in the order of the rows, as soon as it is known. Ends early when nobody answers."""
    predict = dspy.Predict(task.signature)

    def ask(row: Row) -> Outcome:
        with (
            dspy.context(lm=lm, adapter=adapter),
            task_scope(spec.name, privacy=spec.privacy, tags=spec.tags),
        ):
            return _ask(predict, row)

    begin = _begin if spec.threads > 1 else _do
    waiting, under_way, unserved = iter(rows), deque[Future[Outcome]](), 0
    while True:
        if unserved < GIVE_UP_AFTER:
            under_way.extend(begin(ask, row) for row in islice(waiting, spec.threads - len(under_way)))
        if not under_way:
            return
        outcome = under_way.popleft().result()
        unserved = unserved + 1 if outcome.unserved and not outcome.refused else 0
        yield outcome


def _do(ask: Callable[[Row], Outcome], row: Row) -> Future[Outcome]:
    """Ask here and now: where Ctrl-C comes, so that it ends the call itself."""
    future: Future[Outcome] = Future()
    future.set_result(ask(row))
    return future


def _begin(ask: Callable[[Row], Outcome], row: Row) -> Future[Outcome]:
    """Ask on another thread; a daemon, because after Ctrl-C nobody waits for the answer of a hanging server."""
    future: Future[Outcome] = Future()

    def work() -> None:
        try:
            future.set_result(ask(row))
        except BaseException as error:  # noqa: BLE001  raised again by result()
            future.set_exception(error)

    threading.Thread(target=work, name=f"row {row.line}", daemon=True).start()
    return future


def _ask(predict: dspy.Predict, row: Row) -> Outcome:
    # A copy has a history of its own, which tells the calls of this row from those of other threads.
    lm = dspy.settings.lm.copy()
    started = time.monotonic()
    answer: dict[str, Any] = {}
    error, unserved, refused = "", False, False
    try:
        with dspy.context(lm=lm):
            prediction = predict(**row.inputs)
            answer = {name: prediction[name] for name in predict.signature.output_fields}
    except AdapterParseError as problem:
        error = f"unusable answer: {one_line(problem)}"
    except DSPyError as problem:
        error, unserved = one_line(problem, _LONGEST_ERROR), True
        refused = isinstance(problem, LMInvalidRequestError)
    except (ValueError, RecursionError) as problem:  # DSPy's parsers on answers that are nested too deeply
        error = f"unusable answer: {one_line(problem)}"
    duration_ms = (time.monotonic() - started) * 1000
    return Outcome(row, answer, _traces(lm), error, unserved, refused, duration_ms)


def _traces(lm: dspy.LM) -> tuple[dict[str, Any], ...]:
    responses = [response for entry in lm.history for response in _listed(entry["response"])]
    return tuple(r.provider_data[TRACE_KEY] for r in responses if (r.provider_data or {}).get(TRACE_KEY))


def _listed(response: Any) -> Sequence[Any]:
    return response if isinstance(response, list | tuple) else (response,)
