"""A DSPy program on a routed LM: LM Studio if it runs, else the embedded model. The one-liner for notebooks.

python examples/sentiment_program.py
"""

from typing import Literal

import dspy

import lmroute


class Sentiment(dspy.Signature):
    """Is the sentiment of the text positive or negative?"""

    text: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


def main() -> None:
    lm = lmroute.load("provider=[lmstudio,embedded] routing=local_first", temperature=0.0)
    dspy.configure(lm=lm, adapter=lmroute.adapter(lm))
    classify = dspy.Predict(Sentiment)

    for text in ("The soup was cold and nobody cared.", "What a wonderful evening, we danced until two."):
        # Private work stays on this machine, whatever providers are configured.
        with lmroute.task("reviews", privacy="private"):
            answer = classify(text=text)
        trace = lm.history[-1]["response"].provider_data["lmroute"]
        print(f"{answer.sentiment:<9} {trace['provider']}/{trace['model']}  {text}")


if __name__ == "__main__":
    main()
