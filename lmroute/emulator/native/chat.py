"""``/api/v1/chat``: LM Studio's own chat, with named events, stored responses, and plugins that the server runs."""

from __future__ import annotations

import secrets
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from lmroute.emulator.answering import while_connected
from lmroute.emulator.backends import ContextOverflow, GenerationError
from lmroute.emulator.catalog import Model
from lmroute.emulator.failures import message as failure_message
from lmroute.emulator.faults import faults_of
from lmroute.emulator.house import House, Row
from lmroute.emulator.machine.instances import Instance
from lmroute.emulator.machine.resolution import resolve
from lmroute.emulator.machine.state import LoadFailed
from lmroute.emulator.native import bodies as native
from lmroute.emulator.native.loads import load_failed
from lmroute.emulator.native.requests import NativeRequest, native_request
from lmroute.emulator.native.turn import Conversation, Turn
from lmroute.emulator.refusals import Refused
from lmroute.emulator.requests import read_object
from lmroute.emulator.transport.wire import EventStream, json_response
from lmroute.emulator.versions import NATIVE_V1

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from lmroute.emulator.settings import Plugin


def rows(house: House) -> list[Row]:
    """``/api/v1/chat``."""

    async def answer(request: Request) -> NativeChat:
        asked = native_request(await read_object(request))
        chosen = _find(house, asked.model)
        model = chosen.model if isinstance(chosen, Instance) else chosen
        _check_reasoning(asked, model)
        turn = Turn(house, chosen, asked, Conversation(_before(house, asked), _allowed(house, asked)))
        return NativeChat(house, asked, turn)

    return [Row("POST", "/api/v1/chat", answer, NATIVE_V1)]


class NativeChat:
    """An ASGI response that generates while it is sent, and stops generating when its client is gone."""

    def __init__(self, house: House, asked: NativeRequest, turn: Turn) -> None:
        self._house = house
        self._asked = asked
        self._turn = turn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer.

        Raises:
            Refused: when a request without ``stream`` failed.
        """
        await while_connected(self._answer(scope, receive, send), receive)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        stream = EventStream(send, self._house.settings.split) if self._asked.stream else None
        try:
            async with aclosing(self._turn.events(scope)) as events:
                async for kind, fields in events:
                    if stream:
                        await stream.event({"type": kind, **fields}, kind)
        except (GenerationError, LoadFailed) as error:
            refused = self._refused(error, scope)
            if not stream:
                raise refused from error
            await stream.event({"type": "error", **refused.body}, "error")  # and the end comes all the same
        result = self._result()
        if stream:
            await stream.event({"type": "chat.end", "result": result}, "chat.end")
            await stream.end()
        else:
            await json_response(result)(scope, receive, send)

    def _result(self) -> dict[str, Any]:
        body = self._turn.result()
        if self._asked.store:
            body["response_id"] = f"resp_{secrets.token_hex(24)}"
            self._house.state.conversations[body["response_id"]] = self._turn.messages
        return body

    def _refused(self, error: GenerationError | LoadFailed, scope: Scope) -> Refused:
        if isinstance(error, LoadFailed):
            return load_failed(self._turn.model, error)
        message = failure_message(error, self._house.version, faults_of(scope), streaming=self._asked.stream)
        if isinstance(error, ContextOverflow):
            return native.invalid(message, "invalid_value", "input")
        return Refused(500, {"error": {"message": message, "type": "internal_error", "code": None}})


def _find(house: House, name: str) -> Instance | Model:
    """Who answers; unlike the OpenAI-like routes, never a model of another name.

    Raises:
        Refused: with status 404.
    """
    chosen = resolve(name, house.state.models, house.state.instances, jit=house.settings.jit)
    if isinstance(chosen, Model):
        return chosen
    if isinstance(chosen, Instance) and (chosen.id == name or chosen.model.answers_to(name)):
        return chosen
    raise native.unknown_model(name)


def _check_reasoning(asked: NativeRequest, model: Model) -> None:
    allowed = model.reasoning.allowed if model.reasoning else ()
    if asked.reasoning is None or asked.reasoning in allowed:
        return
    message = f"Reasoning setting '{asked.reasoning}' is not supported by model '{model.key}'."
    if allowed:
        message += f" Supported settings: {', '.join(map(repr, allowed))}."
    raise native.invalid(message, "invalid_value", "reasoning")


def _before(house: House, asked: NativeRequest) -> tuple[dict[str, Any], ...]:
    """What was said before. LM Studio's words for a response that is not stored are unknown."""
    if asked.previous is None:
        return ()
    if asked.previous not in house.state.conversations:
        message = f"No stored response with the id '{asked.previous}' is known."
        raise native.invalid(message, "invalid_value", "previous_response_id")
    return house.state.conversations[asked.previous]


def _allowed(house: House, asked: NativeRequest) -> tuple[Plugin, ...]:
    plugins = {plugin.id: plugin for plugin in house.settings.plugins}
    for name in asked.plugins:
        if name not in plugins:
            raise native.forbidden(name)
    return tuple(plugins[name] for name in asked.plugins)
