"""One turn of ``/api/v1/chat``: load, read the prompt, think, speak, call tools, speak again; as named events."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from lmroute.emulator.backends import Finish, Prompt, Reasoning, ToolCall
from lmroute.emulator.catalog import Model
from lmroute.emulator.faults import faults_of
from lmroute.emulator.machine.instances import LoadConfig

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from starlette.types import Scope

    from lmroute.emulator.backends import Event
    from lmroute.emulator.house import House
    from lmroute.emulator.machine.instances import Instance
    from lmroute.emulator.native.requests import NativeRequest
    from lmroute.emulator.settings import Plugin

Named: TypeAlias = tuple[str, dict[str, Any]]
"""An event's type and its other fields."""

_MOST_ROUNDS = 8
"""How often the model may call tools before it is stopped."""
_PROGRESS = (0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What came before this turn, and what the model may use in it."""

    before: tuple[dict[str, Any], ...]
    plugins: tuple[Plugin, ...]

    def tool(self, name: str) -> tuple[Plugin, str] | None:
        """The plugin that has a tool, and what the tool returns."""
        found = ((plugin, text) for plugin in self.plugins for tool, text in plugin.tools if tool == name)
        return next(found, None)

    def tools(self) -> tuple[dict[str, Any], ...]:
        """The tools in OpenAI's form."""
        nothing = {"type": "object", "properties": {}}
        names = [name for plugin in self.plugins for name, _ in plugin.tools]
        return tuple({"type": "function", "function": {"name": name, "parameters": nothing}} for name in names)


class Turn:
    """A turn and what it has brought so far.

    Args:
        chosen: the instance that answers, or the model to load first.
    """

    def __init__(
        self, house: House, chosen: Instance | Model, asked: NativeRequest, conversation: Conversation
    ) -> None:
        self.model = chosen if isinstance(chosen, Model) else chosen.model
        self.messages = (*conversation.before, *asked.messages)
        self._house = house
        self._chosen = chosen
        self._asked = asked
        self._conversation = conversation
        self._output: list[dict[str, Any]] = []
        self._finishes: list[Finish] = []
        self._load_s: float | None = None
        self._started_s = self._first_s = self._ended_s = house.state.clock()

    async def events(self, scope: Scope) -> AsyncGenerator[Named, None]:
        """Everything but the end of the chat.

        Raises:
            LoadFailed, GenerationError: when it cannot go on.
        """
        yield "chat.start", {"model_instance_id": self._id}
        if isinstance(self._chosen, Model):
            async with aclosing(self._load(self._chosen, scope)) as events:
                async for named in events:
                    yield named
        self._started_s = self._house.state.clock()
        for _ in range(_MOST_ROUNDS):
            known = len(self.messages)
            async with aclosing(self._round(scope)) as events:
                async for named in events:
                    yield named
            if not any(message["role"] == "tool" for message in self.messages[known:]):
                break

    def result(self) -> dict[str, Any]:
        """The body of the whole answer, without the id of a stored response."""
        said = sum(finish.completion_tokens for finish in self._finishes)
        taken = self._ended_s - self._started_s
        stats: dict[str, Any] = {
            "input_tokens": sum(finish.prompt_tokens for finish in self._finishes),
            "total_output_tokens": said,
            "reasoning_output_tokens": sum(finish.reasoning_tokens for finish in self._finishes),
            "tokens_per_second": said / taken if taken else 0.0,
            "time_to_first_token_seconds": round(self._first_s - self._started_s, 3),
        }
        if self._load_s is not None:
            stats["model_load_time_seconds"] = round(self._load_s, 3)
        return {"model_instance_id": self._id, "output": self._output, "stats": stats}

    @property
    def _id(self) -> str:
        return self._chosen.key if isinstance(self._chosen, Model) else self._chosen.id

    async def _load(self, model: Model, scope: Scope) -> AsyncGenerator[Named, None]:
        name = {"model_instance_id": model.key}
        state, seconds = self._house.state, self._house.settings.load_seconds
        start = state.clock()
        yield "model_load.start", name
        load = state.start_for_request(model, faults_of(scope), config=LoadConfig(self._asked.context_length))
        for share in _PROGRESS:
            await state.clock.sleep(start + share * seconds - state.clock())
            yield "model_load.progress", {**name, "progress": share}
        self._chosen = await load
        self._load_s = state.clock() - start
        yield "model_load.progress", {**name, "progress": 1.0}
        yield "model_load.end", {**name, "load_time_seconds": round(self._load_s, 3)}

    async def _round(self, scope: Scope) -> AsyncGenerator[Named, None]:
        """The model speaks until it is done or has called tools."""
        first, part, items = True, "", len(self._output)
        yield "prompt_processing.start", {}
        yield "prompt_processing.progress", {"progress": 0.0}
        async with aclosing(self._generated(scope)) as events:
            async for event in events:
                if first:
                    self._first_s = self._first_s if self._finishes else self._house.state.clock()
                    yield "prompt_processing.progress", {"progress": 1.0}
                    yield "prompt_processing.end", {}
                    first = False
                kind = "message" if isinstance(event, str) else "reasoning" if isinstance(event, Reasoning) else ""
                if part and kind != part:
                    yield f"{part}.end", {}
                for named in self._take(event, kind, is_new=kind != part):
                    yield named
                part = kind
        self._ended_s = self._house.state.clock()
        self._remember(items)

    def _generated(self, scope: Scope) -> AsyncGenerator[Event, None]:
        if isinstance(self._chosen, Model):
            raise TypeError(f"{self._chosen.key} is not loaded")
        prompt = Prompt(
            self.messages,
            self._asked.sampling,
            None,
            self._chosen.context_length,
            tools=self._conversation.tools(),
            effort=self.model.effort(self._asked.reasoning),
        )
        return self._house.generate(scope, self._chosen, prompt)

    def _take(self, event: Event, kind: str, *, is_new: bool) -> Iterator[Named]:
        if isinstance(event, Finish):
            self._finishes.append(event)
        elif isinstance(event, ToolCall):
            yield from self._call(event)
        else:
            if is_new:
                self._output.append({"type": kind, "content": ""})
                yield f"{kind}.start", {}
            text = event.text if isinstance(event, Reasoning) else event
            self._output[-1]["content"] += text
            yield f"{kind}.delta", {"content": text}

    def _call(self, call: ToolCall) -> Iterator[Named]:
        found = self._conversation.tool(call.name)
        if found is None:
            reason = f"Cannot find tool with name {call.name}."
            metadata = {"type": "invalid_name", "tool_name": call.name}
            self._output.append({"type": "invalid_tool_call", "reason": reason, "metadata": metadata})
            yield "tool_call.start", {"tool": call.name}
            yield "tool_call.failure", {"reason": reason, "metadata": metadata}
            return
        plugin, output = found
        tool = {"tool": call.name, "provider_info": {"type": "plugin", "plugin_id": plugin.id}}
        arguments = {"arguments": json.loads(call.arguments)}
        self._output.append({"type": "tool_call", **tool, **arguments, "output": output})
        yield "tool_call.start", tool
        yield "tool_call.arguments", {**tool, **arguments}
        yield "tool_call.success", {**tool, **arguments, "output": output}

    def _remember(self, items: int) -> None:
        """Add what was said and what the tools returned to the messages."""
        said: list[dict[str, Any]] = []
        for number, item in enumerate(self._output[items:]):
            if item["type"] == "message":
                said.append({"role": "assistant", "content": item["content"]})
            elif item["type"] == "tool_call":
                call_id = f"{len(self.messages) + number:09}"
                function = {"name": item["tool"], "arguments": json.dumps(item["arguments"])}
                call = {"type": "function", "id": call_id, "function": function}
                said.append({"role": "assistant", "content": "", "tool_calls": [call]})
                said.append({"role": "tool", "tool_call_id": call_id, "content": item["output"]})
        self.messages += tuple(said)
