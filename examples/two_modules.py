"""A program of two steps, each on a model of its own: conf/routing/by_signature.yaml sends them where they belong.

Classifying is small work, so the rule `small_steps` asks the embedded model. Drafting wants a better one: the rule
`writing` asks LM Studio, and the embedded model where no server is running. Nothing in the program says so.

python examples/two_modules.py
"""

from typing import Literal

import dspy

import lmroute


class Classify(dspy.Signature):
    """Which desk is the message for?"""

    message: str = dspy.InputField()
    desk: Literal["billing", "technical"] = dspy.OutputField()


class DraftReply(dspy.Signature):
    """Answer the customer in one friendly sentence."""

    message: str = dspy.InputField()
    desk: str = dspy.InputField()
    reply: str = dspy.OutputField()


class Support(dspy.Module):
    """Sends a message to a desk and drafts the reply."""

    def __init__(self) -> None:
        super().__init__()
        self.classify = dspy.Predict(Classify)
        self.draft = dspy.Predict(DraftReply)

    def forward(self, message: str) -> dspy.Prediction:
        desk = self.classify(message=message).desk
        return dspy.Prediction(desk=desk, reply=self.draft(message=message, desk=desk).reply)

    async def aforward(self, message: str) -> dspy.Prediction:
        desk = (await self.classify.acall(message=message)).desk
        return dspy.Prediction(desk=desk, reply=(await self.draft.acall(message=message, desk=desk)).reply)


MESSAGES = ("I was charged twice this month.", "The app crashes when I open a photo.")


def main() -> None:
    lm = lmroute.load("provider=[lmstudio,embedded] routing=by_signature", temperature=0.0, max_tokens=64)
    dspy.configure(lm=lm, adapter=lmroute.adapter(lm))
    support = Support()

    for message in MESSAGES:
        answer = support(message=message)
        print(f"{message}\n  {answer.desk}: {answer.reply}")
        for call in lm.history[-2:]:
            trace = call["response"].provider_data["lmroute"]
            print(f"  {trace['rule']:<11} {trace['provider']}/{trace['model']}")


if __name__ == "__main__":
    main()
