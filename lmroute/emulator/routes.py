"""The table of paths: every module of answers brings its own rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from lmroute.emulator import identity, model_lists
from lmroute.emulator.anthropic import messages
from lmroute.emulator.control import routes as control
from lmroute.emulator.native import chat as native_chat
from lmroute.emulator.native import downloads as native_downloads
from lmroute.emulator.native import loads
from lmroute.emulator.openai import chat, embeddings, responses

if TYPE_CHECKING:
    from lmroute.emulator.house import House

MODULES = (identity, model_lists, chat, embeddings, responses, messages, native_chat, loads, native_downloads, control)
"""Each has ``rows(house) -> list[Row]``."""


def routes(house: House) -> list[Route]:
    """The routes that the imitated release has."""
    rows = [row for module in MODULES for row in module.rows(house)]
    return [Route(row.path, row.answer, methods=[row.method]) for row in rows if house.version.has(row.since)]
