"""DSPy's modules over LM Studio, once by ``dspy.LM("lm_studio/...")`` and once by lmroute: docs/dspy-on-lmstudio.md.

The table there is this test's outcome. Both sides have the same adapter and the same server, an emulator whose model
answers from a script; what differs is what is sent and how the answer is read.
"""

import asyncio
import re
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import dspy
import pydantic
import pytest

import lmroute
from lmroute.emulator.backends.script import Line
from lmroute.emulator.running import running
from lmroute.emulator.settings import Settings
from lmroute.model import Capabilities, JsonMode

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "dspy-on-lmstudio.md"
TERN, OWL = "rookery/tern-3b-instruct", "rookery/owl-9b-thinking"
WORKS = "works"

SCRIPT = {
    "count the letters": '{"counts": {"a": 3, "b": 1}}',
    "all letters": '{"reasoning": "one by one", "counts": {"a": 3}}',
    r"how warm.*observation_0.*next_tool_name": (
        '{"next_thought": "x", "next_tool_name": "finish", "next_tool_args": {}}'
    ),
    r"how warm.*next_tool_name": (
        '{"next_thought": "x", "next_tool_name": "weather", "next_tool_args": {"city": "Oslo"}}'
    ),
    r"how warm.*observation_0": '{"reasoning": "so it says", "answer": "7 degrees in Oslo"}',
}
"""What a model answers that keeps to the prompt: by a pattern of the last user message. The rest goes by the schema."""


class Bird(pydantic.BaseModel):
    name: str
    legs: int


class Nest(pydantic.BaseModel):
    place: str
    birds: list[Bird]


class Letters(dspy.Signature):
    """Count."""

    question: str = dspy.InputField()
    counts: dict[str, int] = dspy.OutputField()


class Mood(dspy.Signature):
    """Tell the mood."""

    question: str = dspy.InputField()
    mood: Literal["glad", "sad"] = dspy.OutputField()


class Nested(dspy.Signature):
    """Describe the nest."""

    question: str = dspy.InputField()
    nest: Nest = dspy.OutputField()


class Calling(dspy.Signature):
    """Call a tool."""

    question: str = dspy.InputField()
    tools: list[dspy.Tool] = dspy.InputField()
    calls: dspy.ToolCalls = dspy.OutputField()


class Thinking(dspy.Signature):
    """Think, then tell the mood."""

    question: str = dspy.InputField()
    reasoning: dspy.Reasoning = dspy.OutputField()
    mood: Literal["glad", "sad"] = dspy.OutputField()


def weather(city: str) -> str:
    """How warm it is in a city."""
    return f"7 degrees in {city}"


def now() -> str:
    """What time it is."""
    return "noon"


@dataclass(frozen=True)
class Row:
    """One line of the table: what is asked, of which model, and what makes the outcome right."""

    module: Any
    inputs: dict
    is_right: Any
    model: str = TERN
    faults: dict = field(default_factory=dict)


def mood_is_told(prediction):
    return prediction.mood in {"glad", "sad"}


ASKED = {"question": "how are you today"}
ROWS = {
    "`Predict` with a `Literal` output": Row(lambda: dspy.Predict(Mood), ASKED, mood_is_told),
    "`Predict` with nested pydantic models": Row(
        lambda: dspy.Predict(Nested), ASKED, lambda found: isinstance(found.nest.birds[0], Bird)
    ),
    "`Predict` with a `dict[str, int]` output": Row(
        lambda: dspy.Predict(Letters),
        {"question": "count the letters of banana"},
        lambda found: found.counts == {"a": 3, "b": 1},
    ),
    "`ChainOfThought` with a `dict[str, int]` output": Row(
        lambda: dspy.ChainOfThought("question -> counts: dict[str, int]"),
        {"question": "which are all letters of banana"},
        lambda found: found.counts == {"a": 3},
    ),
    "`ReAct` with a tool": Row(
        lambda: dspy.ReAct("question -> answer", tools=[weather]),
        {"question": "how warm is it in Oslo"},
        lambda found: found.trajectory["observation_0"] == found.answer == "7 degrees in Oslo",
    ),
    "native function calling": Row(
        lambda: dspy.Predict(Calling),
        {"question": "ask weather, please", "tools": [dspy.Tool(weather), dspy.Tool(now)]},
        lambda found: [call.name for call in found.calls.tool_calls] == ["weather"],
    ),
    "a tool without arguments": Row(
        lambda: dspy.Predict(Calling),
        {"question": "ask now, please", "tools": [dspy.Tool(now)]},
        lambda found: [call.name for call in found.calls.tool_calls] == ["now"],
    ),
    "`dspy.Reasoning` of a model that reasons": Row(
        lambda: dspy.Predict(Thinking),
        ASKED,
        lambda found: mood_is_told(found) and "I am asked" in found.reasoning.content,
        OWL,
    ),
    "JSON that landed in the reasoning": Row(
        lambda: dspy.Predict(Mood), ASKED, mood_is_told, OWL, {"reasoning_only": True}
    ),
    "a prompt that does not fit (`ReAct` needs to know)": Row(
        lambda: dspy.Predict(Mood), {"question": "word " * 6000}, mood_is_told
    ),
    "a model that is not there": Row(lambda: dspy.Predict(Mood), ASKED, lambda found: not found, "rookery/dodo-1b"),
}


@pytest.fixture(scope="module")
def lmstudio_emulator():
    script = tuple(Line(re.compile(pattern, re.DOTALL), reply) for pattern, reply in SCRIPT.items())
    # LiteLLM makes itself a loop and leaves it open; with one of our own set, it has no need to.
    with running(Settings(script=script)) as made, asyncio.Runner() as runner:
        runner.get_loop()
        yield SimpleNamespace(url=made.url, reset=made.reset, set_faults=made.set_faults, run=runner.run)


@pytest.fixture
def lm_of(lmstudio_emulator, make):
    """The LM of each side for a model: ``lm_of("lmroute", model)``."""
    able = Capabilities(tools=True, reasoning=True, json_mode=JsonMode.JSON_SCHEMA)

    def of(side, model):
        if side == "dspy.LM":
            return dspy.LM(f"lm_studio/{model}", api_base=f"{lmstudio_emulator.url}/v1", cache=False, num_retries=0)
        profile = make.profile(
            "lmstudio", type="lmstudio", endpoint=lmstudio_emulator.url, models=(model,), capabilities=able
        )
        return lmroute.build(make.stack(profile), cache=False)

    return of


async def asked(module, row, lm):
    """A module's answer; the connections of the loop, which lives on, are closed."""
    try:
        return await module.acall(**row.inputs)
    finally:
        await lm.engine.twin.aclose()


@pytest.fixture
def cell(lmstudio_emulator, lm_of):
    """What comes of a row on one side: ``works``, ``wrong`` for another answer, or the class of the error."""

    def outcome(side, row, *, is_async=False):
        lmstudio_emulator.reset()  # one model is in memory, whatever was asked before
        lmstudio_emulator.set_faults(**row.faults)
        lm = lm_of(side, row.model)
        with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
            try:
                module = row.module()
                found = (
                    lmstudio_emulator.run(asked(module, row, lm), context=copy_context())
                    if is_async
                    else module(**row.inputs)
                )
                return WORKS if row.is_right(found) else "wrong"
            except Exception as error:  # noqa: BLE001 - which one it is, is the outcome
                return f"`{type(error).__name__}`"

    return outcome


def table():
    """The cells of the page: plain DSPy's and lmroute's for each row."""
    lines = [line.strip("| \n").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if "|" in line]
    return {name.strip(): tuple(cell.strip() for cell in cells) for name, *cells in lines[2:]}


@pytest.mark.parametrize(("name", "row"), ROWS.items(), ids=ROWS)
def test_the_pages_table_is_so(cell, name, row):
    assert table()[name] == (cell("dspy.LM", row), cell("lmroute", row))


@pytest.mark.parametrize(("name", "row"), ROWS.items(), ids=ROWS)
def test_lmroutes_half_holds_asynchronously(cell, name, row):
    assert cell("lmroute", row, is_async=True) == table()[name][1]


def test_the_page_has_all_rows_and_no_others():
    assert list(table()) == list(ROWS)
