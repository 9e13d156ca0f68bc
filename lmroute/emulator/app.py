"""The ASGI application."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, Response

from lmroute.emulator import refusals
from lmroute.emulator.auth import Gate
from lmroute.emulator.control.journal import Recorder, is_control
from lmroute.emulator.control.routes import astray
from lmroute.emulator.house import House
from lmroute.emulator.machine.state import State
from lmroute.emulator.refusals import Refused
from lmroute.emulator.routes import routes
from lmroute.emulator.transport.faults import CRASH_PAGE, FaultyWire
from lmroute.emulator.transport.wire import json_response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from lmroute.emulator.backends import Backend
    from lmroute.emulator.machine.clock import Clock
    from lmroute.emulator.settings import Settings


def create_app(settings: Settings, backend: Backend, clock: Clock | None = None) -> Starlette:
    """The emulator as an ASGI application, which closes ``backend`` when it shuts down.

    Its ``state.house`` is the ``House`` that it serves.
    """
    house = House(settings, State(settings, clock), backend)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await backend.aclose()

    app = Starlette(
        routes=routes(house),
        middleware=[
            Middleware(Recorder, journal=house.journal),
            Middleware(FaultyWire, state=house.state),
            *([Middleware(Gate, tokens=settings.tokens)] if settings.require_auth else []),
        ],
        exception_handlers={
            404: _unexpected,
            405: _unexpected,
            Refused: _refused,
            ClientDisconnect: _gone,
            Exception: _crashed,
        },
        lifespan=lifespan,
    )
    app.state.house = house
    app.router.redirect_slashes = False  # LM Studio has no redirects
    return app


def _refused(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Refused):
        raise error
    return json_response(error.body, error.status)


def _unexpected(request: Request, error: Exception) -> Response:
    if is_control(request.scope["path"]):
        return astray(request, error)
    return _refused(request, refusals.unexpected_endpoint(request.method, request.scope["path"]))


def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # nobody hears it


def _crashed(_request: Request, _error: Exception) -> Response:
    return HTMLResponse(CRASH_PAGE, 500)
