"""Rules about the task: each needs its input, ``ask`` a question and the others data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.config.keypaths import dotted
from lmroute.diagnostics import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.model import TaskSpec
    from lmroute.validate.context import Context

_QUESTION = ("question",)


def inputs(context: Context) -> Iterator[Diagnostic]:
    """LMR101: a task without its question or data. LMR103: a question that nobody asks, which is a mistake too."""
    if context.task is None:
        return
    yield from (_ask if context.task.name == "ask" else _over_data)(context, context.task)


def _ask(context: Context, task: TaskSpec) -> Iterator[Diagnostic]:
    if not (task.question or "").strip():
        advice = "set it: question='\"Why is the sky blue?\"'"
        yield Diagnostic("LMR101", "task 'ask' needs a question", context.locate(_QUESTION), "question", advice)


def _over_data(context: Context, task: TaskSpec) -> Iterator[Diagnostic]:
    if not (task.data or "").strip():
        path = ("task", "data")
        message, advice = f"task '{task.name}' needs data", f"set it: {dotted(path)}=FILE.csv"
        yield Diagnostic("LMR101", message, context.locate(path), dotted(path), advice)
    if context.document.get("question") is not None:
        message = f"task '{task.name}' asks no question of yours"
        yield Diagnostic("LMR103", message, context.locate(_QUESTION), "question", "add task=ask")
