"""``/v1/responses``: OpenAI's newer route. As in LM Studio, it knows no schemas and no ``ttl``.

Of the kinds of tools there are functions only, and log probabilities are never sent.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from lmroute.emulator import refusals
from lmroute.emulator.answering import Answering
from lmroute.emulator.backends import Prompt
from lmroute.emulator.house import House, Row
from lmroute.emulator.openai.requests import effort_of, sampling_of
from lmroute.emulator.openai.response_items import chat_messages, chat_tools
from lmroute.emulator.openai.response_words import ResponseWords
from lmroute.emulator.openai.tools import tool_choice_of, tools_of
from lmroute.emulator.requests import model_of, read_object
from lmroute.emulator.versions import RESPONSES

if TYPE_CHECKING:
    from starlette.requests import Request

    from lmroute.emulator.machine.instances import Instance
    from lmroute.emulator.versions import Version

    Messages = tuple[dict[str, Any], ...]

_REMEMBERED = 200
"""How many stored responses can be continued, the newest ones."""


class _Memory:
    """The conversations behind the responses that were stored."""

    def __init__(self) -> None:
        self._by_id: OrderedDict[str, Messages] = OrderedDict()

    def before(self, response_id: Any) -> Messages:
        """The conversation up to a response; LM Studio's words for an unknown one are unknown."""
        if response_id is None:
            return ()
        if not isinstance(response_id, str) or response_id not in self._by_id:
            message = f"Previous response with id '{response_id}' not found."
            raise refusals.openai_error(message, "previous_response_id", "previous_response_not_found")
        return self._by_id[response_id]

    def keep(self, response_id: str, messages: Messages) -> None:
        """Remember a conversation; the oldest one is forgotten when there are too many."""
        self._by_id[response_id] = messages
        while len(self._by_id) > _REMEMBERED:
            self._by_id.popitem(last=False)


def rows(house: House) -> list[Row]:
    """The route."""
    memory = _Memory()

    async def answer(request: Request) -> Answering:
        body = await read_object(request)
        _refuse_text(body.get("text"))
        history = (*memory.before(body.get("previous_response_id")), *chat_messages(body.get("input")))
        instance = await house.choose(request, model_of(body))
        prompt = _prompt(body, history, instance, house.version)

        def keep(response_id: str, said: dict[str, Any]) -> None:
            if body.get("store") is not False:
                memory.keep(response_id, (*history, said))

        words = ResponseWords(instance, body, keep)
        return Answering(house, instance, prompt, words, stream=body.get("stream") is True)

    return [Row("POST", "/v1/responses", answer, RESPONSES)]


def _prompt(body: dict[str, Any], history: Messages, instance: Instance, version: Version) -> Prompt:
    instructions = body.get("instructions")
    system = ({"role": "system", "content": instructions},) if isinstance(instructions, str) else ()
    reasoning = body.get("reasoning")
    effort = reasoning.get("effort") if isinstance(reasoning, dict) else None
    limit = {"max_tokens": body["max_output_tokens"]} if body.get("max_output_tokens") is not None else {}
    return Prompt(
        (*system, *history),
        sampling_of({**{name: body.get(name) for name in ("temperature", "top_p")}, **limit}),
        None,
        instance.context_length,
        tools_of(chat_tools(body.get("tools")), version),
        tool_choice_of(body.get("tool_choice"), version),
        instance.model.effort(effort_of(effort, version, "reasoning.effort")),
    )


def _refuse_text(value: Any) -> None:
    if isinstance(value, dict) and value.get("format") is None:
        raise refusals.openai_error("Required", "text.format", "missing_required_parameter")
