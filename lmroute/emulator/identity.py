"""The greeting, by which clients know LM Studio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.emulator.auth import GREETING_PATH
from lmroute.emulator.house import House, Row
from lmroute.emulator.transport.wire import GREETING, raw_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def rows(_house: House) -> list[Row]:
    """The greeting."""
    return [Row("GET", GREETING_PATH, _greeting)]


async def _greeting(_request: Request) -> Response:
    return raw_json(GREETING)
