"""DSPy's streaming over a routed LM, and programs with a routed LM that are saved and loaded."""

import asyncio
import json

import dspy
import pytest
from dspy import lm15

import lmroute
from lmroute.engine.adapters import CompactAdapter


def calls(lm):
    return [line for line in lm.sink.lines if line["kind"] == "call"]


LONG = {"answer": "a fairly long answer that comes in several pieces, one after the other, to the very end"}


def pieces(text):
    """A stream of a text in small pieces."""
    deltas = [lm15.StreamDeltaEvent(delta=lm15.TextDelta(text=text[i : i + 6])) for i in range(0, len(text), 6)]
    return [lm15.StreamStartEvent(id="s", model="streaming"), *deltas, lm15.StreamEndEvent(finish_reason="stop")]


class Asynchronous(dspy.Module):
    def __init__(self):
        super().__init__()
        self.ask = dspy.Predict("question -> answer")

    async def aforward(self, question):
        return await self.ask.acall(question=question)


@pytest.mark.parametrize("adapter", [CompactAdapter, dspy.JSONAdapter, dspy.ChatAdapter])
@pytest.mark.parametrize("program", ["sync", "async"])
def test_a_listener_gets_the_field_as_it_comes(scripted_lm, adapter, program):
    chat = f"[[ ## answer ## ]]\n{LONG['answer']}\n\n[[ ## completed ## ]]"
    made = scripted_lm(pieces(chat if adapter is dspy.ChatAdapter else json.dumps(LONG)))
    listener = dspy.streaming.StreamListener(signature_field_name="answer")
    is_async = program == "async"
    streamed = dspy.streamify(
        Asynchronous() if is_async else dspy.Predict("question -> answer"),
        stream_listeners=[listener],
        is_async_program=is_async,
    )

    async def collect():
        return [item async for item in streamed(question="?")]

    with dspy.context(lm=made, adapter=adapter()):
        *chunks, prediction = asyncio.run(collect())
    assert prediction.answer == LONG["answer"]
    # For JSON, DSPy's listener passes the value on with its quotes.
    assert "".join(chunk.chunk for chunk in chunks).strip('" \n') == LONG["answer"]
    assert len(chunks) > 2
    (call,) = calls(made)
    assert (call["model"], call["attributes"]["stream"]) == ("streaming", True)


def test_a_stream_that_falls_back_is_seen_once(make, mode):
    stack = make.stack(make.profile("a"), make.profile("b"))
    gone = [lm15.StreamStartEvent(), lm15.TransportError("gone")]
    engine = mode.router(stack, {"a": mode.child(gone), "b": mode.child(pieces(json.dumps(LONG)))})
    assert "".join(e.delta.text for e in mode.stream(engine, make.ask()) if e.type == "delta") == json.dumps(LONG)


@pytest.fixture
def saved(emulator):
    """A program with a routed LM of its own, over the emulator."""
    program = dspy.Predict("question -> answer")
    program.lm = lmroute.load(["provider=[lmstudio]", f"providers.lmstudio.endpoint={emulator}"], cache=False)
    program.demos = [dspy.Example(question="1?", answer="one")]
    return program


def test_end_to_end_over_the_emulator(saved):
    with dspy.context(adapter=lmroute.adapter(saved.lm)):
        assert saved(question="2?").answer.startswith("answer ")
    assert saved.lm.history[-1]["response_model"] == "rookery/tern-3b-instruct"


def test_a_program_is_saved_as_json_and_loaded_again(saved, tmp_path):
    saved.save(tmp_path / "program.json")
    again = dspy.Predict("question -> answer")
    again.load(tmp_path / "program.json", allow_unsafe_lm_state=True)
    assert again.lm.model == saved.lm.model
    with dspy.context(adapter=CompactAdapter()):
        assert again(question="2?").answer == saved(question="2?").answer
        assert asyncio.run(again.acall(question="2?")).answer == saved(question="2?").answer
    again.lm.engine.close()


def test_a_whole_program_is_saved_and_loaded_again(saved, tmp_path):
    saved.save(tmp_path / "whole", save_program=True)
    again = dspy.load(tmp_path / "whole", allow_pickle=True)
    with dspy.context(adapter=CompactAdapter()):
        assert again(question="2?").answer == saved(question="2?").answer
    assert again.lm.model == saved.lm.model


def test_a_deep_copy_of_a_program_shares_the_engine(saved):
    assert saved.deepcopy().lm.engine is saved.lm.engine
