"""What LM Studio takes in its own words, and that every change is said; then what a server really gets."""

from dataclasses import replace

import pytest
from dspy import lm15
from hypothesis import given
from hypothesis import strategies as st

from lmroute.engine import shaping
from lmroute.engine.shaping.lmstudio import _EFFORTS
from lmroute.model import Capabilities, JsonMode, Load

OBJECT = {"type": "object", "properties": {}}
WORDS = {"none", "minimal", "low", "medium", "high", "xhigh"}
"""What LM Studio 0.4.24 takes as ``reasoning_effort``; it refuses anything else."""


def fit(request, profile, reasoning=None):
    """The request as it is sent, and all that was changed on its way."""
    fitted, degraded = shaping.fit(request, profile)
    said, notes = shaping.spelled(fitted, profile, reasoning)
    return said, degraded + notes


def tool(name="look", **parameters):
    return lm15.FunctionTool(name, "Looks.", parameters)


@pytest.fixture
def at(make):
    """A profile of LM Studio: ``at(reasoning=True, ttl_s=60, temperature=0)``."""

    def of(*, reasoning=True, ttl_s=None, **params):
        able = Capabilities(tools=True, reasoning=reasoning, json_mode=JsonMode.JSON_SCHEMA)
        return make.profile(type="lmstudio", capabilities=able, load=Load(ttl_s=ttl_s), params=tuple(params.items()))

    return of


PARAMETERS = {
    "none": ({}, OBJECT),
    "no type": ({"properties": {"x": {}}}, {"type": "object", "properties": {"x": {}}}),
    "no properties": ({"type": "object"}, OBJECT),
    "null properties": ({"type": "object", "properties": None}, OBJECT),
    "complete": ({"type": "object", "properties": {"x": {}}, "required": ["x"]}, None),
}


@pytest.mark.parametrize(("given_", "sent"), PARAMETERS.values(), ids=PARAMETERS)
def test_a_tools_parameters_are_an_object_with_properties(make, at, given_, sent):
    fitted, noted = fit(make.ask(tools=(tool(**given_),)), at())
    assert fitted.tools[0].parameters == (given_ if sent is None else sent)
    assert noted == ()


CHOICES = {
    "required": (lm15.ToolChoice(mode="required"), "required", ["a", "b", "c"], ()),
    "auto": (lm15.ToolChoice(), "auto", ["a", "b", "c"], ()),
    "none": (lm15.ToolChoice(mode="none"), "none", ["a", "b", "c"], ()),
    "one": (
        lm15.ToolChoice(mode="required", allowed=("b",)),
        "required",
        ["b"],
        ("tool_choice sent as 'required' with only the tools it allows",),
    ),
    "some": (
        lm15.ToolChoice(allowed=("a", "c")),
        "auto",
        ["a", "c"],
        ("tool_choice sent as 'auto' with only the tools it allows",),
    ),
    "in parallel": (lm15.ToolChoice(parallel=True), "auto", ["a", "b", "c"], ()),
    "one by one": (
        lm15.ToolChoice(parallel=False),
        "auto",
        ["a", "b", "c"],
        ("parallel_tool_calls not sent, LM Studio has no such setting",),
    ),
}


@pytest.mark.parametrize(("choice", "sent", "names", "noted"), CHOICES.values(), ids=CHOICES)
def test_a_tool_choice_is_one_of_three_words(mode, make, server, choice, sent, names, noted):  # noqa: PLR0917
    server.answers(server.http(server.chat()))
    profile = server.profile(type="lmstudio")
    engine = mode.router(make.stack(profile), {"a": mode.provider(profile)})
    response = mode.complete(engine, make.ask(tools=tuple(map(tool, "abc")), tool_choice=choice))
    body = server.received[0].json
    assert body["tool_choice"] == sent
    assert [entry["function"]["name"] for entry in body["tools"]] == names
    assert "parallel_tool_calls" not in body
    assert response.provider_data["lmroute"]["attempts"][0].get("degraded", []) == list(noted)


def test_another_word_for_required(make, at):
    assert fit(make.ask(), at(tool_choice="any"))[0].config.extensions == {"tool_choice": "required"}


def test_the_default_format_is_not_spelled_out(make, at):
    assert fit(make.ask(), at(response_format={"type": "text"}))[0].config.extensions is None


EFFORTS = [
    ("off", "none"),
    ("minimal", "minimal"),
    ("low", "low"),
    ("high", "high"),
    ("xhigh", "xhigh"),
    ("max", "xhigh"),
]


@pytest.mark.parametrize(("asked", "sent"), EFFORTS)
def test_reasoning_is_an_effort(make, at, asked, sent):
    fitted, noted = fit(make.ask(reasoning=lm15.Reasoning(effort=asked)), at())
    assert (fitted.config.reasoning, fitted.config.extensions) == (None, {"reasoning_effort": sent})
    assert noted == (("reasoning_effort 'max' sent as 'xhigh'",) if asked == "max" else ())


@pytest.mark.parametrize(
    ("word", "sent"), [("off", "none"), (False, "none"), ("on", None), (True, None), ("low", "low")]
)
def test_a_profiles_effort_in_other_words(make, at, word, sent):
    assert fit(make.ask(), at(reasoning_effort=word))[0].config.extensions == (
        {"reasoning_effort": sent} if sent else None
    )


def test_the_callers_effort_is_before_the_profiles(make, at):
    fitted, _ = fit(make.ask(extensions={"reasoning_effort": "high"}), at(reasoning_effort="low"))
    assert fitted.config.extensions == {"reasoning_effort": "high"}
    fitted, _ = fit(make.ask(reasoning=lm15.Reasoning(effort="high")), at(reasoning_effort="low"))
    assert fitted.config.extensions == {"reasoning_effort": "high"}


def test_every_effort_is_one_that_lm_studio_takes():
    assert set(_EFFORTS.values()) == {*WORDS, None}


UNSENT = "reasoning_effort not sent, the model is not known to reason"
KNOWN = {
    "listed": (False, frozenset({"off", "on"}), True),
    "listed as none": (True, frozenset(), False),
    "unknown, the profile says so": (True, None, True),
    "unknown": (False, None, False),
}


@pytest.mark.parametrize(("stated", "listed", "sent"), KNOWN.values(), ids=KNOWN)
def test_an_effort_is_sent_to_models_that_reason(make, at, stated, listed, sent):
    fitted, noted = fit(make.ask(reasoning=lm15.Reasoning(effort="low")), at(reasoning=stated), listed)
    assert (fitted.config.extensions, noted) == (({"reasoning_effort": "low"}, ()) if sent else (None, (UNSENT,)))
    assert fitted.config.reasoning is None


def test_not_to_reason_is_no_loss_where_nobody_reasons(make, at):
    assert fit(make.ask(reasoning=lm15.Reasoning(effort="off")), at(reasoning=False))[1] == ()


def test_a_thinking_budget_is_said_to_be_lost(make, at):
    asked = lm15.Reasoning(effort="low", thinking_budget=100)
    assert fit(make.ask(reasoning=asked), at())[1] == ("thinking_budget not sent, LM Studio has only an effort",)


def test_how_long_a_model_stays(mode, make, server):
    server.answers(server.http(server.chat()))
    profile = replace(server.profile(type="lmstudio"), load=Load(ttl_s=90))
    engine = mode.router(make.stack(profile), {"a": mode.provider(profile)})
    mode.complete(engine, make.ask(reasoning=lm15.Reasoning(effort="off")))
    mode.complete(engine, make.ask(extensions={"ttl": 5}))
    bodies = [request.json for request in server.received]
    assert [body["ttl"] for body in bodies] == [90, 5]
    assert bodies[0]["reasoning_effort"] == "none"


def test_a_request_in_its_words_already_is_the_very_request(make, at):
    request = make.ask(tools=(tool(**OBJECT),), tool_choice=lm15.ToolChoice(mode="required"))
    assert fit(request, at())[0] is request


@given(
    effort=st.sampled_from(["off", "minimal", "low", "medium", "high", "xhigh", "max"]),
    mode_=st.sampled_from(["auto", "required"]),
)
def test_what_is_fitted_fits(make, at_, effort, mode_):
    choice = lm15.ToolChoice(mode=mode_, allowed=("a",), parallel=False)
    request = make.ask(tools=(tool("a"), tool("b")), tool_choice=choice, reasoning=lm15.Reasoning(effort=effort))
    once, _ = fit(request, at_)
    assert fit(once, at_) == (once, ())
    assert once.config.extensions["reasoning_effort"] in WORDS


@pytest.fixture(scope="module")
def at_(make):
    able = Capabilities(tools=True, reasoning=True, json_mode=JsonMode.JSON_SCHEMA)
    return make.profile(type="lmstudio", capabilities=able)
