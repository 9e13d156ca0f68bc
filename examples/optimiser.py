"""An optimiser over a routed LM: BootstrapFewShot picks demonstrations, judged on labelled sentences.

python examples/optimiser.py
"""

import csv
from pathlib import Path
from typing import Literal

import dspy

import lmroute

DATA = Path(__file__).parent / "data" / "sentiment.csv"


class Sentiment(dspy.Signature):
    """Is the sentiment of the text positive or negative?"""

    text: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


def examples(first: int, last: int) -> list[dspy.Example]:
    with DATA.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[first:last]
    return [dspy.Example(text=row["text"], sentiment=row["label"]).with_inputs("text") for row in rows]


def is_right(example: dspy.Example, answer: dspy.Prediction, trace: object = None) -> bool:  # noqa: ARG001
    return bool(example.sentiment == answer.sentiment)


def main() -> None:
    lm = lmroute.load("provider=embedded routing=local_only", temperature=0.0)
    dspy.configure(lm=lm, adapter=lmroute.adapter(lm))
    program = dspy.Predict(Sentiment)

    optimiser = dspy.BootstrapFewShot(metric=is_right, max_bootstrapped_demos=2, max_labeled_demos=2)
    optimised = optimiser.compile(program, trainset=examples(0, 8))

    evaluate = dspy.Evaluate(devset=examples(8, 16), metric=is_right, num_threads=1)
    before, after = evaluate(program).score, evaluate(optimised).score
    print(f"before {before:.1f}, after {after:.1f} with {len(optimised.demos)} demonstrations")


if __name__ == "__main__":
    main()
