"""What was asked lately: method, path and status, never a body."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmroute import redact

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTROL_PATH = "/lmroute-emulator"
"""Where the emulator itself is controlled. LM Studio has no such path."""
KEPT = 50
_LONGEST_PATH = 200


def is_control(path: str) -> bool:
    """Whether a request for ``path`` is about the emulator and not for LM Studio."""
    return path == CONTROL_PATH or path.startswith(CONTROL_PATH + "/")


@dataclass(slots=True)
class Seen:
    """One request. ``status`` is ``None`` until the answer has begun."""

    method: str
    path: str
    status: int | None = None


class Journal(deque[Seen]):
    """The last requests, oldest first. ``total`` counts those too that are no longer here."""

    def __init__(self) -> None:
        super().__init__(maxlen=KEPT)
        self.total = 0

    def append(self, seen: Seen) -> None:
        """Add the newest one."""
        self.total += 1
        super().append(seen)

    def clear(self) -> None:
        """Forget them all."""
        self.total = 0
        super().clear()


class Recorder:
    """ASGI middleware that writes every request for LM Studio down."""

    def __init__(self, app: ASGIApp, journal: Journal) -> None:
        self._app = app
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and note what with."""
        if scope["type"] != "http" or is_control(scope["path"]):
            await self._app(scope, receive, send)
            return
        seen = Seen(scope["method"], redact.text(scope["path"])[:_LONGEST_PATH])
        self._journal.append(seen)

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
            await send(message)

        await self._app(scope, receive, noted)
