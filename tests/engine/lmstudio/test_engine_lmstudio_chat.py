"""L05 to L10: answers, whole and streamed, with tools, schemas and reasoning."""

import json
import re

import pytest
from dspy import lm15

from lmroute.emulator.backends.script import Line
from lmroute.emulator.catalog import SCRIPTED
from lmroute.emulator.faults import Faults
from lmroute.emulator.settings import Loaded
from lmroute.emulator.versions import REASONING_EFFORT, STREAM_USAGE, TOOLS

TERN, OWL, OSPREY = SCRIPTED[0].key, SCRIPTED[5].key, SCRIPTED[6].key
TEXT = "grüße, 你好 🙂"
RIDDLE = Line(re.compile("riddle"), '\n\n{"n": 1}', "It must be a heron.")
SCRIPT = (Line(re.compile("greet"), TEXT), RIDDLE)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
STRICT = {"type": "json_schema", "name": "answer", "schema": SCHEMA}
LOOKING = tuple(
    lm15.FunctionTool(name, "Looks.", {"type": "object", "properties": {"city": {"type": "string"}}})
    for name in ("weather", "clock")
)


@pytest.fixture
def chat(mode, lmstudio, shared, release):
    """An engine of a model: ``chat(OWL, split=1)``; its server is never changed."""

    def of(model=TERN, **settings):
        emulated = shared(release, script=SCRIPT, loaded=(Loaded(model),), **settings)
        return mode.provider(lmstudio(emulated.url, models=(model,)))

    return of


def thinking(response):
    return "".join(part.text for part in response.message.parts if part.type == "thinking")


def test_l05_l06_an_answer(make, chat, release, asked, mode):
    response = asked(chat(), make.ask("greet", model=TERN))
    assert (response.text, response.model, response.finish_reason) == (TEXT, TERN, "stop")
    if asked == mode.complete or release.has(STREAM_USAGE):  # before, a stream told no usage
        assert response.usage.output_tokens > 0


@pytest.mark.parametrize("split", [1, 7])
def test_l06_a_stream_cut_anywhere(mode, make, chat, split):
    events = mode.stream(chat(split=split), make.ask("greet", model=TERN))
    assert [events[0].type, events[0].model, events[-1].type] == ["start", TERN, "end"]
    assert make.text(events) == TEXT


def test_l05_l06_an_answer_that_is_cut_off(make, chat, asked):
    response = asked(chat(), make.ask("a b c d e f", model=TERN, max_tokens=2))
    assert (response.finish_reason, response.text) == ("length", "You said")


def test_l07_tools_are_called_in_parallel(make, chat, release, asked):
    """0.3.5 knows no tools, and does not say so: the field is ignored."""
    response = asked(chat(), make.ask("weather and clock", model=TERN, tools=LOOKING))
    called = [(call.name, isinstance(call.input, dict)) for call in response.tool_calls]
    if release.has(TOOLS):
        assert (called, response.finish_reason) == ([("weather", True), ("clock", True)], "tool_call")
        assert len({call.id for call in response.tool_calls}) == 2
    else:
        assert (called, response.text) == ([], "You said: weather and clock")


def test_l07_what_a_tool_said_is_answered(make, chat, asked):
    question = lm15.Message.user("weather and clock")
    calls = tuple(lm15.ToolCallPart(f"c{n}", tool.name, {"city": "Oslo"}) for n, tool in enumerate(LOOKING))
    results = [lm15.Message.tool({call.id: "noon"}) for call in calls]
    messages = (question, lm15.Message("assistant", calls), *results)
    response = asked(chat(), lm15.Request(model=TERN, messages=messages, tools=LOOKING))
    assert response.text == "You said: weather and clock"


def test_l08_a_schema_is_kept_to(make, chat, asked):
    response = asked(chat(), make.ask("count", model=TERN, response_format=STRICT))
    assert isinstance(json.loads(response.text)["n"], int)


def test_l08_json_object_works_too(make, asked, router_over, lmstudio, shared, release):  # noqa: PLR0917
    """Every release refuses it; it goes as a schema, and the trace says so."""
    engine = router_over(lmstudio(shared(release, script=SCRIPT).url))
    response = asked(engine, make.ask("count", response_format={"type": "json_object"}))
    assert isinstance(json.loads(response.text), dict)
    assert response.provider_data["lmroute"]["attempts"][0]["degraded"] == ["json_object sent as json_schema"]


def test_l08_text_is_what_it_does_anyway(make, chat, asked):
    """0.3.5 refuses to be told."""
    request = make.ask("greet", model=TERN, extensions={"response_format": {"type": "text"}})
    assert asked(chat(), request).text == TEXT


CHOICES = {
    "none": (lm15.ToolChoice(mode="none"), []),
    "auto": (lm15.ToolChoice(), ["clock"]),
    "required": (lm15.ToolChoice(mode="required"), ["clock"]),
    "one of them": (lm15.ToolChoice(mode="required", allowed=("weather",)), ["weather"]),
    "one by one": (lm15.ToolChoice(mode="required", parallel=False), ["clock"]),
}


@pytest.mark.parametrize(("choice", "called"), CHOICES.values(), ids=CHOICES)
def test_l09_no_form_of_tool_choice_is_refused(make, chat, release, asked, choice, called):  # noqa: PLR0917
    response = asked(chat(), make.ask("what does the clock say", model=TERN, tools=LOOKING, tool_choice=choice))
    assert [call.name for call in response.tool_calls] == (called if release.has(TOOLS) else [])


def test_l09_a_tool_without_arguments_is_no_error(make, chat, release, asked):
    bare = lm15.FunctionTool("clock", "Looks.", {})
    response = asked(chat(), make.ask("the clock", model=TERN, tools=(bare,)))
    assert [call.name for call in response.tool_calls] == (["clock"] if release.has(TOOLS) else [])


@pytest.mark.parametrize("effort", ["off", "minimal", "low", "medium", "high", "xhigh", "max"])
def test_l10_every_word_for_an_effort(make, chat, release, asked, effort):
    """Releases before 0.4.24 are not known to heed it: the model reasons as it likes."""
    response = asked(chat(OWL), make.ask("riddle", model=OWL, reasoning=lm15.Reasoning(effort=effort)))
    reasons = effort != "off" or not release.has(REASONING_EFFORT)
    assert (thinking(response).strip(), response.text) == (RIDDLE.reasoning if reasons else "", '{"n": 1}')


@pytest.mark.parametrize("model", [OWL, OSPREY])
@pytest.mark.parametrize("split", [None, 1])
def test_l10_reasoning_is_told_from_the_answer(make, chat, asked, model, split):
    """In fields of two names, and between tags in the content."""
    response = asked(chat(model, split=split), make.ask("riddle", model=model))
    assert (thinking(response).strip(), response.text) == (RIDDLE.reasoning, '{"n": 1}')


def test_l10_json_that_landed_in_the_reasoning(make, chat, asked):
    faults = Faults(reasoning_only=True)
    response = asked(chat(OWL, faults=faults), make.ask("riddle", model=OWL, response_format=STRICT))
    assert json.loads(response.text) == {"n": 1}
