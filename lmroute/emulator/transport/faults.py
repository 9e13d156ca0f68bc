"""Faults of the transport: silence, slowness, breaks, and bodies that are not what they say."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse

from lmroute.emulator.control.journal import is_control
from lmroute.emulator.faults import give
from lmroute.emulator.transport.connection import KEEP_ALIVE_S, connection_of
from lmroute.emulator.transport.wire import pieces

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from lmroute.emulator.faults import Faults
    from lmroute.emulator.machine.state import State
    from lmroute.emulator.transport.connection import Connection

CRASH_PAGE = '<!DOCTYPE html>\n<html lang="en"><body>\n<pre>Internal Server Error</pre>\n</body></html>\n'
_DRIPS_PER_S = 20


class FaultyWire:
    """ASGI middleware that tells each request its faults, and does those of the transport itself."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, badly if so told."""
        if scope["type"] != "http" or is_control(scope["path"]):
            await self._app(scope, receive, send)
            return
        faults = self._state.take_faults(scope["path"])
        give(scope, faults)
        if faults.hang:
            await _hang(receive)
            return
        app = HTMLResponse(CRASH_PAGE, 500) if faults.html_500 else self._app
        await app(scope, receive, _faulty(scope, send, faults))


async def _hang(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _faulty(scope: Scope, send: Send, faults: Faults) -> Send:
    """``send`` with the faults on it, the one nearest to the wire innermost."""
    send = _keeping_alive(scope, send, faults.keep_alive_s or KEEP_ALIVE_S)
    if faults.drip is not None:
        send = _dripping(send, faults.drip, connection_of(scope))
    if faults.reset_after_bytes is not None:
        send = _resetting(send, faults.reset_after_bytes, connection_of(scope))
    return _truncating(send) if faults.truncated_json else send


def _keeping_alive(scope: Scope, send: Send, seconds: float) -> Send:
    """Say for how long the connection may idle, unless the client is to close it."""
    closes = (b"connection", b"close") in scope["headers"] or scope["http_version"] != "1.1"
    said = [] if closes else [(b"connection", b"keep-alive"), (b"keep-alive", f"timeout={seconds:g}".encode())]

    async def saying(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *said]}
        await send(message)

    return saying


def _dripping(send: Send, bytes_per_s: int, connection: Connection) -> Send:
    async def dripping(message: Message) -> None:
        for piece in pieces(message.get("body", b""), max(1, bytes_per_s // _DRIPS_PER_S)):
            if connection.closed:
                return
            await asyncio.sleep(len(piece) / bytes_per_s)  # a slow wire is slow by the machine's clock, too
            await send({**message, "body": piece, "more_body": True})
        await send({**message, "body": b""} if "body" in message else message)

    return dripping


def _resetting(send: Send, left: int, connection: Connection) -> Send:
    broken = False

    async def resetting(message: Message) -> None:
        nonlocal left, broken
        body = message.get("body", b"")
        if broken:
            return
        if message["type"] == "http.response.body" and len(body) >= left:
            broken = True
            await send({**message, "body": body[:left], "more_body": True})
            connection.reset()
            return
        left -= len(body)
        await send(message)

    return resetting


def _truncating(send: Send) -> Send:
    """End the body in the middle of its first part; all headers still agree with what is sent."""
    start: Message | None = None
    done = False

    async def truncating(message: Message) -> None:
        nonlocal start, done
        if message["type"] == "http.response.start":
            start = message
        elif start is not None and not done:
            done = True
            body = message["body"][: len(message["body"]) // 2]
            headers = [pair for pair in start["headers"] if pair[0] != b"content-length"]
            await send({**start, "headers": headers})
            await send({**message, "body": body, "more_body": False})

    return truncating
