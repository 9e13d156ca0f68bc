"""Objects that a prompt asks for in words: what the scripted model says to DSPy where DSPy sends no schema."""

import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.emulator.backends.prompted import asked_schema, is_open
from lmroute.emulator.catalog import Model
from lmroute.emulator.settings import Settings

dspy = pytest.importorskip("dspy")

OPEN = {"type": "object"}
LOOSE = {"type": "json_schema", "json_schema": {"name": "object", "schema": OPEN}}
LEAD = "Respond with a JSON object in the following order of fields: "


class Census(dspy.Signature):
    """Count the birds."""

    question: str = dspy.InputField()
    verdict: Literal["it's a (rare) one, then `yes`", "no"] = dspy.OutputField()
    birds: dict[str, int] = dspy.OutputField()
    names: list[str] = dspy.OutputField()
    seen: bool | None = dspy.OutputField()
    share: float = dspy.OutputField()
    notes: str = dspy.OutputField()


@pytest.fixture
def loose_lm(shared):
    """A DSPy model that asks the emulator for an open object, as one must who is not to send ``json_object``."""
    client = shared(Settings(models=(Model("tern", context_length=20_000),)))

    class Loose:
        def complete(self, request):
            messages = [{"role": "system", "content": request.system}]
            messages += [{"role": message.role, "content": message.text} for message in request.messages]
            text = client.ask(messages=messages, response_format=LOOSE).json()["choices"][0]["message"]["content"]
            message = dspy.lm15.Message.assistant(text)
            return dspy.lm15.Response(None, "tern", message, "stop", dspy.lm15.Usage())

    return dspy.LM("loose/tern", engine=Loose(), cache=False, num_retries=0)


def test_every_field_that_dspy_asks_for_is_there_and_of_its_type(loose_lm):
    with dspy.context(lm=loose_lm, adapter=dspy.JSONAdapter()):
        found = dspy.Predict(Census)(question="how many?")

    assert found.verdict in {"it's a (rare) one, then `yes`", "no"}
    assert all(type(count) is int for count in found.birds.values())
    assert (type(found.names[0]), type(found.seen), type(found.share), type(found.notes)) == (str, bool, float, str)


def test_a_react_loop_uses_its_tool_and_ends(loose_lm):
    called = []

    def weather(city: str = "Oslo") -> str:
        """How warm it is."""
        called.append(city)
        return "7 degrees"

    with dspy.context(lm=loose_lm, adapter=dspy.JSONAdapter()):
        found = dspy.ReAct("question -> answer", tools=[weather])(question="how warm is it?")

    assert called == ["Oslo"]
    assert [found.trajectory[f"tool_name_{step}"] for step in (0, 1)] == ["weather", "finish"]
    assert "tool_name_2" not in found.trajectory
    assert found.answer


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        ("int", {"type": "integer"}),
        ("dict[str, Any]", {"type": "object"}),
        (
            "dict[str, list[float]]",
            {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "number"}}},
        ),
        ("Optional[bool]", {"type": "boolean"}),
        ("UnionType[int, NoneType]", {"type": "integer"}),
        ("Literal['a', 2, True]", {"enum": ["a", 2, True]}),
        ("Bird", {"type": "string"}),
        ("a.b", {"type": "string"}),
        ("not Python at all", {"type": "string"}),
    ],
)
def test_annotations_are_translated(annotation, schema):
    asked = asked_schema(f"{LEAD}`x` (must be formatted as a valid Python {annotation}), then `y`.")

    assert asked["properties"] == {"x": schema, "y": {"type": "string"}}
    assert asked["required"] == ["x", "y"]


@pytest.mark.parametrize("text", ["", "Respond with JSON.", LEAD, f"{LEAD}whatever you like."])
def test_a_prompt_that_does_not_ask_so_says_nothing(text):
    assert asked_schema(text) is None


def test_the_last_sentence_counts():
    assert list(asked_schema(f"{LEAD}`old`.\nand then\n{LEAD}`new`.")["properties"]) == ["new"]


@given(st.text())
def test_no_prompt_breaks_it(text):
    schema = asked_schema(f"{LEAD}`x` (must be formatted as a valid Python {text}), then `y`.")

    assert schema is None or json.dumps(schema, skipkeys=True)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (OPEN, True),
        ({**OPEN, "additionalProperties": True}, True),
        ({**OPEN, "additionalProperties": False}, False),
        ({**OPEN, "additionalProperties": {"type": "integer"}}, False),
        ({**OPEN, "properties": {}}, False),
        ({"type": "array"}, False),
        ({}, False),
        (True, False),
    ],
)
def test_only_an_object_of_which_nothing_is_said_is_open(schema, expected):
    assert is_open(schema) is expected


def test_a_schema_that_says_something_wins(client):
    wanted = {"type": "json_schema", "json_schema": {"schema": {**OPEN, "properties": {"a": {"const": 1}}}}}
    question = [{"role": "user", "content": f"{LEAD}`b`."}]

    def answer(form):
        return json.loads(
            client.ask(messages=question, response_format=form).json()["choices"][0]["message"]["content"]
        )

    assert answer(wanted) == {"a": 1}
    assert list(answer(LOOSE)) == ["b"]
