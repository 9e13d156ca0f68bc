"""L08: structured output."""

import json

import jsonschema
import pytest

from lmroute.emulator.settings import Settings
from lmroute.emulator.versions import PROFILES

VERDICT = {
    "type": "object",
    "properties": {"label": {"enum": ["positive", "negative"]}, "score": {"type": "integer", "maximum": 5}},
    "required": ["label", "score"],
    "additionalProperties": False,
}


def as_schema(schema, **wrapper):
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **wrapper}}


@pytest.mark.parametrize("strict", [True, False, "true", None])
def test_l08_a_schema_is_honoured(client, strict):
    reply = client.ask(response_format=as_schema(VERDICT, strict=strict)).json()

    message = reply["choices"][0]["message"]
    jsonschema.validate(json.loads(message["content"]), VERDICT)
    assert (message["reasoning_content"], reply["choices"][0]["finish_reason"]) == ("", "stop")


def test_l08_a_stream_carries_the_same_answer(client):
    fields = {"response_format": as_schema(VERDICT)}
    events = client.stream_bytes(**fields)[2].decode().split("\n\n")[:-2]

    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    content = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)

    assert content == client.ask(**fields).json()["choices"][0]["message"]["content"]


def test_l08_an_answer_that_is_cut_off_is_no_json(client):
    choice = client.ask(response_format=as_schema(VERDICT), max_tokens=3).json()["choices"][0]

    assert choice["finish_reason"] == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(choice["message"]["content"])


def test_l08_text_is_no_structure(client):
    content = client.ask(response_format={"type": "text"}).json()["choices"][0]["message"]["content"]

    assert content == "You said: hello there"


@pytest.mark.parametrize("wanted", [{"type": "json_object"}, {"type": "xml"}, {}, "json", {"type": None}])
@pytest.mark.parametrize("profile", ["0.3.31", "0.4.25"])
def test_l08_json_object_is_refused(shared, profile, wanted):
    reply = shared(Settings(version=PROFILES[profile])).ask(response_format=wanted)

    assert reply.status_code == 400
    assert reply.text == """{"error":"'response_format.type' must be 'json_schema' or 'text'"}"""


@pytest.mark.parametrize("wanted", ["json_object", "text"])
def test_l08_the_oldest_release_takes_schemas_only(shared, wanted):
    client = shared(Settings(version=PROFILES["0.3.5"]))

    reply = client.ask(response_format={"type": wanted})

    assert (reply.status_code, reply.text) == (
        400,
        """{"error":"'response_format.type' must be 'json_schema'"}""",
    )
    assert client.ask(response_format=as_schema(VERDICT)).status_code == 200


@pytest.mark.parametrize("wrapper", [None, {}, {"schema": "object"}, []])
def test_a_schema_must_be_there(client, wrapper):
    reply = client.ask(response_format={"type": "json_schema", "json_schema": wrapper})

    assert (reply.status_code, reply.json()) == (
        400,
        {"error": "'response_format.json_schema.schema' must be a JSON Schema"},
    )


def test_a_schema_beyond_the_scripted_model_is_refused_with_a_way_out(client):
    reply = client.ask(response_format=as_schema({"type": "string", "pattern": "^a+$"}))

    assert reply.status_code == 400
    assert "$: 'pattern' is not supported" in reply.json()["error"]
    assert "--model embedded" in reply.json()["error"]
