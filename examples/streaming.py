"""Tokens as they come: dspy.streamify over a routed LM. A fallback can only happen before the first one is shown.

python examples/streaming.py
"""

import asyncio

import dspy

import lmroute


async def main() -> None:
    lm = lmroute.load("provider=[lmstudio,embedded] routing=local_first", temperature=0.0, max_tokens=64)
    dspy.configure(lm=lm, adapter=lmroute.adapter(lm))
    ask = dspy.streamify(
        dspy.Predict(dspy.Signature("question -> answer", "Answer the question in one sentence.")),
        stream_listeners=[dspy.streaming.StreamListener(signature_field_name="answer")],
    )

    pieces = 0
    async for item in ask(question="What is the capital of France?"):
        if isinstance(item, dspy.streaming.StreamResponse):
            pieces += 1
            print(item.chunk, end="", flush=True)
    print(f"\n({pieces} pieces)")


if __name__ == "__main__":
    asyncio.run(main())
