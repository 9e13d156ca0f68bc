"""The holder's end of a lifeline: the connection that keeps a server alive."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from lmroute.providers.embedded.serve import GREETING, HANDSHAKE_S

if TYPE_CHECKING:
    from lmroute.providers.embedded.lease import Lease

_GOODBYE_S = 2.0


class Lifeline:
    """An open lifeline. The server lives as long as this or another one does."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._owner = os.getpid()

    def is_alive(self) -> bool:
        """Whether the server is still at the other end."""
        try:
            self._connection.settimeout(0)
            return self._connection.recv(1) != b""
        except BlockingIOError:  # nothing to read is what a quiet, living server looks like
            return True
        except OSError:
            return False

    def release(self) -> bool:
        """Let go. True when this was the last lifeline and the server has ended."""
        with self._connection:
            if os.getpid() != self._owner:  # a forked copy must not hang up its parent's line
                return False
            try:
                self._connection.settimeout(_GOODBYE_S)
                self._connection.shutdown(socket.SHUT_WR)
                return self._connection.recv(16) == b""
            except TimeoutError:
                return False
            except OSError:
                return True


def take_hold(lease: Lease) -> Lifeline | None:
    """Hold the server of a lease; ``None`` when it is gone, or its port is somebody else's by now."""
    try:
        connection = socket.create_connection(("127.0.0.1", lease.port), timeout=HANDSHAKE_S)
    except OSError:
        return None
    try:
        connection.sendall(f"{lease.api_key.reveal()}\n".encode())
        with connection.makefile("rb") as lines:
            if lines.readline(len(GREETING)) == GREETING:
                return Lifeline(connection)
    except OSError:
        pass  # it hung up on us: as good as gone
    connection.close()
    return None
