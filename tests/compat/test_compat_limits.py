"""L17, L18, L22, L23: windows that are full, many requests at once, clients that leave, wires that break."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from lmroute.providers import contract

from .endpoint import LONG, is_overflow, said

CHAT = "/v1/chat/completions"


def too_long(server):
    """A question that does not fit the loaded window, and a model with such a window."""
    known = [model for model in server.chats if model["loaded"] and model["window"]]
    name, window = (known[0]["loaded"][0], known[0]["window"]) if known else (server.chat_model, 96)
    return {"model": name, "messages": [{"role": "user", "content": "tide " * (window + 200)}], "max_tokens": 8}


@pytest.mark.needs("generate")
@pytest.mark.stage("tiny")
def test_l17_a_prompt_that_does_not_fit_is_refused(server, seen):
    reply = server.post(CHAT, too_long(server))
    assert reply.status_code == 400
    assert contract.problems("error", reply.json()) == []
    assert is_overflow(reply.json())
    seen(f"whole: {said(reply.json())[:70]}")


@pytest.mark.needs("generate")
@pytest.mark.stage("tiny")
def test_l17_it_is_refused_in_a_stream_too(server, seen):
    stream = server.stream(**too_long(server))
    if stream.status != 200:
        assert (stream.status, is_overflow(json.loads(stream.raw))) == (400, True)
        seen("streamed: a refusal of status 400")
        return
    event, told = stream.events[-1]
    assert event == "error"
    assert contract.problems("error", told) == []
    assert is_overflow(told)
    assert told["message"] == told["error"]["message"]
    seen("streamed: an error event of status 200")


@pytest.mark.needs("fault")
@pytest.mark.stage("tiny")
@pytest.mark.parametrize("variant", ["E10", "E11", "E12", "E14"])
def test_l17_every_known_wording_is_one_of_an_overflow(server, variant):
    server.faults(overflow=variant)
    stream = server.stream(**too_long(server))
    told = stream.events[-1][1] if stream.status == 200 else json.loads(stream.raw)
    assert is_overflow(told)
    assert (stream.status == 200) == (variant == "E12")
    if variant == "E14":
        assert told["error"]["type"] == "exceed_context_size_error"
        assert told["error"]["n_prompt_tokens"] > told["error"]["n_ctx"]


@pytest.mark.needs("generate")
def test_l18_one_more_than_at_once_all_get_their_answer(server, seen):
    parallel = max(model["parallel"] for model in server.chats[:1])
    with ThreadPoolExecutor(parallel + 1) as pool:
        replies = list(pool.map(lambda _: server.ask(max_tokens=8), range(parallel + 1)))
    assert [reply.status_code for reply in replies] == [200] * (parallel + 1)
    seen(f"{parallel} at once")


@pytest.mark.needs("fault")
def test_l18_the_rest_waits_until_one_is_done(server):
    parallel = server.state["instances"][0]["parallel"]
    assert parallel == (4 if server.at_least("v1") else 1)
    server.faults(drip=5000)
    asked = {**server.question(messages=LONG, max_tokens=3000), "stream": True}
    with httpx.Client(base_url=server.url, trust_env=False, timeout=20) as client, ThreadPoolExecutor(9) as pool:
        streams = [client.stream("POST", CHAT, json=asked) for _ in range(parallel + 1)]
        begun = [pool.submit(stream.__enter__) for stream in streams]
        server.until(lambda: server.state["instances"][0]["queued"] == parallel + 1)
        server.until(lambda: server.answering.count(200) == parallel)
        assert server.answering.count(None) == 1
        first = next(at for at, begin in enumerate(begun) if begin.done())
        streams[first].__exit__(None, None, None)
        server.until(lambda: server.answering.count(200) == parallel + 1)
        for at, begin in enumerate(begun):
            begin.result(20)
            if at != first:
                streams[at].__exit__(None, None, None)
    server.until(lambda: server.state["instances"][0]["queued"] == 0)


@pytest.mark.needs("fault")
@pytest.mark.stage("tiny")
def test_l18_a_window_that_fills_up_ends_every_request_there(server):
    if not server.at_least("v1"):
        pytest.skip("the server answers one request at a time")
    server.faults(drip=2000, times=1, path=CHAT)
    asked = server.question(messages=LONG, max_tokens=3000)
    with server.meanwhile(lambda: server.stream(**asked)) as slow:
        server.until(lambda: server.answering == [200])
        server.faults(window_exceeded=True)
        quick = server.stream(**asked).events[-1]
        other = slow().events[-1]
    assert [event for event, _ in (quick, other)] == ["error", "error"]
    assert {said(told) for _, told in (quick, other)} == {"Context size has been exceeded."}


@pytest.mark.needs("fault")
def test_l22_a_client_that_leaves_frees_its_place(server):
    """Whether the generation stopped or hurried to its end cannot be told from outside; tests/emulator looks inside."""
    server.faults(drip=5000)
    body = {**server.question(messages=LONG, max_tokens=3000), "stream": True}
    with server.bare.stream("POST", CHAT, json=body) as reply:
        pieces = reply.iter_raw()  # to let go of it is to leave
        next(pieces)
        assert server.state["instances"][0]["queued"] == 1
    server.until(lambda: server.state["instances"][0]["queued"] == 0)


@pytest.mark.needs("generate")
def test_l22_after_a_client_left_the_next_one_is_answered(server):
    body = {**server.question(messages=LONG, max_tokens=256), "stream": True}
    with server.http.stream("POST", CHAT, json=body) as reply:
        next(reply.iter_raw())
    assert server.ask(max_tokens=1).status_code == 200


@pytest.mark.needs("fault")
def test_l23_silence(server):
    server.faults(hang=True)
    with pytest.raises(httpx.ReadTimeout):
        server.http.get("/v1/models", timeout=0.1)


@pytest.mark.needs("fault")
def test_l23_a_slow_drip_changes_no_byte(server):
    whole = server.http.get("/v1/models").content
    server.faults(drip=50_000, times=1)
    assert server.http.get("/v1/models").content == whole


@pytest.mark.needs("fault")
@pytest.mark.parametrize("bytes_before", [0, 20])
def test_l23_a_reset(server, bytes_before):
    server.faults(reset_after_bytes=bytes_before, times=1)
    with pytest.raises(httpx.NetworkError):
        server.http.get("/v1/models")
    assert server.http.get("/v1/models").status_code == 200


@pytest.mark.needs("fault")
def test_l23_a_page_of_html(server):
    server.faults(html_500=True)
    reply = server.http.get("/v1/models")
    assert (reply.status_code, reply.headers["content-type"].partition(";")[0]) == (500, "text/html")
    assert "<pre>Internal Server Error</pre>" in reply.text


@pytest.mark.needs("fault")
def test_l23_json_that_ends_in_the_middle(server):
    server.faults(truncated_json=True)
    with pytest.raises(json.JSONDecodeError):
        server.http.get("/v1/models").json()


@pytest.mark.needs("fault")
@pytest.mark.parametrize(
    ("failure", "words"),
    [("crash", "The model has crashed without additional information"), ("compute", "Compute error.")],
)
def test_l23_an_engine_that_dies_in_the_middle_ends_the_stream_with_an_error(server, failure, words):
    server.faults(failure=failure, failure_after=2)
    *before, (event, told) = server.ask_stream().events
    assert (event, len(before) >= 2) == ("error", True)
    assert contract.problems("error", told) == []
    assert said(told).startswith(words)


def test_l23_idle_connections_are_kept_for_a_while(server, seen):
    kept = server.http.get("/v1/models").headers.get("keep-alive", "nothing is said")
    seen(f"idle connections: {kept}")
    assert server.live or kept == "timeout=5"
