"""Rows on their way through a routed LM: in order, each with its own trace, whatever single ones do."""

import asyncio
import json
import re

import pytest

from lmroute.emulator.backends.script import Line
from lmroute.experiments.data import Row
from lmroute.experiments.runner import GIVE_UP_AFTER

NOWHERE = "http://127.0.0.1:9"
POSITIVE = Line(re.compile("."), '{"sentiment": "positive"}')
# Any character DSPy, our files or a terminal could stumble over, and any shape that is not the one asked for.
UNUSABLE = {
    "prose": "I would say it is seven glass jars.",
    "null": "null",
    "a list": "[]",
    "an empty object": "{}",
    "fields missing": '{"item": "jars"}',
    "no number": '{"item": "jars", "quantity": "many", "city": "Bern"}',
    "half a number": '{"item": "jars", "quantity": 1.5, "city": "Bern"}',
    "infinity": '{"item": "jars", "quantity": 1e999, "city": "Bern"}',
    "not a number": '{"item": "jars", "quantity": NaN, "city": "Bern"}',
    "nulls": '{"item": null, "quantity": null, "city": null}',
    "a very long number": '{"item": "jars", "quantity": %s, "city": "Bern"}' % ("9" * 5000),
    "deep lists": "[" * 3000,
    "deep objects": '{"a":' * 650,
    "an error of its own": '{"error": {"message": "you shall not parse"}}',
}
USABLE = {
    "exact": '{"item": "jars", "quantity": 7, "city": "Bern"}',
    "more than asked": '{"item": "jars", "quantity": "7", "city": "Bern", "mood": "good"}',
    "in a fence": '```json\n{"item": "jars", "quantity": 7, "city": "Bern"}\n```',
    "empty texts": '{"item": "", "quantity": 0, "city": ""}',
    "half a surrogate pair": '{"item": "\\ud83d", "quantity": 7, "city": "Bern"}',
    "control characters": '{"item": "\\u001b[31m", "quantity": 7, "city": "a\\nb"}',
    "shapes for texts": '{"item": ["jars"], "quantity": 7, "city": {"name": "Bern"}}',
}


def lmstudio(url, *more):
    return ["provider=lmstudio", f"providers.lmstudio.endpoint={url}", *more]


def sentences(*texts):
    return [Row(line, {"text": text}, {"sentiment": "positive"}) for line, text in enumerate(texts, 2)]


def numbered(count):
    return sentences(*(f"sentence number {index}." for index in range(count)))


def index_in(question):
    return int(re.search(r"number (\d+)", question)[1])


def note(text):
    return [Row(2, {"note": text}, {"item": "jars", "quantity": "7", "city": "Bern"})]


@pytest.mark.parametrize("adapter", ["compact", "chat"])
def test_answers_that_cannot_be_used_are_wrong_answers_and_nothing_worse(serve, ask, adapter):
    script = [Line(re.compile(f"note {index}\\b"), reply) for index, reply in enumerate(UNUSABLE.values())]
    rows = [row for index in range(len(UNUSABLE)) for row in note(f"note {index}.")]
    outcomes = ask(lmstudio(serve(script).url, "task=extract", "task.max_tokens=3500", f"adapter={adapter}"), rows)
    assert len(outcomes) == len(UNUSABLE)
    for name, outcome in zip(UNUSABLE, outcomes, strict=True):
        assert not outcome.unserved, name
        assert outcome.error.startswith("unusable answer: "), name
        assert "\n" not in outcome.error
        assert len(outcome.error) <= 400
        assert (outcome.answer, outcome.right, outcome.served_by["provider"]) == ({}, False, "lmstudio"), name


@pytest.mark.parametrize("reply", ["", " \n"])
def test_an_empty_answer_is_none(serve, ask, reply):
    """The engine takes it for a failure of the model, so that another candidate may answer; here there is none."""
    [outcome] = ask(lmstudio(serve([Line(re.compile("."), reply)]).url, "task=extract"), note("seven jars to Bern"))
    assert (outcome.unserved, outcome.answer) == (True, {})
    assert "the model's answer is empty" in outcome.error


@pytest.mark.parametrize("name", USABLE)
def test_odd_answers_that_can_be_used(serve, ask, name):
    server = serve([Line(re.compile("."), USABLE[name])])
    [outcome] = ask(lmstudio(server.url, "task=extract", "adapter=compact"), note("seven jars to Bern"))
    assert outcome.error == ""
    assert outcome.answer.keys() == {"item", "quantity", "city"}
    assert isinstance(outcome.answer["quantity"], int)


@pytest.mark.parametrize("threads", [1, 4])
def test_every_row_is_asked_once_and_keeps_its_place(serve, ask, threads):
    server = serve([POSITIVE])
    rows = numbered(10)
    outcomes = ask(lmstudio(server.url, f"task.threads={threads}"), rows)
    assert [outcome.row for outcome in outcomes] == rows
    assert sorted(map(index_in, server.asked)) == list(range(10))
    assert all(outcome.right and len(outcome.calls) == 1 for outcome in outcomes)


def test_a_slow_first_row_still_comes_first(serve, ask):
    """The first answer waits until the fourth question has come, so it is certainly given later than others."""
    fourth = asyncio.Event()

    async def hold(question):
        if index_in(question) == 3:
            fourth.set()
        if index_in(question) == 0:
            await asyncio.wait_for(fourth.wait(), 30)

    server = serve([POSITIVE], hold)
    outcomes = ask(lmstudio(server.url, "task.threads=4"), numbered(8))
    assert [outcome.row.line for outcome in outcomes] == list(range(2, 10))
    assert all(outcome.answer for outcome in outcomes)


def test_no_more_calls_at_once_than_threads(serve, ask):
    present, most = 0, 0

    async def count(question):
        nonlocal present, most
        present += 1
        most = max(most, present)
        await asyncio.sleep(0.02)
        present -= 1

    ask(lmstudio(serve([POSITIVE], count).url, "task.threads=3"), numbered(12))
    assert 1 <= most <= 3


def test_traces_of_rows_that_are_asked_at_once_do_not_mix(serve, ask):
    async def refuse_every_third(question):  # of more, the breaker would open
        await asyncio.sleep(0.001 * (index_in(question) % 5))
        return None if index_in(question) % 3 else 503

    first, second = serve([POSITIVE], refuse_every_third), serve([POSITIVE])
    overrides = [
        "provider=[lmstudio,vllm]",
        f"providers.lmstudio.endpoint={first.url}",
        f"providers.vllm.endpoint={second.url}",
        "task.threads=4",
    ]
    outcomes = ask(overrides, numbered(24))
    for index, outcome in enumerate(outcomes):
        [call] = outcome.calls
        tried = [(attempt["provider"], attempt["status"]) for attempt in call["attempts"]]
        if index % 3:
            assert tried == [("lmstudio", "ok")]
        else:
            assert tried == [("lmstudio", "error"), ("vllm", "ok")]
        assert call["provider"] == tried[-1][0]
    assert sorted(map(index_in, second.asked)) == list(range(0, 24, 3))


@pytest.mark.parametrize("threads", [1, 2])
def test_when_nobody_answers_the_rest_is_not_asked(serve, ask, threads):
    async def refuse(question):
        return 500

    server = serve([POSITIVE], refuse)
    outcomes = ask(lmstudio(server.url, f"task.threads={threads}"), numbered(20))
    assert all(outcome.unserved for outcome in outcomes)
    assert GIVE_UP_AFTER <= len(outcomes) <= GIVE_UP_AFTER + threads - 1
    assert len(server.asked) == len(outcomes), "what was asked is also told"


def test_single_rows_without_an_answer_do_not_end_a_run(serve, ask):
    async def refuse_most(question):
        return None if index_in(question) % 3 == 2 else 500

    outcomes = ask(lmstudio(serve([POSITIVE], refuse_most).url), numbered(9))
    assert [outcome.unserved for outcome in outcomes] == [True, True, False] * 3
    assert all("not today" in outcome.error for outcome in outcomes if outcome.unserved)


def test_rows_that_are_too_long_say_nothing_about_the_servers(serve, ask):
    rows = sentences("short", *["long " * 40_000] * (GIVE_UP_AFTER + 1), "short again")
    outcomes = ask(lmstudio(serve([POSITIVE]).url), rows)
    assert [outcome.unserved for outcome in outcomes] == [False, *[True] * (GIVE_UP_AFTER + 1), False]
    assert all("context window" in outcome.error for outcome in outcomes if outcome.unserved)


def test_the_error_of_an_unserved_row_names_all_that_was_tried_to_the_end(ask):
    providers = ["lmstudio", "vllm", "sglang", "llamacpp", "ollama"]
    endpoints = [f"providers.{name}.endpoint={NOWHERE}" for name in providers]
    [outcome] = ask([f"provider=[{','.join(providers)}]", *endpoints], numbered(1))
    assert outcome.unserved
    for name in providers:
        assert re.search(rf"{name}/auto: \w+ \([^)]*connection refused\)", outcome.error), name


def test_private_rows_reach_no_cloud_provider(serve, ask):
    cloud = serve([POSITIVE])
    overrides = [
        "provider=[lmstudio,openai_compatible]",
        f"providers.lmstudio.endpoint={NOWHERE}",
        f"providers.openai_compatible.endpoint={cloud.url}",
        "providers.openai_compatible.locality=cloud",
    ]
    private = ask([*overrides, "task.privacy=private"], numbered(5))
    assert (len(private), cloud.asked) == (GIVE_UP_AFTER, [])
    assert all(outcome.unserved and "openai_compatible" not in outcome.error for outcome in private)
    internal = ask([*overrides, "task.privacy=internal"], numbered(2))
    assert [outcome.served_by["provider"] for outcome in internal] == ["openai_compatible"] * 2
    assert len(cloud.asked) == 2


def test_a_rule_can_tell_the_tasks_name_and_tags(serve, ask, tmp_path, monkeypatch):
    folder = tmp_path / "own" / "routing"
    folder.mkdir(parents=True)
    rules = [
        {"name": "nightly", "when": {"tags": {"contains": "nightly"}, "task": {"eq": "sentiment"}}, "use": ["vllm"]},
        {"name": "else", "use": ["lmstudio"]},
    ]
    (folder / "mine.yaml").write_text(json.dumps({"name": "mine", "rules": rules}), encoding="utf-8")
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(tmp_path / "own"))
    url = serve([POSITIVE]).url
    overrides = [
        "provider=[lmstudio,vllm]",
        "routing=mine",
        *(f"providers.{p}.endpoint={url}" for p in ("lmstudio", "vllm")),
    ]
    [plain] = ask(overrides, numbered(1))
    [tagged] = ask([*overrides, "task.tags=[nightly]"], numbered(1))
    assert [one.served_by["rule"] for one in (plain, tagged)] == ["else", "nightly"]
    assert [one.served_by["provider"] for one in (plain, tagged)] == ["lmstudio", "vllm"]


def test_a_question_without_a_label_is_asked_as_it_is(serve, ask):
    server = serve([Line(re.compile("sky"), '{"answer": "Because."}')])
    [outcome] = ask(
        lmstudio(server.url, "task=ask", "question=Why is the sky blue?"),
        [Row(0, {"question": "Why is the sky blue?"}, {})],
    )
    assert outcome.answer == {"answer": "Because."}
    assert "Why is the sky blue?" in server.asked[0]


def test_no_rows_ask_nothing(serve, ask):
    server = serve([POSITIVE])
    assert ask(lmstudio(server.url), []) == []
    assert server.asked == []
