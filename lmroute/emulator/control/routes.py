"""The emulator's own endpoint under ``/lmroute-emulator``: what it is doing, and what it is to do.

LM Studio has no such path. It asks for no token; it answers only requests that name this machine as their host
and do not come from another site's page.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from lmroute.emulator import refusals
from lmroute.emulator.control.journal import CONTROL_PATH, is_control
from lmroute.emulator.control.page import page
from lmroute.emulator.control.snapshot import snapshot
from lmroute.emulator.faults import read_faults
from lmroute.emulator.house import House, Row
from lmroute.emulator.machine.clock import LONGEST_S, ManualClock
from lmroute.emulator.machine.instances import LoadConfig
from lmroute.emulator.machine.state import Load, LoadFailed
from lmroute.emulator.native import bodies as native
from lmroute.emulator.native import downloads as native_downloads
from lmroute.emulator.native import loads
from lmroute.emulator.native.bodies import Field
from lmroute.emulator.requests import json_object
from lmroute.emulator.transport.wire import json_response
from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    Action: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

_LOAD = {
    "model": Field(("string",), required=True),
    "identifier": Field(("string",)),
    "context_length": Field(("integer",), least=1),
    "parallel": Field(("integer",), least=1),
    "ttl_s": Field(("integer",), least=1, most=LONGEST_S),
}
_UNLOAD = {"instance_id": Field(("string",), required=True)}
_DOWNLOAD = {"model": Field(("string",), required=True)}
_CLOCK = {"advance_s": Field(("integer", "number"), required=True, least=0, most=LONGEST_S)}
_MOST_BYTES = 1_000_000
"""The longest body that a switch reads."""
_NO_MANUAL_CLOCK = (
    "this emulator goes by the machine's clock; start it with --manual-clock, or Settings(clock='manual'), "
    "to advance it"
)


def rows(house: House) -> list[Row]:
    """The page, the state as JSON, and the switches."""
    actions = _Actions(house)

    async def shown(request: Request) -> Response:
        _guard(request)
        return HTMLResponse(page(snapshot(house)))

    async def state(request: Request) -> Response:
        _guard(request)
        return json_response(snapshot(house))

    def switch(action: Action) -> Callable[[Request], Awaitable[Response]]:
        async def switched(request: Request) -> Response:
            _guard(request)
            try:
                body = await _read(request)
                await action(json_object(body) if body else {})
            except LmrouteError as error:
                raise refusals.text(str(error)) from error
            return json_response(snapshot(house))

        return switched

    return [
        Row("GET", CONTROL_PATH, shown),
        Row("GET", f"{CONTROL_PATH}/state", state),
        Row("PUT", f"{CONTROL_PATH}/faults", switch(actions.faults)),
        Row("POST", f"{CONTROL_PATH}/clock", switch(actions.clock)),
        Row("POST", f"{CONTROL_PATH}/reset", switch(actions.reset)),
        Row("POST", f"{CONTROL_PATH}/load", switch(actions.load)),
        Row("POST", f"{CONTROL_PATH}/unload", switch(actions.unload)),
        Row("POST", f"{CONTROL_PATH}/download", switch(actions.download)),
    ]


def astray(request: Request, error: Exception) -> Response:
    """The answer to a request below ``/lmroute-emulator`` that no row answers: 405 with ``Allow``, or 404.

    LM Studio's way, an error with status 200, is for LM Studio's paths only.
    """
    path = request.scope["path"]
    if isinstance(error, HTTPException) and error.headers:  # only a 405 has some
        methods = ", ".join(sorted(error.headers["Allow"].split(", ")))
        answer = json_response({"error": f"{path} takes {methods}, not {request.method}"}, 405)
        answer.headers["Allow"] = methods
        return answer
    known = ", ".join(route.path for route in request.app.routes if is_control(route.path))
    return json_response({"error": f"the control endpoint has no {path}; there are {known}"}, 404)


class _Actions:
    """What the switches do, each with the body of its request."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._state = house.state

    async def faults(self, body: dict[str, Any]) -> None:
        self._state.faults = read_faults(body)

    async def clock(self, body: dict[str, Any]) -> None:
        seconds = native.check(body, _CLOCK)["advance_s"]
        if not isinstance(self._state.clock, ManualClock):
            raise LmrouteError(_NO_MANUAL_CLOCK)
        await self._state.clock.advance(seconds)

    async def reset(self, body: dict[str, Any]) -> None:
        native.check(body, {})
        self._state.reset()
        self._house.journal.clear()

    async def load(self, body: dict[str, Any]) -> None:
        """As ``lms load``, which can say more than ``/api/v1/models/load``."""
        asked = native.check(body, _LOAD)
        if not asked.get("identifier", "any").strip():
            raise LmrouteError("'identifier' is empty; give a name, or leave it out for the model's key")
        model = loads.find(self._house, asked["model"])
        config = LoadConfig(asked.get("context_length"), asked.get("parallel"))
        how = Load(config, asked.get("identifier", ""), asked.get("ttl_s"))
        try:
            await self._state.load(model, how, self._state.faults)
        except LoadFailed as error:
            raise loads.load_failed(model, error) from error

    async def unload(self, body: dict[str, Any]) -> None:
        """As ``lms unload``."""
        instance_id = native.check(body, _UNLOAD)["instance_id"]
        if not self._state.unload(instance_id):
            raise native.not_found(f"No model instance with the id '{instance_id}' is loaded.")

    async def download(self, body: dict[str, Any]) -> None:
        """As ``lms get``, which the releases without ``/api/v1`` had too."""
        model = native_downloads.asked_for(self._house, native.check(body, _DOWNLOAD)["model"], None)
        if model not in self._state.models:
            self._state.downloads.start(model, self._state.faults)


async def _read(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise refusals.text(f"the body is longer than {_MOST_BYTES} bytes; no switch needs as much", 413)
    return body


def _guard(request: Request) -> None:
    """Keep pages of other sites out, also those whose name was made to point here.

    Raises:
        Refused: with status 403.
    """
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if not _is_loopback(host):
        raise refusals.text(f"the control endpoint serves this machine only; call it as 127.0.0.1, not '{host}'", 403)
    if origin is not None and not _is_same_server(origin, host):
        raise refusals.text("the control endpoint takes no requests from pages of other sites", 403)


def _is_same_server(origin: str, host: str) -> bool:
    """Whether a page of ``origin`` is the emulator's own: this machine has several names, each with the same port."""
    scheme, _, netloc = origin.partition("://")
    return scheme == "http" and _is_loopback(netloc) and _port(netloc) == _port(host)


def _port(host: str) -> int | None:
    try:
        return urlsplit(f"//{host}").port or 80
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
