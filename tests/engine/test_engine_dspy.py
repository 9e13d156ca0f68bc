"""DSPy end to end over a routed LM: its modules, optimisers, streaming, cache, and how programs are saved."""

import asyncio
import json
import warnings
from typing import Literal

import dspy
import pytest
from dspy import lm15
from dspy.utils.exceptions import ContextWindowExceededError, LMTransportError

from lmroute.emulator.backends.from_schema import instance_of
from lmroute.engine.adapters import CompactAdapter


class Sentiment(dspy.Signature):
    """Is the sentiment of the text positive or negative?"""

    text: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


def model(request):
    """A stand-in for a model: keeps to the schema, and knows good from bad."""
    text = request.messages[-1].parts[0].text
    filled = instance_of(request.config.response_format["schema"], text)
    if "sentiment" in filled:
        filled["sentiment"] = "positive" if "good" in text else "negative"
    return json.dumps(filled)


def is_right(example, prediction, trace=None):
    return example.sentiment == prediction.sentiment


@pytest.fixture
def lm(scripted_lm):
    """The stand-in as DSPy's LM in this context, with the compact adapter."""
    made = scripted_lm(model)
    with dspy.context(lm=made, adapter=CompactAdapter()):
        yield made


@pytest.fixture(scope="module")
def examples():
    texts = {"good soup": "positive", "bad soup": "negative", "good day": "positive", "sad day": "negative"}
    return [dspy.Example(text=text, sentiment=label).with_inputs("text") for text, label in texts.items()]


def calls(lm):
    return [line for line in lm.sink.lines if line["kind"] == "call"]


def test_predict(lm):
    assert dspy.Predict(Sentiment)(text="good soup").sentiment == "positive"
    entry = lm.history[-1]
    assert (entry["model"], entry["response_model"]) == (lm.model, "answering")
    assert entry["response"].provider_data["lmroute"]["provider"] == "a"
    assert entry["usage"]["total_tokens"] == 5


def test_predict_asynchronously(lm):
    prediction = asyncio.run(dspy.Predict(Sentiment).acall(text="bad soup"))
    assert prediction.sentiment == "negative"
    assert calls(lm)[0]["status"] == "ok"


def test_chain_of_thought(lm):
    prediction = dspy.ChainOfThought(Sentiment)(text="good soup")
    assert prediction.sentiment == "positive"
    assert prediction.reasoning


def test_react_with_a_tool(scripted_lm):
    looked_up = []

    def look_up(word: str) -> str:
        looked_up.append(word)
        return "a bird"

    steps = [
        {"next_thought": "what is it?", "next_tool_name": "look_up", "next_tool_args": {"word": "tern"}},
        {"next_thought": "got it", "next_tool_name": "finish", "next_tool_args": {}},
        {"reasoning": "so it says", "answer": "a bird"},
    ]
    made = scripted_lm(*map(json.dumps, steps))
    with dspy.context(lm=made, adapter=dspy.JSONAdapter()):
        assert dspy.ReAct("question -> answer", tools=[look_up])(question="What is a tern?").answer == "a bird"
    assert looked_up == ["tern"]
    assert len(calls(made)) == 3


def test_react_shortens_its_trajectory_when_the_window_is_full(scripted_lm):
    def noisy() -> str:
        return "noise"

    step = {"next_thought": "once more", "next_tool_name": "noisy", "next_tool_args": {}}
    last = {**step, "next_tool_name": "finish"}
    script = [
        *map(json.dumps, (step, step)),
        lm15.ContextLengthError("too long"),
        json.dumps(last),
        '{"reasoning": "", "answer": "done"}',
    ]
    made = scripted_lm(*script)
    with dspy.context(lm=made, adapter=dspy.JSONAdapter()):
        assert dspy.ReAct("question -> answer", tools=[noisy])(question="?").answer == "done"


def test_native_tool_calls(scripted_lm):
    def add(a: int, b: int) -> int:
        return a + b

    call = lm15.ToolCallPart(id="c1", name="add", input={"a": 1, "b": 2})
    made = scripted_lm(
        lambda request: lm15.Response(
            id="r", model="m", message=lm15.Message.assistant((call,)), finish_reason="tool_call", usage=lm15.Usage()
        )
    )
    signature = dspy.Signature("question, tools: list[dspy.Tool] -> calls: dspy.ToolCalls")
    with dspy.context(lm=made, adapter=dspy.JSONAdapter()):
        prediction = dspy.Predict(signature)(question="1 + 2?", tools=[dspy.Tool(add)])
    assert [(c.name, c.args) for c in prediction.calls.tool_calls] == [("add", {"a": 1, "b": 2})]
    assert calls(made)[0]["attributes"]["needs"]["tools"] is True


@pytest.mark.parametrize("kind", [dspy.BestOfN, dspy.Refine])
def test_best_of_n_and_refine_ask_again(kind, lm):
    wanted = iter([0.0, 1.0])
    program = kind(dspy.Predict(Sentiment), N=3, reward_fn=lambda args, prediction: next(wanted), threshold=1.0)
    assert program(text="good soup").sentiment == "positive"
    assert len([c for c in calls(lm) if c["attributes"]["signature"] == "Sentiment"]) == 2


def test_parallel(lm):
    program = dspy.Predict(Sentiment)
    jobs = [(program, {"text": f"{'good' if i % 2 else 'bad'} {i}"}) for i in range(16)]
    predictions = dspy.Parallel(num_threads=8, disable_progress_bar=True)(jobs)
    assert [p.sentiment for p in predictions] == ["negative", "positive"] * 8
    assert len(calls(lm)) == 16


def test_evaluate(lm, examples):
    assert dspy.Evaluate(devset=examples, metric=is_right, num_threads=2)(dspy.Predict(Sentiment)).score == 100.0


def test_evaluation_survives_a_provider_that_is_gone(scripted_lm, examples):
    made = scripted_lm(lm15.TransportError("gone"))
    with dspy.context(lm=made, adapter=CompactAdapter()):
        result = dspy.Evaluate(devset=examples, metric=is_right, num_threads=2, provide_traceback=False)(
            dspy.Predict(Sentiment)
        )
    assert result.score == 0.0
    assert len(calls(made)) == len(examples)


def test_bootstrap_few_shot(lm, examples):
    optimiser = dspy.BootstrapFewShot(metric=is_right, max_bootstrapped_demos=2, max_labeled_demos=2, max_rounds=2)
    optimised = optimiser.compile(dspy.Predict(Sentiment), trainset=examples)
    assert len(optimised.demos) == 2
    assert optimised(text="good soup").sentiment == "positive"
    assert len(lm.child.asked[-1].messages) == 5


def test_random_search(lm, examples):
    optimiser = dspy.BootstrapFewShotWithRandomSearch(
        metric=is_right, num_candidate_programs=2, max_bootstrapped_demos=1, max_labeled_demos=1, num_threads=2
    )
    optimised = optimiser.compile(dspy.Predict(Sentiment), trainset=examples, valset=examples)
    assert dspy.Evaluate(devset=examples, metric=is_right, num_threads=1)(optimised).score == 100.0


def test_copro(lm, examples):
    optimiser = dspy.COPRO(metric=is_right, breadth=2, depth=1, prompt_model=lm)
    options = {"num_threads": 1, "display_progress": False}
    optimised = optimiser.compile(dspy.Predict(Sentiment), trainset=examples, eval_kwargs=options)
    assert optimised(text="good soup").sentiment == "positive"


def test_usage_is_tracked_under_the_stacks_name(lm):
    with dspy.track_usage() as tracker:
        dspy.Predict(Sentiment)(text="good soup")
        dspy.Predict(Sentiment)(text="bad soup")
    assert tracker.get_total_tokens()[lm.model]["total_tokens"] == 10


def test_the_cache_hits_for_the_same_stack_and_misses_for_another(scripted_lm, make):
    one, same = scripted_lm("one", cache=True), scripted_lm("same", cache=True)
    other = scripted_lm("other", cache=True, stack_=make.stack(make.profile(context_window=9999)))
    question = "cached by stack?"
    assert [one(question), one(question), same(question), other(question)] == [["one"], ["one"], ["one"], ["other"]]
    assert [len(m.child.asked) for m in (one, same, other)] == [1, 0, 1]
    hit = one.history[-1]["response"]
    assert hit.provider_data["lmroute"]["provider"] == "a"
    assert one(question, rollout_id=1, temperature=1.0) == ["one"]
    assert len(one.child.asked) == 2


def test_a_failed_call_is_not_cached(scripted_lm):
    made = scripted_lm(lm15.TransportError("gone"), "back", cache=True)
    with pytest.raises(LMTransportError):
        made("cached when failed?")
    assert made("cached when failed?") == ["back"]


def test_the_policy_owns_the_attempts_dspy_retries_nothing(scripted_lm):
    made = scripted_lm(lm15.RateLimitError("busy"))
    with pytest.raises(dspy.utils.exceptions.LMRateLimitError, match="no provider answered"):
        made("hello")
    assert len(made.child.asked) == 1


def test_an_overflow_is_dspys_own(scripted_lm):
    with pytest.raises(ContextWindowExceededError):
        scripted_lm(lm15.ContextLengthError("too long"))("hello")


def test_n_answers_are_n_calls(scripted_lm):
    made = scripted_lm("one", "two", "three")
    assert made("hello", n=3, temperature=1.0) == ["one", "two", "three"]
    assert len(calls(made)) == 3


def test_nothing_here_is_deprecated(lm):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dspy.Predict(Sentiment)(text="good soup")
        asyncio.run(dspy.Predict(Sentiment).acall(text="good soup"))
        lm.copy(temperature=1.0)
