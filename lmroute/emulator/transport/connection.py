"""One client's TCP connection, which a fault may keep open for another time or break."""

from __future__ import annotations

import socket
import struct
import sys
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from lmroute.emulator.faults import faults_of

if TYPE_CHECKING:
    from starlette.types import Scope

KEEP_ALIVE_S = 5
"""Seconds after which LM Studio closes a connection that idles."""
_EXTENSION = "lmroute.connection"
_LINGER_NOT = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class Connection(H11Protocol):
    """uvicorn's connection, known to the application that answers on it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        answer = self.app

        async def app(scope: Any, receive: Any, send: Any) -> None:
            scope["extensions"] = {**scope.get("extensions", {}), _EXTENSION: self}
            await answer(scope, receive, send)

        self.app = app

    @property
    def closed(self) -> bool:
        """Whether nobody listens any more."""
        return self.transport.is_closing()

    def reset(self) -> None:
        """Break it off: the client sees a reset, not an end."""
        client = self.transport.get_extra_info("socket")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self.transport.abort()

    def on_response_complete(self) -> None:
        """Start counting idle seconds."""
        seconds = faults_of(self.scope).keep_alive_s or KEEP_ALIVE_S
        self.timeout_keep_alive = cast("int", seconds)  # a timer takes fractions, too
        super().on_response_complete()


def connection_of(scope: Scope) -> Connection:
    """The connection that a request came over."""
    return cast("Connection", scope["extensions"][_EXTENSION])
