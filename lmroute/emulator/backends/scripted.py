"""A model that answers by a script, and otherwise by the same rule every time."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmroute.emulator.backends import ContextOverflow, Finish, Reasoning, RequestRefused
from lmroute.emulator.backends.choosing import chosen_calls
from lmroute.emulator.backends.from_schema import instance_of
from lmroute.emulator.backends.prompted import asked_schema, is_open
from lmroute.emulator.backends.schemas import Unsupported
from lmroute.emulator.backends.texts import cut_at_stop, last_question, tokens_in, tokens_of, whole_text
from lmroute.emulator.backends.vectors import vector_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from lmroute.emulator.backends import Event, Prompt, ToolCall
    from lmroute.emulator.backends.script import Line

ECHOED_WORDS = 12


@dataclass(frozen=True, slots=True)
class _Answer:
    """All that is to be said, before any limit."""

    reasoning: list[str]
    text: list[str]
    calls: list[ToolCall]
    stop_string: str | None


class ScriptedModel:
    """Deterministic: the same prompt gets the same answer, whatever temperature and seed say.

    A line of the script answers first. Otherwise a request with a schema gets an instance of it, chosen by a
    hash of the prompt (of an open schema: the fields that the prompt asks for), and any other request the
    beginning of its last user message; ``choosing`` says when tools are called instead. A prompt with effort
    reasons first.
    """

    def __init__(self, script: Sequence[Line] = ()) -> None:
        self._script = tuple(script)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Answer in small pieces."""
        used = tokens_in(prompt)
        if used >= prompt.context_length:
            raise ContextOverflow(used, prompt.context_length)
        answer = self._answer(prompt)
        limit = prompt.context_length - used
        if (asked := prompt.sampling.get("max_tokens", -1)) >= 0:
            limit = min(limit, asked)
        reasoning = answer.reasoning[:limit]
        text = answer.text[: limit - len(reasoning)]
        for token in reasoning:
            yield Reasoning(token)
            await asyncio.sleep(0)  # let others run, and a cancellation in
        for token in text:
            yield token
            await asyncio.sleep(0)
        said, wanted = len(reasoning) + len(text), len(answer.reasoning) + len(answer.text)
        called = sum(len(tokens_of(call.name + call.arguments)) for call in answer.calls)
        if wanted + called > limit:
            yield Finish("length", used, limit if called else said, len(reasoning))
            return
        for call in answer.calls:
            yield call
        yield Finish("tool_calls" if answer.calls else "stop", used, said + called, len(reasoning), answer.stop_string)

    async def embed(self, text: str, context_length: int) -> list[float]:
        """A vector by the words of the text."""
        return vector_of(tokens_of(text)[:context_length])

    async def aclose(self) -> None:
        """Nothing to let go of."""

    def _answer(self, prompt: Prompt) -> _Answer:
        question = last_question(prompt)
        line = next((line for line in self._script if line.pattern.search(question)), None)
        reasoning = [] if prompt.effort == "none" else tokens_of(_reasoning(question, line))
        if calls := chosen_calls(prompt, line):
            return _Answer(reasoning, [], calls, None)
        said = line.reply if line and line.reply is not None else _default(prompt, question)
        text, stop_string = cut_at_stop(said, prompt.sampling.get("stop"))
        return _Answer(reasoning, tokens_of(text), [], stop_string)


def _reasoning(question: str, line: Line | None) -> str:
    if line and line.reasoning is not None:
        return line.reasoning
    return "I am asked: " + " ".join(question.split()[:ECHOED_WORDS])


def _default(prompt: Prompt, question: str) -> str:
    if prompt.schema is None:
        return "You said: " + " ".join(question.split()[:ECHOED_WORDS])
    text = whole_text(prompt)
    schema = (asked_schema(text) if is_open(prompt.schema) else None) or prompt.schema
    try:
        value = instance_of(schema, text)
    except Unsupported as error:
        raise RequestRefused(
            f"The scripted model cannot make an answer to this schema: {error}. "
            "Script one (--script) or use --model embedded."
        ) from error
    return json.dumps(value, ensure_ascii=False)
