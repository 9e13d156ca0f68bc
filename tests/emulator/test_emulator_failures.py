"""L17 and the failures of engines: every known refusal of a prompt that does not fit, E8, E9 and E19."""

import json

import pytest

from lmroute.emulator.catalog import Model
from lmroute.emulator.faults import Faults
from lmroute.emulator.settings import Settings
from lmroute.emulator.versions import PROFILES

TINY = (Model("tiny", context_length=12),)
LONG = [{"role": "user", "content": "one two three four " * 5}]
LARGER = "Try to load the model with a larger context length, or provide a shorter input"
TEXTS = {
    "E10": "Trying to keep the first 26 tokens when context the overflows. However, the model is loaded with "
    f"context length of only 12 tokens, which is not enough. {LARGER}",
    "E11": f"The number of tokens to keep from the initial prompt is greater than the context length. {LARGER}",
    "E12": "Input does not fit in context length. The input has 26 tokens, but the context length only supports "
    "12 tokens.",
    "E14": "request (26 tokens) exceeds the available context size (12 tokens), try increasing it",
}
LLAMA_SERVER = {
    "error": {
        "code": 400,
        "message": TEXTS["E14"],
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 26,
        "n_ctx": 12,
    }
}


def of(profile, overflow=""):
    return Settings(version=PROFILES[profile], models=TINY, faults=Faults(overflow=overflow))


def error_event(raw):
    *before, last, end = raw.decode().split("\n\n")
    name, data = last.split("\n")
    assert (name, end) == ("event: error", "")
    return before, json.loads(data.removeprefix("data: "))


def plain(overflow):
    return LLAMA_SERVER if overflow == "E14" else {"error": TEXTS[overflow]}


@pytest.mark.parametrize(
    ("profile", "overflow", "expected"),
    [
        ("0.3.5", "", "E10"),
        ("0.3.31", "", "E10"),
        ("0.4.25", "", "E11"),
        *((profile, variant, variant) for profile in ("0.3.31", "0.4.25") for variant in TEXTS),
    ],
)
def test_l17_a_whole_answer_is_a_400(shared, profile, overflow, expected):
    reply = shared(of(profile, overflow)).ask(messages=LONG)

    assert (reply.status_code, reply.json()) == (400, plain(expected))


@pytest.mark.parametrize(
    ("profile", "overflow", "expected"),
    [("0.3.31", "", "E10"), ("0.4.25", "E10", "E10"), ("0.4.25", "E11", "E11"), ("0.4.25", "E14", "E14")],
)
def test_l17_a_stream_that_has_not_begun_is_a_400(shared, profile, overflow, expected):
    reply = shared(of(profile, overflow)).ask(messages=LONG, stream=True)

    assert (reply.status_code, reply.json()) == (400, plain(expected))


@pytest.mark.parametrize(("profile", "overflow"), [("0.4.25", ""), ("0.4.25", "E12"), ("0.3.31", "E12")])
def test_l17_newer_releases_begin_the_stream_and_end_it_at_once(shared, profile, overflow):
    status, headers, raw = shared(of(profile, overflow)).stream_bytes(messages=LONG)

    before, data = error_event(raw)
    assert (status, headers["content-type"], before) == (200, "text/event-stream", [])
    assert data == {"error": {"message": TEXTS["E12"]}, "message": TEXTS["E12"]}


def test_l17_a_window_that_fills_while_generating(shared):
    client = shared(Settings(models=TINY, faults=Faults(window_exceeded=True)))
    asked = {"messages": [{"role": "user", "content": "a b c d e f g"}]}

    reply = client.ask(**asked)
    status, _, raw = client.stream_bytes(**asked)

    before, data = error_event(raw)
    assert (reply.status_code, reply.json()) == (400, {"error": "Context size has been exceeded."})
    assert (status, len(before), data["message"]) == (200, 5, "Context size has been exceeded.")
    assert client.ask(messages=[{"role": "user", "content": "a"}]).status_code == 200


FAILURES = {
    "crash": "The model has crashed without additional information. (Exit code: null)",
    "unloaded": "Model unloaded.",
    "compute": "Compute error.",
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_before_anything_was_said_is_a_400(shared, failure):
    client = shared(Settings(faults=Faults(failure=failure)))

    for stream in (False, True):
        reply = client.ask(stream=stream)
        assert (reply.status_code, reply.json()) == (400, {"error": FAILURES[failure]})


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_in_the_middle_ends_the_stream(shared, failure):
    client = shared(Settings(faults=Faults(failure=failure, failure_after=2)))

    status, _, raw = client.stream_bytes()

    before, data = error_event(raw)
    assert (status, len(before)) == (200, 2)
    assert data == {"error": {"message": FAILURES[failure]}, "message": FAILURES[failure]}
    assert client.ask().json() == {"error": FAILURES[failure]}


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/responses", "/v1/messages", "/api/v0/chat/completions"])
def test_every_route_that_generates_meets_the_failures(shared, path):
    client = shared(Settings(faults=Faults(failure="crash")))
    hello = [{"role": "user", "content": "hello"}]

    reply = client.post(path, json={"prompt": "a", "input": "a", "messages": hello, "max_tokens": 5})

    assert reply.status_code == 400
    assert FAILURES["crash"] in reply.text
