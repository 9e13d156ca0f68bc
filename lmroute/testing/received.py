"""The requests that a server got, for tests that ask what a program sent."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lmroute.emulator.control.journal import is_control

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class Received:
    """One request. ``headers`` have lower-case names; they are not shown, because they may hold a token."""

    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: when it is none.
        """
        return json.loads(self.body)


class Listener:
    """ASGI middleware that appends each request for LM Studio to ``received`` before it is answered."""

    def __init__(self, app: ASGIApp, received: list[Received]) -> None:
        self._app = app
        self._received = received

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note a request, and pass it on as it came."""
        if scope["type"] != "http" or is_control(scope["path"]):
            await self._app(scope, receive, send)
            return
        messages = [await receive()]
        while messages[-1].get("more_body"):
            messages.append(await receive())
        self._received.append(_received(scope, b"".join(message.get("body", b"") for message in messages)))

        async def again() -> Message:
            return messages.pop(0) if messages else await receive()

        await self._app(scope, again, send)


def _received(scope: Scope, body: bytes) -> Received:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    return Received(scope["method"], scope["path"], headers, body)
