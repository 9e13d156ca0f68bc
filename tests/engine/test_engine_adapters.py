"""CompactAdapter says no more than a small model can take in; ``auto`` finds out who needs that."""

import json
from dataclasses import replace
from typing import Any, Literal

import dspy
import pydantic
import pytest
from dspy.utils.exceptions import AdapterParseError

from lmroute.engine.adapters import CompactAdapter, adapter_for, is_small, parameters_of
from lmroute.model import (
    AUTO,
    Candidate,
    Capabilities,
    JsonMode,
    Locality,
    Operator,
    Privacy,
    Rule,
    Selector,
    TaskSpec,
    Test,
)


class Sentiment(dspy.Signature):
    """Is the sentiment of the text positive or negative?"""

    text: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


class Order(dspy.Signature):
    """Which item, how many?"""

    note: str = dspy.InputField()
    shop: str = dspy.InputField()
    item: str = dspy.OutputField(desc="one word")
    quantity: int = dspy.OutputField()


class Person(pydantic.BaseModel):
    name: str
    age: int | None = None


class Everything(dspy.Signature):
    """Fill it in."""

    text: str = dspy.InputField()
    label: Literal["a", "b"] = dspy.OutputField()
    count: int = dspy.OutputField()
    words: list[str] = dspy.OutputField()
    person: Person = dspy.OutputField()
    scores: dict[str, float] = dspy.OutputField()
    maybe: str | None = dspy.OutputField()


@pytest.fixture
def predict(scripted_lm):
    """Predict once with CompactAdapter: ``predict(signature, reply, demos=…, **inputs) -> prediction, request``."""

    def once(signature, reply, demos=(), **inputs):
        lm = scripted_lm(reply if isinstance(reply, str) else json.dumps(reply))
        program = dspy.Predict(signature)
        program.demos = list(demos)
        with dspy.context(lm=lm, adapter=CompactAdapter()):
            prediction = program(**inputs)
        return prediction, lm.child.asked[0]

    return once


def prompt_of(request):
    return [(message.role, message.parts[0].text) for message in request.messages]


def test_the_prompt_is_the_inputs_and_the_instructions_and_nothing_else(predict):
    prediction, request = predict(Sentiment, {"sentiment": "positive"}, text="Lovely.")
    assert prediction.sentiment == "positive"
    assert request.system is None
    assert prompt_of(request) == [("user", "text: Lovely.\n\nIs the sentiment of the text positive or negative?")]


def test_several_outputs_are_named_and_described_where_they_are(predict):
    prediction, request = predict(Order, {"item": "soap", "quantity": 3}, note="3 soaps", shop="Aldi")
    assert (prediction.item, prediction.quantity) == ("soap", 3)
    assert prompt_of(request) == [
        ("user", "note: 3 soaps\nshop: Aldi\n\nWhich item, how many?\n\nitem: one word\nquantity"),
    ]


def test_a_single_output_is_named_only_when_it_is_described(predict):
    described = dspy.Signature("text -> answer", "Say it.").with_updated_fields("answer", desc="in one word")
    _, request = predict(described, {"answer": "x"}, text="t")
    assert prompt_of(request) == [("user", "text: t\n\nSay it.\n\nanswer: in one word")]


def test_demonstrations_look_like_the_question(predict):
    demos = [dspy.Example(text="Awful.", sentiment="negative"), dspy.Example(text="Fine.", sentiment="positive")]
    _, request = predict(Sentiment, {"sentiment": "positive"}, demos, text="Lovely.")
    instructions = "Is the sentiment of the text positive or negative?"
    assert prompt_of(request) == [
        ("user", f"text: Awful.\n\n{instructions}"),
        ("assistant", '{\n  "sentiment": "negative"\n}'),
        ("user", f"text: Fine.\n\n{instructions}"),
        ("assistant", '{\n  "sentiment": "positive"\n}'),
        ("user", f"text: Lovely.\n\n{instructions}"),
    ]


def test_an_incomplete_demonstration_says_so(predict):
    _, request = predict(Order, {"item": "x", "quantity": 1}, [dspy.Example(note="n", item="i")], note="n", shop="s")
    (_, first), (_, reply), _ = prompt_of(request)
    assert first.startswith("This is an example of the task, though some input or output fields are not supplied.")
    assert "shop:" not in first
    assert json.loads(reply)["item"] == "i"


def test_a_conversation_is_turns(predict):
    chat = dspy.Signature("question, history: dspy.History -> answer", "Answer.")
    history = dspy.History(messages=[{"question": "one?", "answer": "1"}, {"answer": "by the way"}])
    _, request = predict(chat, {"answer": "2"}, question="two?", history=history)
    assert prompt_of(request) == [
        ("user", "question: one?\n\nAnswer."),
        ("assistant", '{\n  "answer": "1"\n}'),
        ("assistant", '{\n  "answer": "by the way"\n}'),
        ("user", "question: two?\n\nAnswer."),
    ]


def test_images_travel_as_parts(predict):
    seeing = dspy.Signature("picture: dspy.Image -> answer", "What is it?")
    picture = dspy.Image(url="data:image/png;base64,aGk=")
    _, request = predict(seeing, {"answer": "a dot"}, picture=picture)
    assert [part.type for part in request.messages[0].parts] == ["text", "image", "text"]


FILLED = {
    "label": "a",
    "count": 2,
    "words": ["x", "y"],
    "person": {"name": "Ada", "age": None},
    "scores": {"z": 0.5},
    "maybe": None,
}


def test_every_type_comes_back_as_itself(predict):
    prediction, request = predict(Everything, FILLED, text="t")
    assert prediction.person == Person(name="Ada")
    assert {name: prediction[name] for name in FILLED if name != "person"} == {
        name: value for name, value in FILLED.items() if name != "person"
    }
    schema = request.config.response_format["schema"]
    assert schema["additionalProperties"] is False
    assert schema["required"] == list(FILLED)
    assert schema["properties"]["label"]["enum"] == ["a", "b"]


def test_the_schema_is_enforced_strictly_only_where_every_service_can(predict):
    """OpenAI answers a strict schema with an open or nested object in it with 400, which nobody else is asked after."""
    _, flat = predict(Order, {"item": "x", "quantity": 1}, note="n", shop="s")
    assert flat.config.response_format["strict"] is True
    assert flat.config.response_format["name"] == "answer"
    _, nested = predict(Everything, FILLED, text="t")
    assert nested.config.response_format["strict"] is False
    _, open_ = predict("text -> scores: dict[str, float]", {"scores": {}}, text="t")
    assert open_.config.response_format["strict"] is False


@pytest.mark.parametrize(
    "reply", ["", "not json", "[1]", "{}", '{"sentiment": "angry"}', '{"other": "positive"}'], ids=str
)
def test_an_unusable_answer_is_a_parse_error(predict, reply):
    with pytest.raises(AdapterParseError):
        predict(Sentiment, reply, text="t")


def test_json_in_prose_is_found(predict):
    prediction, _ = predict(Sentiment, 'Sure! ```json\n{"sentiment": "positive"}\n``` Bye.', text="t")
    assert prediction.sentiment == "positive"


def test_a_server_without_schemas_gets_it_in_the_prompt(scripted_lm, make):
    stack = make.stack(make.profile(capabilities=Capabilities(json_mode=JsonMode.NONE)))
    lm = scripted_lm('{"sentiment": "positive"}', stack_=stack)
    with dspy.context(lm=lm, adapter=CompactAdapter()):
        assert dspy.Predict(Sentiment)(text="t").sentiment == "positive"
    request = lm.child.asked[0]
    assert request.config.response_format is None
    assert '"enum": ["positive", "negative"]' in request.system


def test_a_response_format_of_the_callers_own_wins(scripted_lm):
    lm = scripted_lm('{"sentiment": "positive"}')
    own = {"type": "json_schema", "json_schema": {"name": "own", "schema": {"type": "object"}}}
    with dspy.context(lm=lm, adapter=CompactAdapter()):
        dspy.Predict(Sentiment, response_format=own)(text="t")
    assert lm.child.asked[0].config.response_format["name"] == "own"


def test_tools_are_asked_for_in_words_and_json(scripted_lm):
    step = {"next_thought": "done", "next_tool_name": "finish", "next_tool_args": {}}
    lm = scripted_lm(json.dumps(step), '{"reasoning": "r", "answer": "yes"}')
    with dspy.context(lm=lm, adapter=CompactAdapter()):
        assert dspy.ReAct("question -> answer", tools=[])(question="?").answer == "yes"
    assert not any(request.tools for request in lm.child.asked)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("compact", CompactAdapter),
        ("json", dspy.JSONAdapter),
        ("chat", dspy.ChatAdapter),
        ("xml", dspy.XMLAdapter),
        ("baml", "BAMLAdapter"),
    ],
)
def test_an_adapter_by_name(make, name, kind):
    made = adapter_for(make.stack(make.profile(), adapter=name))
    assert type(made) is kind or type(made).__name__ == kind


def auto(stack):
    return "compact" if type(adapter_for(stack)) is CompactAdapter else type(adapter_for(stack)).__name__


@pytest.mark.parametrize(
    ("model", "locality", "expected"),
    [
        ("smollm2-135m-instruct", Locality.EMBEDDED, "compact"),
        ("qwen3-4b", Locality.LOOPBACK, "compact"),
        ("qwen3-4b", Locality.PRIVATE, "compact"),
        (AUTO, Locality.LOOPBACK, "compact"),
        ("qwen3-32b", Locality.LOOPBACK, "ChatAdapter"),
        ("llama-3.1-8b-instruct", Locality.LOOPBACK, "ChatAdapter"),
        ("gpt-4.1-mini", Locality.CLOUD, "ChatAdapter"),
        ("some-3b-model", Locality.CLOUD, "ChatAdapter"),
    ],
)
def test_auto_is_compact_for_small_local_models(make, model, locality, expected):
    assert auto(make.stack(make.profile(models=(model,), locality=locality))) == expected


def test_auto_minds_every_model_that_may_have_to_answer(make):
    cloud = make.profile("a", models=("gpt-4.1-mini",), locality=Locality.CLOUD)
    small = make.profile("b", models=("qwen3-4b",))
    assert auto(make.stack(cloud, small)) == "compact"
    assert auto(make.stack(cloud, make.profile("b", models=("qwen3-4b",), enabled=False))) == "ChatAdapter"


def test_auto_asks_the_policy_about_the_task_at_hand(make):
    cloud = make.profile("a", models=("gpt-4.1-mini",), locality=Locality.CLOUD)
    small = make.profile("b", models=("qwen3-4b",))
    private = Rule(
        "private",
        (Selector(frozenset({Locality.LOOPBACK})),),
        Test("privacy", Operator.EQ, Privacy.PRIVATE),
        priority=1,
    )
    anywhere = Rule("anywhere", (Selector(frozenset({Locality.CLOUD})),))
    stack = make.stack(cloud, small, rules=(private, anywhere))
    assert auto(stack) == "ChatAdapter"
    assert auto(replace(stack, task=TaskSpec("ask", privacy=Privacy.PRIVATE))) == "compact"


def test_is_small_asks_the_candidates_own_profile(make):
    stack = make.stack(make.profile("a", locality=Locality.CLOUD), make.profile("b"))
    assert not is_small(stack, Candidate("a", "x-1b"))
    assert is_small(stack, Candidate("b", "x-1b"))


NAMES: dict[str, Any] = {
    "smollm2-135m-instruct": 0.135,
    "qwen3-4b": 4,
    "qwen2.5-0.5b-instruct": 0.5,
    "qwen/qwen3-30b-a3b": 30,
    "meta-llama-3.1-8b-instruct": 8,
    "llama3.2:1b-instruct-q4_K_M": 1,
    "mixtral-8x7b-instruct-v0.1": 56,
    "mistralai/mixtral-8x22b": 176,
    "openai/gpt-oss-20b": 20,
    "google/gemma-3n-e4b": 4,
    "gemma-3-270m-it": 0.27,
    "deepseek-r1-distill-qwen-1.5b": 1.5,
    "TinyLlama-1.1B-Chat-v1.0": 1.1,
    "Qwen2.5-7B-Instruct-1M": 7,
    "internlm3-8b-4bit": 8,
    "model-4bit-70b": 70,
    "phi-4-mini": None,
    "bge-m3": None,
    "gpt-4.1-mini": None,
    "auto": None,
    "claude-haiku-4-5": None,
    "mistral-small-2409": None,
}


@pytest.mark.parametrize(("name", "billions"), NAMES.items(), ids=NAMES)
def test_what_a_name_says_of_the_size(name, billions):
    assert parameters_of(name) == billions
