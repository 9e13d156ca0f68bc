"""What LM Studio's answers are mended for, in one piece and in a stream cut anyhow: both give the same."""

import json
import time

import pytest
from dspy import lm15
from hypothesis import given, settings
from hypothesis import strategies as st

from lmroute.engine.exchange import Exchange
from lmroute.engine.replies import Frames, Mending, settle
from lmroute.engine.replies.mending import IN_REASONING
from lmroute.engine.replies.opening import Opening, split
from lmroute.engine.replies.pieces import LONGEST
from lmroute.engine.trace import TRACE_KEY
from lmroute.engine.verdicts import classify
from lmroute.model import Failure
from lmroute.providers.dialing import Patience
from lmroute.routing.breaker import NOT_THE_SERVERS_FAULT

SCHEMA = {
    "type": "json_schema",
    "name": "n",
    "schema": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
}
MARKER = "__LM_STUDIO_INTERNAL_LSEP_SYNTHETIC_REASONING_END_0f1e2d3c__"
CALL = {"id": "123456789", "type": "function", "function": {"name": "look", "arguments": "{}"}}
USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def whole(server, content="", finish="stop", calls=(), **reasoning):
    """The body of an answer in LM Studio's shape."""
    content = "".join(content)
    message = {"role": "assistant", "content": content, "reasoning_content": "", "tool_calls": list(calls), **reasoning}
    choices = [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}]
    return server.chat(choices=choices, stats={}, usage=USAGE)


def streamed(server, content="", finish="stop", calls=(), cut=3, **reasoning):
    """The same as a stream of small pieces."""
    name, thoughts = next(iter(reasoning.items()), ("reasoning_content", ""))
    deltas = [{name: piece} for piece in pieces(thoughts, cut)] + [{"content": piece} for piece in pieces(content, cut)]
    deltas += [{"tool_calls": [{"index": i, **call}]} for i, call in enumerate(calls)] + [{"content": ""}]
    deltas[0]["role"] = "assistant"
    frame = server.chunk()
    made = [{**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    return [*made, server.chunk(finish=finish), {**frame, "choices": [], "usage": USAGE}, "data: [DONE]"]


def pieces(text, cut):
    if isinstance(text, list):
        return text
    return [text[at : at + cut] for at in range(0, len(text), cut)]


class Answers:
    """The same answer in one piece and in a stream."""

    def __init__(self, mode, make, server):
        self._mode, self._make, self._server = mode, make, server

    def get(self, way, wanted=None, *, type_="lmstudio", text="hello", max_tokens=None, stop=(), **answer):
        engine = self._mode.provider(self._server.profile(type=type_))
        request = self._make.ask(text, model="m", response_format=wanted, max_tokens=max_tokens, stop=stop)
        if way == "whole":
            self._server.answers(self._server.http(whole(self._server, **answer)))
            return self._mode.complete(engine, request)
        self._server.answers(self._server.event_stream(*streamed(self._server, **answer)))
        return lm15.materialize_response(iter(self._mode.stream(engine, request)), request)


@pytest.fixture
def answers(mode, make, server):
    return Answers(mode, make, server)


@pytest.fixture(params=["whole", "stream"])
def way(request):
    return request.param


def shown(response):
    return "".join(p.text for p in response.message.parts if p.type == "thinking"), response.text or ""


def notes(response):
    return list((response.provider_data or {}).get(TRACE_KEY) or ())


GOOD = {
    "reasoning_content": ({"content": "yes", "reasoning_content": "hm"}, ("hm", "yes")),
    "reasoning": ({"content": "yes", "reasoning": "hm"}, ("hm", "yes")),
    "blank lines first": ({"content": "\n\n  yes\n\nno", "reasoning_content": "hm"}, ("hm", "  yes\n\nno")),
    "think tags": ({"content": "<think>\nhm\n</think>\n\nyes"}, ("hm\n", "yes")),
    "blank lines before think tags": ({"content": "\n<think>hm</think>yes"}, ("hm", "yes")),
    "nothing thought": ({"content": "<think>\n\n</think>\n\nyes"}, ("", "yes")),
    "think tags later": ({"content": "say <think>x</think>"}, ("", "say <think>x</think>")),
    "a tag that only begins alike": ({"content": "<thing>x"}, ("", "<thing>x")),
    "only the beginning of a tag": ({"content": "<thi"}, ("", "<thi")),
    "reasoning only": ({"reasoning_content": "hm"}, ("hm", "")),
    "a leaked marker": ({"content": [MARKER, "\nyes"]}, ("", "yes")),
    "a marker at the end": ({"content": ["yes", MARKER]}, ("", "yes")),
}


@pytest.mark.parametrize(("answer", "expected"), GOOD.values(), ids=GOOD)
def test_what_is_answer_and_what_is_thinking(answers, way, answer, expected):
    response = answers.get(way, **answer)
    assert shown(response) == expected
    assert notes(response) == []
    assert response.usage.input_tokens == 0


def test_what_stands_before_a_leaked_marker_was_thinking(answers):
    assert shown(answers.get("whole", content=f"hm, so{MARKER}\nyes")) == ("hm, so", "yes")


def test_a_tag_that_the_prompt_speaks_of_is_answer(answers, way):
    response = answers.get(way, text="Put it into <think>.", content="<think>x</think>y")
    assert shown(response) == ("", "<think>x</think>y")


def test_other_servers_texts_are_theirs(answers, way):
    response = answers.get(way, type_="openai_compatible", content="\n\n<think>x</think>y")
    assert shown(response) == ("", "\n\n<think>x</think>y")


JSON = '{"x": 3}'
HIDDEN = {
    "all of it": JSON,
    "after words": f"Let me see. It is {JSON}",
    "fenced": f"So:\n```json\n{JSON}\n```\n",
    "the last of two": f'maybe {{"x": 1}}, no: {JSON}',
    "among others": f'{JSON} which has no {{"y": 2}}',
    "after a broken one": f'{{"x": oops {JSON}',
}


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("reasoning", HIDDEN.values(), ids=HIDDEN)
def test_json_that_landed_in_the_reasoning_is_the_answer(answers, way, reasoning, field):
    response = answers.get(way, SCHEMA, **{field: reasoning})
    assert response.text == JSON
    assert notes(response) == [IN_REASONING]


def test_json_inside_think_tags_is_the_answer(answers, way):
    assert answers.get(way, SCHEMA, content=f"<think>{JSON}</think>\n").text == JSON


def test_a_long_answer_out_of_the_reasoning_comes_in_pieces_that_may_pass(answers, way):
    long = json.dumps({"x": 1, "y": "ü" * LONGEST})
    assert answers.get(way, SCHEMA, reasoning_content=long, **({"cut": 5000} if way == "stream" else {})).text == long


NOT_TAKEN = {
    "no schema": (None, JSON),
    "no JSON": (SCHEMA, "I wonder"),
    "a list": (SCHEMA, "[3]"),
    "without a required key": (SCHEMA, '{"y": 3}'),
    "half": (SCHEMA, '{"x": '),
}


@pytest.mark.parametrize(("wanted", "reasoning"), NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_reasoning_stays_reasoning_where_it_is_not_what_was_asked_for(answers, way, wanted, reasoning):
    response = answers.get(way, wanted, reasoning_content=reasoning)
    assert shown(response) == (reasoning, "")
    assert notes(response) == []


def test_content_is_the_answer_whatever_the_reasoning_holds(answers, way):
    response = answers.get(way, SCHEMA, content='{"x": 1}', reasoning_content=JSON)
    assert response.text == '{"x": 1}'
    assert notes(response) == []


def test_tool_calls_are_an_answer_without_content(answers, way):
    response = answers.get(way, SCHEMA, finish="tool_calls", calls=[CALL], reasoning_content=JSON)
    assert [call.name for call in response.message.parts if call.type == "tool_call"] == ["look"]
    assert shown(response) == (JSON, "")


def test_thinking_before_a_tool_call_is_no_content(answers, way):
    response = answers.get(way, finish="tool_calls", calls=[CALL], content="<think>hm</think>")
    assert shown(response) == ("hm", "")


EMPTY = {
    "nothing": ({}, "the model's answer is empty"),
    "blank": ({"content": " \n "}, "the model's answer is empty"),
    "nothing with a schema": ({"wanted": SCHEMA}, "the model's answer is empty"),
    "all thinking": ({"finish": "length", "content": "<think>hm"}, "all tokens there were went into reasoning"),
    "half the JSON": (
        {"finish": "length", "reasoning_content": '{"x":', "wanted": SCHEMA},
        "all tokens there were went into reasoning",
    ),
    "nothing, cut off with stop given": ({"finish": "length", "stop": ("x",)}, "all tokens there were were used up"),
}


@pytest.mark.parametrize(("answer", "words"), EMPTY.values(), ids=EMPTY)
def test_an_answer_without_anything_is_a_failure(answers, way, answer, words):
    with pytest.raises(lm15.ProviderError, match=words) as caught:
        answers.get(way, **answer)
    assert classify(caught.value) is Failure.BAD_REPLY


OWN_BOUNDS = {
    "all reasoning": (
        {"finish": "length", "reasoning_content": "hm", "max_tokens": 5},
        "all 5 max_tokens went into reasoning",
    ),
    "cut at once": ({"finish": "length", "max_tokens": 1}, "all 1 max_tokens were used up"),
}


@pytest.mark.parametrize(("answer", "words"), OWN_BOUNDS.values(), ids=OWN_BOUNDS)
def test_what_the_callers_own_max_tokens_cut_off_is_no_failure_of_the_server(answers, way, answer, words):
    with pytest.raises(lm15.InvalidRequestError, match=words) as caught:
        answers.get(way, **answer)
    assert classify(caught.value) in NOT_THE_SERVERS_FAULT


def test_an_answer_that_stop_ended_at_once_is_empty(answers, way):
    assert shown(answers.get(way, stop=("\n",))) == ("", "")


def test_part_of_an_answer_is_an_answer(answers, way):
    assert answers.get(way, SCHEMA, content='{"x":', finish="length").text == '{"x":'


BARE_STREAMS = {"nothing": [], "done": ["data: [DONE]"], "a role": [{"choices": [{"delta": {"role": "assistant"}}]}]}


@pytest.mark.parametrize("frames", BARE_STREAMS.values(), ids=BARE_STREAMS)
def test_a_stream_of_nothing_is_a_failure(mode, make, server, frames):
    server.answers(server.event_stream(*frames))
    with pytest.raises(lm15.LM15Error) as caught:
        mode.stream(mode.provider(server.profile(type="lmstudio")), make.ask(model="m"))
    assert classify(caught.value) is Failure.BAD_REPLY


CUT = {
    "answer": ([{"content": "hel"}], "without a finish_reason"),
    "JSON in the reasoning": ([{"reasoning": JSON}], "without a finish_reason"),
    "another model": ([{"content": "hel"}, "lo"], "'m' began the answer, and 'other' went on with it"),
}


@pytest.mark.parametrize(("deltas", "words"), CUT.values(), ids=CUT)
def test_a_stream_that_breaks_off_is_a_failure(mode, make, server, deltas, words):
    frames = [
        {"model": "m" if isinstance(delta, dict) else "other", "choices": [{"delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    server.answers(server.event_stream(*frames, "data: [DONE]"))
    with pytest.raises(lm15.LM15Error, match=words) as caught:
        mode.stream(mode.provider(server.profile(type="lmstudio")), make.ask(model="m", response_format=SCHEMA))
    assert classify(caught.value) is Failure.BAD_REPLY


def test_nothing_comes_after_the_end(mode, make, server):
    frames = server.chunk("yes"), server.chunk(finish="stop"), "data: [DONE]", server.chunk("zzz")
    server.answers(server.event_stream(*frames))
    events = mode.stream(mode.provider(server.profile(type="lmstudio")), make.ask(model="m"))
    assert make.text(events) == "yes"


LONG = "\N{GRINNING FACE}" * LONGEST


@pytest.mark.parametrize("type_", ["lmstudio", "openai_compatible"])
def test_a_tool_call_longer_than_a_line_of_lm15s_arrives(answers, type_):
    call = {**CALL, "function": {**CALL["function"], "arguments": json.dumps({"x": LONG})}}
    response = answers.get("stream", type_=type_, finish="tool_calls", calls=[call])
    assert [(part.name, part.input) for part in response.message.parts if part.type == "tool_call"] == [
        ("look", {"x": LONG})
    ]


def test_a_text_longer_than_a_line_of_lm15s_arrives(answers):
    assert answers.get("stream", content=[LONG]).text == LONG


def test_what_was_mended_is_in_the_trace(mode, make, server, way):
    profile = server.profile(type="lmstudio")
    engine = mode.router(make.stack(profile), {"a": mode.provider(profile)}, sink=(sink := make.sink()))
    request = make.ask(response_format={"type": "json_object"})
    if way == "whole":
        server.answers(server.http(whole(server, reasoning_content=JSON)))
        told = mode.complete(engine, request).provider_data[TRACE_KEY]
    else:
        server.answers(server.event_stream(*streamed(server, reasoning_content=JSON)))
        told = mode.stream(engine, request)[-1].provider_data[TRACE_KEY]
    assert told["attempts"][0]["degraded"] == ["json_object sent as json_schema", IN_REASONING]
    assert any(IN_REASONING in json.dumps(line) for line in sink.lines)


def test_an_empty_answer_falls_back(mode, make, server):
    server.answers(server.http(whole(server)), server.http(whole(server, "yes")))
    profiles = [server.profile(id=id_, type="lmstudio") for id_ in "ab"]
    engine = mode.router(make.stack(*profiles), {p.id: mode.provider(p) for p in profiles})
    response = mode.complete(engine, make.ask())
    assert response.text == "yes"
    assert [a["errorCode"] for a in response.provider_data[TRACE_KEY]["attempts"]] == ["bad_reply", None]


def exchange(make, **config):
    request = make.ask(model="m", **config)
    return Exchange(Patience(time.monotonic() + 9, 1, 1, 1), streams=True, needs_choices=True, mending=Mending(request))


FAST = {
    "an answer": {"content": "yes"},
    "an indented answer": {"content": "  yes"},
    "words of JSON": {"content": 'it says "content": "" and <think>'},
    "a tool call": {"content": "", "calls": [CALL]},
    "reasoned": {"content": "yes", "reasoning_content": "\n\nhm <think>"},
}


@pytest.mark.parametrize("answer", FAST.values(), ids=FAST)
def test_a_good_answer_is_not_even_parsed(make, server, monkeypatch, answer):
    body = json.dumps(whole(server, **answer), indent=2).encode()
    monkeypatch.setattr("lmroute.engine.replies.whole.parsed", lambda body: pytest.fail("it was parsed"))
    assert settle(200, body, exchange(make)) == (200, body)


def test_from_the_first_word_of_the_answer_a_stream_is_not_parsed(make, server, monkeypatch):
    frames = Frames(exchange(make))
    frames.feed(server.sse(*streamed(server, "yes", reasoning_content="hm")[:-4]))
    monkeypatch.setattr("lmroute.engine.replies.deltas.parsed", lambda data: pytest.fail("it was parsed"))
    rest = server.sse(server.chunk(' "and" so on'), server.chunk(finish="stop"), "data: [DONE]")
    assert frames.feed(rest) == rest


TEXTS = st.lists(
    st.sampled_from(["<think>", "</think>", "<", "/think>", "\n", " ", "hm", "yes", "\n\n", "<thi", "nk>"]), max_size=9
).map("".join)


@given(text=TEXTS, cuts=st.lists(st.integers(1, 5), min_size=1, max_size=40), thinks=st.booleans())
def test_however_a_text_is_cut_the_same_comes_out(text, cuts, thinks):
    opening, thinking, answer, at, turn = Opening(thinks=thinks), "", "", 0, 0
    while at < len(text):
        step = cuts[turn % len(cuts)]
        more = opening.feed(text[at : at + step])
        thinking, answer, at, turn = thinking + more[0], answer + more[1], at + step, turn + 1
    more = opening.rest()
    assert (thinking + more[0], answer + more[1]) == split(text, thinks=thinks)


@given(text=TEXTS)
def test_only_blanks_and_tags_are_lost(text):
    thinking, answer = split(text)
    kept = "".join((thinking + answer).split())
    stripped = text.lstrip()
    if stripped.startswith("<think>"):
        stripped = stripped.removeprefix("<think>").replace("</think>", "", 1)
    assert kept == "".join(stripped.split())


@settings(max_examples=50)
@given(data=st.data(), content=TEXTS, reasoning=st.sampled_from(["", "hm", JSON]), chunk=st.integers(1, 200))
def test_however_a_stream_is_cut_it_is_the_whole_answer(make, server_shapes, data, content, reasoning, chunk):  # noqa: PLR0917
    wanted = data.draw(st.sampled_from([None, SCHEMA]))
    body = json.dumps(whole(server_shapes, content, reasoning_content=reasoning)).encode()
    sent = server_shapes.sse(*streamed(server_shapes, content, reasoning_content=reasoning, cut=chunk % 7 + 1))
    frames, out = Frames(exchange(make, response_format=wanted)), b""
    try:
        message = json.loads(settle(200, body, exchange(make, response_format=wanted))[1])["choices"][0]["message"]
    except lm15.ProviderError:
        with pytest.raises(lm15.ProviderError):
            [frames.feed(sent[at : at + chunk]) for at in range(0, len(sent), chunk)]
        return
    for at in range(0, len(sent), chunk):
        out += frames.feed(sent[at : at + chunk])
    out += frames.rest()
    got = [json.loads(line[5:]) for line in out.splitlines() if line.startswith(b"data:") and b"[DONE]" not in line]
    deltas = [choice["delta"] for frame in got for choice in frame["choices"]]
    for name in ("content", "reasoning_content"):
        assert "".join(delta.get(name) or "" for delta in deltas) == (message.get(name) or "")


@pytest.fixture(scope="module")
def server_shapes():
    """The shapes of a raw server, without one."""
    from .raw_server import RawServer

    return RawServer
