"""The tasks: what is asked, which columns of a CSV file it is asked about, and which hold the right answers.

The instructions stand in the signatures' docstrings. They are plain questions: the smallest model that may have to
answer them has 135 million parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import dspy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dspy.signatures.signature import Signature


class Sentiment(dspy.Signature):
    """Is the sentiment of the text positive or negative?"""

    text: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


class Extract(dspy.Signature):
    """Which item does the note order, how many of it (quantity), and to which city?"""

    note: str = dspy.InputField()
    item: str = dspy.OutputField()
    quantity: int = dspy.OutputField()
    city: str = dspy.OutputField()


class Qa(dspy.Signature):
    """Answer the question with a few words from the context."""

    context: str = dspy.InputField()
    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


class Ask(dspy.Signature):
    """Answer the question in one or two sentences."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


@dataclass(frozen=True, slots=True)
class Task:
    """A task: its signature, and the columns of its data that are called otherwise than the signature's fields."""

    name: str
    signature: type[Signature]
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Fields that are given to the model."""
        return tuple(self.signature.input_fields)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Fields that the model answers with."""
        return tuple(self.signature.output_fields)

    def column(self, name: str) -> str:
        """The column of the data file that holds a field."""
        return self.renamed.get(name, name)

    def choices(self, name: str) -> tuple[str, ...]:
        """The values that an answer may take; empty when it is free."""
        annotation = self.signature.output_fields[name].annotation
        return tuple(getattr(annotation, "__args__", ())) if str(annotation).startswith("typing.Literal") else ()


TASKS: dict[str, Task] = {
    # Everybody calls the column `label`; the model is asked for the `sentiment`, which tells it what is meant.
    "sentiment": Task("sentiment", Sentiment, renamed={"sentiment": "label"}),
    "extract": Task("extract", Extract),
    "qa": Task("qa", Qa),
    "ask": Task("ask", Ask),
}
