"""``/v1/messages``: Anthropic's route. Only its fields and events are documented; the bodies are Anthropic's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmroute.emulator.answering import Answering
from lmroute.emulator.anthropic.blocks import chat_messages, chat_tools, tool_choice
from lmroute.emulator.anthropic.words import MessageWords, in_anthropic_form, invalid
from lmroute.emulator.auth import MESSAGES_PATH
from lmroute.emulator.backends import Prompt
from lmroute.emulator.house import House, Row
from lmroute.emulator.openai.tools import tools_of
from lmroute.emulator.refusals import Refused
from lmroute.emulator.requests import model_of, read_object
from lmroute.emulator.versions import MESSAGES

if TYPE_CHECKING:
    from starlette.requests import Request

    from lmroute.emulator.machine.instances import Instance
    from lmroute.emulator.versions import Version


def rows(house: House) -> list[Row]:
    """The route. LM Studio has no ``count_tokens`` beside it."""

    async def answer(request: Request) -> Answering:
        try:
            body = await read_object(request)
            history = chat_messages(body)
            limit = _max_tokens(body.get("max_tokens"))
            instance = await house.choose(request, model_of(body))
            prompt = _prompt(body, history, limit, instance, house.version)
        except Refused as refused:
            raise in_anthropic_form(refused) from refused
        return Answering(house, instance, prompt, MessageWords(instance), stream=body.get("stream") is True)

    return [Row("POST", MESSAGES_PATH, answer, MESSAGES)]


def _max_tokens(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise invalid("max_tokens: a whole number of at least 1 is required")
    return value


def _prompt(
    body: dict[str, Any], history: tuple[dict[str, Any], ...], limit: int, instance: Instance, version: Version
) -> Prompt:
    sampling = {name: body[name] for name in ("temperature", "top_p", "top_k") if body.get(name) is not None}
    choice, only = tool_choice(body.get("tool_choice"))
    tools = [tool for tool in chat_tools(body.get("tools")) if only is None or tool["function"].get("name") == only]
    thinking = body.get("thinking")
    off = isinstance(thinking, dict) and thinking.get("type") == "disabled"
    return Prompt(
        history,
        {**sampling, "max_tokens": limit, "stop": body.get("stop_sequences") or []},
        None,
        instance.context_length,
        tools_of(tools, version),
        choice,
        instance.model.effort("off" if off else None),
    )
