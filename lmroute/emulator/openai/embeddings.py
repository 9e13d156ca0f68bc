"""``/v1/embeddings`` and its twin ``/api/v0/embeddings``, which adds nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmroute.emulator import failures, refusals
from lmroute.emulator.backends import GenerationError
from lmroute.emulator.catalog import Kind
from lmroute.emulator.faults import faults_of
from lmroute.emulator.house import House, Row
from lmroute.emulator.requests import model_of, read_object, ttl_s_of
from lmroute.emulator.transport.wire import json_response
from lmroute.emulator.versions import NATIVE_V0

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lmroute.emulator.machine.instances import Instance
    from lmroute.emulator.machine.state import State


def rows(house: House) -> list[Row]:
    """Both routes."""

    async def answer(request: Request) -> Response:
        body = await read_object(request)
        texts, name = _texts(body.get("input")), model_of(body)
        if name and _is_chat_model(name, house.state):
            raise refusals.not_embedding(name, house.version)
        instance = await house.choose(request, name, ttl_s_of(body), kind=Kind.EMBEDDING)
        try:
            return json_response(await _embedded(house, instance, texts))
        except GenerationError as error:
            raise failures.refused(error, house.version, faults_of(request.scope), streaming=False) from error

    return [Row("POST", "/v1/embeddings", answer), Row("POST", "/api/v0/embeddings", answer, NATIVE_V0)]


async def _embedded(house: House, instance: Instance, texts: list[str]) -> dict[str, Any]:
    """The body. As in LM Studio, usage is zero, and what does not fit the window is silently left out."""
    async with instance.slot():
        vectors = [await house.backend.embed(text, instance.context_length) for text in texts]
    return {
        "object": "list",
        "data": [{"object": "embedding", "embedding": vector, "index": index} for index, vector in enumerate(vectors)],
        "model": instance.id,
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
    }


def _texts(value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise refusals.text("'input' field must be a string or an array of strings")
    return texts


def _is_chat_model(name: str, state: State) -> bool:
    loaded = {instance.id: instance.model for instance in state.instances}
    named = [loaded[name]] if name in loaded else [model for model in state.models if model.answers_to(name)]
    return any(model.kind is Kind.LLM for model in named)
