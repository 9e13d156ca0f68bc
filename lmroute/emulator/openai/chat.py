"""``/v1/chat/completions``, ``/v1/completions`` and their twins under ``/api/v0``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmroute.emulator.answering import Answering
from lmroute.emulator.house import House, Row
from lmroute.emulator.openai.chat_words import ChatWords
from lmroute.emulator.openai.requests import chat_request, completion_request
from lmroute.emulator.openai.text_words import TextWords
from lmroute.emulator.openai.v0 import NativeWords
from lmroute.emulator.requests import read_object
from lmroute.emulator.versions import NATIVE_V0

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from lmroute.emulator.answering import Words
    from lmroute.emulator.house import Answer
    from lmroute.emulator.machine.instances import Instance
    from lmroute.emulator.openai.requests import ChatRequest
    from lmroute.emulator.versions import Version

    Reader = Callable[[dict[str, Any], Version], ChatRequest]
    Worder = Callable[[ChatRequest, Instance, Version], Words]


def rows(house: House) -> list[Row]:
    """The four routes."""
    return [
        Row("POST", "/v1/chat/completions", _answer(house, chat_request, _chat_words)),
        Row("POST", "/v1/completions", _answer(house, completion_request, _text_words)),
        Row("POST", "/api/v0/chat/completions", _answer(house, chat_request, _native(_chat_words)), NATIVE_V0),
        Row("POST", "/api/v0/completions", _answer(house, completion_request, _native(_text_words)), NATIVE_V0),
    ]


def _answer(house: House, read: Reader, words: Worder) -> Answer:
    async def answer(request: Request) -> Answering:
        asked = read(await read_object(request), house.version)
        instance = await house.choose(request, asked.model, asked.ttl_s)
        worded = words(asked, instance, house.version)
        return Answering(house, instance, asked.prompt_for(instance), worded, stream=asked.stream)

    return answer


def _chat_words(asked: ChatRequest, instance: Instance, version: Version) -> Words:
    return ChatWords(instance, version, include_usage=asked.include_usage)


def _text_words(asked: ChatRequest, instance: Instance, _version: Version) -> Words:
    return TextWords(instance, include_usage=asked.include_usage)


def _native(words: Worder) -> Worder:
    return lambda asked, instance, version: NativeWords(words(asked, instance, version), instance)
