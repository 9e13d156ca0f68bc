"""The golden bodies: each keeps to the schema of its folder, and the emulator answers like it.

``golden/<schema>/<case>.json`` is a body, ``<case>.txt`` a stream; all of them are invented. ``least.json`` has nothing
that a schema does not ask for. ``<case>.ask.json`` beside one is what the emulator is asked to give the same answer.
"""

import json
import re
from itertools import groupby
from pathlib import Path

import pytest

from lmroute.providers import contract

ROOT = Path(__file__).with_name("golden")
BODIES = sorted(file for file in ROOT.glob("*/*.json") if not file.name.endswith(".ask.json"))
STREAMS = sorted(ROOT.glob("*/*.txt"))
ASKED = sorted(ROOT.glob("*/*.ask.json"))


def name_of(file):
    return f"{file.parent.name}/{file.name}"


def read(file):
    return json.loads(file.read_text(encoding="utf-8"))


def events(raw):
    """Name and data of every event; ``[DONE]`` stays a text."""
    blocks = raw.split("\n\n")
    assert blocks.pop() == ""
    for block in blocks:
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        data = lines["data"]
        yield lines.get("event", ""), data if data == "[DONE]" else json.loads(data)


@pytest.mark.parametrize("file", BODIES, ids=name_of)
def test_a_body_keeps_to_its_schema(file):
    assert contract.problems(file.parent.name, read(file)) == []


@pytest.mark.parametrize("file", STREAMS, ids=name_of)
def test_every_event_of_a_stream_keeps_to_its_schema(file):
    found = list(events(file.read_text(encoding="utf-8")))
    assert found
    for name, data in found:
        if data != "[DONE]":
            assert contract.problems(file.parent.name, data) == []
            assert name in {"", "error", data.get("type", name)}


def test_every_schema_has_a_least_body_and_nothing_lies_beside_them():
    assert {file.parent.name for file in BODIES if file.stem == "least"} == set(contract.names())
    assert {file for file in ROOT.rglob("*") if file.is_file()} == {*BODIES, *STREAMS, *ASKED}
    answers = {file.with_suffix("") for file in (*BODIES, *STREAMS)}
    assert {file.with_suffix("").with_suffix("") for file in ASKED} <= answers


@pytest.mark.parametrize("file", ASKED, ids=name_of)
def test_the_emulator_answers_like_it(file, emulator):
    asked = read(file)
    method, path = asked["request"].split(" ")
    body = file.with_suffix("").with_suffix(".json")

    reply = emulator(asked["profile"]).request(method, path, json=asked.get("body"))

    assert reply.status_code == asked["status"], reply.text
    if body.exists():
        assert laid_out(reply.json()) == laid_out(read(body))
    else:
        expected = file.with_suffix("").with_suffix(".txt").read_text(encoding="utf-8")
        assert outline(events(reply.text)) == outline(events(expected))


def laid_out(value):
    """A body as text, without what differs from answer to answer."""
    return json.dumps(normal(value), indent=1, ensure_ascii=False, sort_keys=True)


def outline(found):
    """A stream without how often a kind of event is repeated."""
    return [key for key, _ in groupby((name, laid_out(data)) for name, data in found)]


IDS = re.compile(r"(chatcmpl-|cmpl-|resp_|msg_|job_)[a-z0-9]+|[0-9]{9}")
TEXTS = {"content", "text", "reasoning_content", "arguments", "delta"}
TIMES = {"created", "created_at", "completed_at", "started_at"}
MEASURED = {"usage", "stats", "runtime"}
NUMBERS = {"temperature", "frequency_penalty", "progress"}


def normal(value, key="", *, measured=False):
    if isinstance(value, dict):
        return {name: normal(part, name, measured=measured or name in MEASURED) for name, part in value.items()}
    if isinstance(value, list):
        return ["numbers"] if key == "embedding" else [normal(part, key, measured=measured) for part in value]
    if key in TIMES or (measured and not isinstance(value, bool | None)):
        return type(value).__name__
    if isinstance(value, str):
        return "a text" if key in TEXTS and value else IDS.sub(lambda found: f"{found[1]}id", value)
    return "a number" if key in NUMBERS else value
