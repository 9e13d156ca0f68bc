"""The rule about the words of a task: its policy knows them, for a call with others is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.config.complaints import did_you_mean
from lmroute.config.keypaths import dotted
from lmroute.config.secrecy import quoted
from lmroute.diagnostics import Diagnostic
from lmroute.routing.vocabulary import Vocabulary
from lmroute.validate.domains import listed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from lmroute.config.keypaths import KeyPath
    from lmroute.validate.context import Context


def known(context: Context) -> Iterator[Diagnostic]:
    """LMR313: the task has a name or a tag that its policy does not know."""
    if context.policy is None or context.task is None:
        return
    vocabulary = Vocabulary.of(context.policy)
    tags = context.document["task"].get("tags") or ()
    stated = [(("task", "tags", str(index)), tag, vocabulary.tags) for index, tag in enumerate(tags)]
    for path, word, words in [(("task", "name"), context.task.name, vocabulary.tasks), *stated]:
        if words is not None and word not in words:
            yield _unknown(context, path, word, words)


def _unknown(context: Context, path: KeyPath, word: str, words: Collection[str]) -> Diagnostic:
    kind, attribute = ("tag", "tags") if "tags" in path else ("task", "task")
    message = f"policy '{context.document['routing']['name']}' knows no {kind} {quoted(word)}: it refuses such calls"
    others = f"it knows {listed(sorted(words))}; add yours to routing.attributes.{attribute}.values"
    return Diagnostic("LMR313", message, context.locate(path), dotted(path), did_you_mean(word, words) or others)
