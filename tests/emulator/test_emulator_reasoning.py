"""L10: what a model thinks before it answers, and how much it is told to."""

import json
import re

import pytest

from lmroute.emulator.backends.script import Line
from lmroute.emulator.catalog import EFFORTS, SCRIPTED, Model, ReasoningOptions
from lmroute.emulator.faults import Faults
from lmroute.emulator.settings import Settings
from lmroute.emulator.versions import PROFILES

OWL, OSPREY = (next(m for m in SCRIPTED if m.key.endswith(end)) for end in ("owl-9b-thinking", "osprey-20b"))
THOUGHT, ANSWER = "I am asked: hello there", "You said: hello there"
SCHEMA = {"type": "object", "properties": {"label": {"const": "yes"}}, "required": ["label"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": SCHEMA}}


def of(*models, **fields):
    return Settings(models=models or (OWL,), **fields)


def old(profile, *models):
    return of(*models, version=PROFILES[profile])


def message_of(reply):
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]["message"]


def deltas_of(client, **fields):
    lines = client.stream_bytes(**fields)[2].decode().split("\n\n")
    return [json.loads(line[6:])["choices"][0]["delta"] for line in lines if line[6:7] == "{"]


def joined(deltas, name):
    return "".join(delta.get(name, "") for delta in deltas)


def test_l10_reasoning_stands_beside_the_content(shared):
    reply = shared(of()).ask()

    message, usage = message_of(reply), reply.json()["usage"]
    assert (message["reasoning_content"], message["content"]) == (THOUGHT, ANSWER)
    assert 0 < usage["completion_tokens_details"]["reasoning_tokens"] < usage["completion_tokens"]


def test_l10_reasoning_deltas_come_before_content(shared):
    deltas = deltas_of(shared(of()))

    kinds = [name for delta in deltas for name in delta if name != "role"]
    assert kinds == sorted(kinds, key=["reasoning_content", "content"].index)
    assert deltas[0] == {"role": "assistant", "reasoning_content": "I"}
    assert (joined(deltas, "reasoning_content"), joined(deltas, "content")) == (THOUGHT, ANSWER)


def test_l10_reasoning_deltas_come_before_tool_calls(shared):
    tools = [{"type": "function", "function": {"name": "ping"}}]

    deltas = deltas_of(shared(of()), tools=tools, tool_choice="required")

    kinds = [name for delta in deltas for name in delta if name != "role"]
    assert kinds == [*["reasoning_content"] * (len(kinds) - 2), "tool_calls", "tool_calls"]
    assert joined(deltas, "reasoning_content") == THOUGHT


def test_l10_models_like_gpt_oss_call_it_reasoning(shared):
    client = shared(of(OSPREY))

    assert message_of(client.ask())["reasoning"] == joined(deltas_of(client), "reasoning") == THOUGHT
    assert "reasoning_content" not in message_of(client.ask())


@pytest.mark.parametrize("model", [OWL, OSPREY])
@pytest.mark.parametrize("effort", [None, *EFFORTS])
def test_l10_every_effort_of_the_table_is_accepted_and_none_switches_off(shared, model, effort):
    message = message_of(shared(of(model)).ask(reasoning_effort=effort))

    assert bool(message[model.reasoning_field]) is (effort != "none")
    assert message["content"] == ANSWER


@pytest.mark.parametrize("effort", ["off", "on", "", "HIGH", 3, ["low"]])
def test_l10_any_other_effort_is_refused(client, effort):
    reply = client.ask(reasoning_effort=effort)

    assert (reply.status_code, reply.json()) == (
        400,
        {
            "error": {
                "message": f"Invalid 'reasoning_effort' value: '{effort}'. "
                "Supported values: none, minimal, low, medium, high, xhigh.",
                "type": "invalid_request_error",
                "param": "reasoning_effort",
                "code": "invalid_value",
            }
        },
    )


@pytest.mark.parametrize("fields", [{"reasoning": {"effort": "none"}}, {"chat_template_kwargs": {"thinking": False}}])
def test_l10_other_names_of_the_dial_do_nothing(shared, fields):
    assert message_of(shared(of()).ask(**fields))["reasoning_content"] == THOUGHT


def test_l10_a_model_that_does_not_reason_takes_any_effort(client):
    assert message_of(client.ask(reasoning_effort="high"))["reasoning_content"] == ""


def test_a_model_may_reason_only_when_told_to(shared):
    client = shared(of(Model("shy", reasoning=ReasoningOptions(default="off"))))

    assert message_of(client.ask())["reasoning_content"] == ""
    assert message_of(client.ask(reasoning_effort="low"))["reasoning_content"] == THOUGHT


def test_l10_json_may_come_as_reasoning_when_the_switch_is_on(shared):
    client = shared(of(faults=Faults(reasoning_only=True)))

    reply = client.ask(response_format=FORMAT)
    deltas = deltas_of(client, response_format=FORMAT)

    message = message_of(reply)
    assert (message["content"], reply.json()["choices"][0]["finish_reason"]) == ("", "stop")
    assert json.loads(message["reasoning_content"]) == {"label": "yes"}
    assert (joined(deltas, "content"), joined(deltas, "reasoning_content")) == ("", message["reasoning_content"])


@pytest.mark.parametrize("fields", [{}, {"response_format": FORMAT, "reasoning_effort": "none"}])
def test_l10_the_switch_is_for_answers_to_schemas_of_models_that_reason(shared, fields):
    client = shared(of(faults=Faults(reasoning_only=True)))

    assert message_of(client.ask(**fields))["content"]


def test_l10_without_the_switch_json_is_the_content(shared):
    message = message_of(shared(of()).ask(response_format=FORMAT))

    assert (json.loads(message["content"]), message["reasoning_content"]) == ({"label": "yes"}, THOUGHT)


@pytest.mark.parametrize("profile", ["0.3.5", "0.3.31"])
def test_l04_old_releases_have_it_in_the_content(shared, profile):
    client = shared(old(profile))
    content = f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}"

    assert message_of(client.ask()) == {"role": "assistant", "content": content}
    assert joined(deltas_of(client), "content") == content


def test_l04_the_tag_stays_open_when_the_answer_ends_within(shared):
    reply = shared(old("0.3.31")).ask(max_tokens=2)

    assert message_of(reply)["content"] == "<think>\nI am"
    assert reply.json()["choices"][0]["finish_reason"] == "length"


def test_l04_gpt_oss_got_a_field_of_its_own_earlier(shared):
    assert message_of(shared(old("0.3.31", OSPREY)).ask())["reasoning"] == THOUGHT
    assert message_of(shared(old("0.3.5", OSPREY)).ask())["content"].startswith("<think>")


def test_l04_old_releases_do_not_look_at_the_effort(shared):
    assert shared(old("0.3.31")).ask(reasoning_effort="off").status_code == 200


def test_a_script_says_what_is_thought(shared):
    client = shared(of(script=(Line(re.compile("hello"), "Hi.", "Somebody greets me."),)))

    message = message_of(client.ask())
    without = message_of(client.ask(reasoning_effort="none"))

    assert (message["reasoning_content"], message["content"]) == ("Somebody greets me.", "Hi.")
    assert (without["reasoning_content"], without["content"]) == ("", "Hi.")


def test_reasoning_counts_against_the_limit(shared):
    reply = shared(of()).ask(max_tokens=3)

    message = message_of(reply)
    assert (message["reasoning_content"], message["content"]) == ("I am aske", "")
    assert reply.json()["usage"]["completion_tokens"] == 3
