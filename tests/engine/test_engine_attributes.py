"""What predicates can know about a request: what the caller says, what DSPy's program is, what the request holds."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import dspy
import pytest
from dspy import lm15
from hypothesis import given
from hypothesis import strategies as st

from lmroute import task
from lmroute.engine.request.attributes import ambient, attributes_of, estimate_tokens
from lmroute.model import Attributes, Privacy

ANSWER = "[[ ## answer ## ]]\nyes\n\n[[ ## completed ## ]]"
REASONED = "[[ ## reasoning ## ]]\nbecause\n\n" + ANSWER


class Question(dspy.Signature):
    """Answer it."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


class Mine(dspy.Module):
    """A user's program with a program of DSPy's inside."""

    def __init__(self):
        super().__init__()
        self.inner = dspy.ChainOfThought(Question)

    def forward(self, question):
        return self.inner(question=question)


@pytest.fixture
def told(scripted_lm):
    """The attributes of the one call that some code makes: ``told(code, reply) -> dict``."""

    def of(code, reply=ANSWER):
        lm = scripted_lm(reply)
        with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
            code()
        (call,) = (line for line in lm.sink.lines if line["kind"] == "call")
        return call["attributes"]

    return of


def test_without_a_task_nothing_is_known():
    assert ambient() == Attributes()


def test_tasks_nest():
    with task("outer", privacy="public", tags=["a"]):
        assert (ambient().task, ambient().privacy, ambient().tags) == ("outer", Privacy.PUBLIC, {"a"})
        with task(tags=("b",)):
            assert (ambient().task, ambient().privacy, ambient().tags) == ("outer", Privacy.PUBLIC, {"a", "b"})
        with task("inner", privacy=Privacy.PRIVATE):
            assert (ambient().task, ambient().privacy, ambient().tags) == ("inner", Privacy.PRIVATE, {"a"})
        assert ambient().task == "outer"
    assert ambient() == Attributes()


def test_inside_private_work_everything_stays_private():
    with task(privacy="private"), task(privacy="public"), task("deeper", privacy="internal"):
        assert ambient().privacy is Privacy.PRIVATE


@given(st.lists(st.sampled_from([None, *Privacy]), min_size=1, max_size=6))
def test_privacy_is_the_strictest_that_was_said(levels):
    def enter(rest):
        if not rest:
            return ambient().privacy
        with task(privacy=rest[0]):
            return enter(rest[1:])

    stated = [level for level in levels if level]
    rising = [Privacy.PUBLIC, Privacy.INTERNAL, Privacy.PRIVATE]
    assert enter(levels) is max(stated, key=rising.index, default=Privacy.INTERNAL)


def test_an_unknown_privacy_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match="secret"), task(privacy="secret"):
        pytest.fail("the block must not run")


def test_a_single_tag_may_be_a_plain_word():
    with task(tags="urgent"):
        assert ambient().tags == {"urgent"}


def test_an_exception_ends_the_task():
    with pytest.raises(KeyError), task("gone"):
        raise KeyError
    assert ambient().task == ""


def test_it_decorates_functions_any_number_of_times():
    bulk = task("bulk", tags="a")

    @bulk
    def plain(depth):
        """Ask."""
        return (plain(depth - 1) if depth else ambient()), ambient()

    @bulk
    def another():
        return ambient()

    assert plain.__doc__ == "Ask."
    (inner, middle), outer = plain(1)[0], plain(0)[1]
    assert {seen.task for seen in (inner, middle, outer, another())} == {"bulk"}
    with ThreadPoolExecutor(4) as pool:
        assert [seen.task for seen in pool.map(lambda _: another(), range(40))] == ["bulk"] * 40
    assert ambient() == Attributes()


def test_it_decorates_async_functions():
    @task(privacy="private")
    async def ask(name):
        with task(name):
            await asyncio.sleep(0)
            return ambient()

    async def main():
        found = await asyncio.gather(*map(ask, "abc"))
        return found, ambient()

    found, after = asyncio.run(main())
    assert [(seen.task, seen.privacy) for seen in found] == [(name, Privacy.PRIVATE) for name in "abc"]
    assert after == Attributes()


def test_it_refuses_to_decorate_generators():
    def numbers():
        yield 1

    async def later():
        yield 1

    for body in (numbers, later):
        with pytest.raises(TypeError, match=rf"{body.__name__}: put `with lmroute.task\(...\):` inside"):
            task("bulk")(body)


def tasks_of(lm):
    return [line["attributes"]["task"] for line in lm.sink.lines if line["kind"] == "call"]


def test_it_is_carried_into_parallel_threads(scripted_lm):
    lm = scripted_lm(ANSWER)
    seen = set()

    class Program(dspy.Module):
        def forward(self, question):
            seen.add(threading.get_ident())
            return dspy.Predict(Question)(question=question)

    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()), task("bulk", privacy="private"):
        program = Program()
        dspy.Parallel(num_threads=4, disable_progress_bar=True)([(program, {"question": str(i)}) for i in range(8)])
    assert threading.get_ident() not in seen
    assert tasks_of(lm) == ["bulk"] * 8
    assert {line["attributes"]["privacy"] for line in lm.sink.lines if line["kind"] == "call"} == {"private"}


def test_it_is_carried_into_an_evaluation(scripted_lm):
    lm = scripted_lm(ANSWER)
    examples = [dspy.Example(question=str(i), answer="yes").with_inputs("question") for i in range(4)]
    evaluate = dspy.Evaluate(devset=examples, metric=dspy.evaluate.answer_exact_match, num_threads=2)
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()), task("judged"):
        assert evaluate(dspy.Predict(Question)).score == 100.0
    assert tasks_of(lm) == ["judged"] * 4


def test_it_is_carried_into_async_tasks_and_each_has_its_own(scripted_lm):
    lm = scripted_lm(ANSWER)

    async def ask(name):
        with task(name):
            await asyncio.sleep(0)
            await dspy.Predict(Question).acall(question=name)

    async def main():
        with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
            await asyncio.gather(*map(ask, "abcd"))

    asyncio.run(main())
    assert sorted(tasks_of(lm)) == list("abcd")


def test_it_is_carried_into_a_streamed_program(scripted_lm):
    lm = scripted_lm(ANSWER)

    async def main():
        async for _ in dspy.streamify(dspy.Predict(Question))(question="?"):
            pass

    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()), task("streamed"):
        asyncio.run(main())
    (call,) = (line for line in lm.sink.lines if line["kind"] == "call")
    assert (call["attributes"]["task"], call["attributes"]["stream"]) == ("streamed", True)


def names(attributes):
    return attributes["module"], attributes["signature"]


def test_a_plain_call_has_no_program(told):
    assert names(told(lambda: dspy.settings.lm("hello"))) == ("", "")


def test_a_predictor(told):
    assert names(told(lambda: dspy.Predict(Question)(question="?"))) == ("Predict", "Question")


def test_a_string_signature_has_no_name(told):
    ask = dspy.Predict("question -> answer")
    assert names(told(lambda: ask(question="?"))) == ("Predict", "")


def test_a_signature_that_dspy_derived_has_the_name_of_the_users(told):
    told_ = told(lambda: dspy.ChainOfThought(Question)(question="?"), REASONED)
    assert names(told_) == ("ChainOfThought", "Question")


def test_a_users_module_has_its_name(told):
    assert names(told(lambda: Mine()(question="?"), REASONED)) == ("Mine", "Question")


def test_the_innermost_of_the_users_modules_counts(told):
    class Outer(dspy.Module):
        def __init__(self):
            super().__init__()
            self.inner = Mine()

        def forward(self, question):
            return self.inner(question=question)

    assert told(lambda: Outer()(question="?"), REASONED)["module"] == "Mine"


def test_react(scripted_lm):
    step = "[[ ## next_thought ## ]]\nok\n\n[[ ## next_tool_name ## ]]\nfinish\n\n[[ ## next_tool_args ## ]]\n{}\n"
    lm = scripted_lm(step, REASONED)
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        dspy.ReAct(Question, tools=[])(question="?")
    calls = [line["attributes"] for line in lm.sink.lines if line["kind"] == "call"]
    assert list(map(names, calls)) == [("ReAct", "Question")] * 2


def test_the_requests_own_facts(make):
    tool = lm15.FunctionTool("f", "does it", {"type": "object", "properties": {}})
    request = make.ask(
        tools=(tool,),
        max_tokens=9,
        response_format={"type": "json_object"},
        reasoning=lm15.Reasoning(effort="low"),
    )
    assert attributes_of(request, stream=True) == Attributes(
        needs_tools=True,
        needs_response_schema=True,
        needs_reasoning=True,
        prompt_tokens=2,
        max_output_tokens=9,
        stream=True,
    )
    assert attributes_of(make.ask()) == Attributes(prompt_tokens=2)


def test_images_need_eyes(make):
    picture = lm15.ImagePart(data="aGk=")
    request = lm15.Request(model="m", messages=(lm15.Message.user([lm15.TextPart("what is it?"), picture]),))
    assert attributes_of(request).needs_vision
    assert not attributes_of(make.ask()).needs_vision


def test_an_image_that_a_tool_answered_with_needs_eyes():
    def after(*content):
        result = lm15.ToolResultPart(id="1", content=content)
        return attributes_of(lm15.Request(model="m", messages=(lm15.Message(role="tool", parts=(result,)),)))

    text, picture = lm15.TextPart("a screenshot"), lm15.ImagePart(data="aGk=")
    assert after(text, picture).needs_vision
    assert not after(text).needs_vision


@pytest.mark.parametrize(
    ("text", "system", "tokens"),
    [
        ("x", None, 1),
        ("x" * 4, None, 1),
        ("x" * 5, None, 2),
        ("x" * 4, "y" * 8, 3),
        ("x", (lm15.TextPart("y" * 3), lm15.TextPart("z" * 4)), 2),
    ],
)
def test_the_estimate(make, text, system, tokens):
    assert estimate_tokens(make.ask(text, system=system)) == tokens


def test_all_turns_count(make):
    turns = (lm15.Message.user("x" * 8), lm15.Message.assistant("y" * 8), lm15.Message.user("z" * 8))
    assert estimate_tokens(lm15.Request(model="m", messages=turns)) == 6


def test_what_tools_were_asked_and_said_counts():
    call = lm15.ToolCallPart(id="1", name="search", input={"query": "x" * 400})
    result = lm15.ToolResultPart(id="1", content=(lm15.TextPart("y" * 400),))
    turns = (lm15.Message.user("hi"), lm15.Message.assistant((call,)), lm15.Message(role="tool", parts=(result,)))
    assert estimate_tokens(lm15.Request(model="m", messages=turns)) >= 200


@pytest.mark.parametrize(("said", "named"), [({"name": 1}, "1"), ({"tags": ["ok", 7]}, "7"), ({"use": 3}, "3")])
def test_a_task_is_described_in_strings(said, named):
    with pytest.raises(TypeError, match=f"strings for its name, use and tags, not {named}"), task(**said):
        pass


def test_a_misspelt_privacy_is_told_what_there_is():
    with pytest.raises(ValueError, match="public, internal, private; not 'Private'"), task(privacy="Private"):
        pass
