"""Several questions at once on one event loop.

python examples/async_program.py
"""

import asyncio

import dspy

import lmroute

QUESTIONS = ("What colour is the sky on a clear day?", "How many legs does a spider have?")


async def main() -> None:
    lm = lmroute.load("provider=[lmstudio,embedded] routing=local_first", temperature=0.0, max_tokens=48)
    dspy.configure(lm=lm, adapter=lmroute.adapter(lm))
    ask = dspy.Predict(dspy.Signature("question -> answer", "Answer the question in one sentence."))

    answers = await asyncio.gather(*(ask.acall(question=question) for question in QUESTIONS))
    for question, answer in zip(QUESTIONS, answers, strict=True):
        print(f"{question} {answer.answer}")


if __name__ == "__main__":
    asyncio.run(main())
