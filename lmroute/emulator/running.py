"""An emulator on a socket: in a thread for tests, in the main thread for the command line."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lmroute.emulator.backends.scripted import ScriptedModel
from lmroute.emulator.catalog import EMBEDDED
from lmroute.emulator.control.remote import Remote
from lmroute.emulator.settings import Engine, Settings
from lmroute.emulator.transport.sockets import LOOPBACK, bound, url_of
from lmroute.errors import LmrouteError, MissingExtra

try:
    import uvicorn

    from lmroute.emulator.app import create_app
    from lmroute.emulator.transport.connection import Connection
except ModuleNotFoundError as missing:
    if str(missing.name).partition(".")[0] not in {"starlette", "uvicorn"}:
        raise
    raise MissingExtra("the emulator", "ui") from missing

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from types import FrameType

    from starlette.applications import Starlette

    from lmroute.emulator.backends import Backend
    from lmroute.providers.embedded import Fetch

_START_S = 30


class _Server(uvicorn.Server):
    """Hangs up when it is to stop: an endless answer takes that for a client that went away. Loads are cancelled.

    uvicorn by itself would wait for it, then cancel it and log that as a crash.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in self.server_state.connections:
            connection.transport.close()
        state = getattr(self.config.app, "state", None)
        if house := getattr(state, "house", None):  # a test may serve something else
            house.state.cancel_loads()
        await asyncio.sleep(0)  # idle ones are gone then; for those that are not, uvicorn waits tenths of a second
        await super().shutdown(sockets)


class Running(Remote):
    """An emulator that answers, and what a test may do to it while it runs. ``url`` has no ``/v1``."""


@contextmanager
def running(settings: Settings | None = None, port: int = 0) -> Iterator[Running]:
    """An emulator in a thread of this process, until the block ends.

    Args:
        settings: ``None`` means a scripted server with default models.
        port: 0 means any free one.

    Raises:
        LmrouteError: when the port is taken or the model cannot be made ready.
    """
    settings = settings or Settings()
    with (
        bound(LOOPBACK, port) as listener,
        opened(settings) as backend,
        in_thread(create_app(settings, backend), listener),
    ):
        yield Running(url_of(listener))


@contextmanager
def in_thread(app: Starlette, listener: socket.socket) -> Iterator[None]:
    """Serve ``app`` in a thread until the block ends. Answers that are under way are cut off then."""
    server = _server(app)
    thread = threading.Thread(target=server.run, args=([listener],), name="lmroute emulator", daemon=True)
    thread.start()
    try:
        _wait_for_start(server, thread)
        yield
    finally:
        server.should_exit = True
        thread.join()


def serve(
    settings: Settings,
    host: str = LOOPBACK,
    port: int = 1234,
    *,
    announce: Callable[[str], None],
    report: Callable[[Fetch], None] | None = None,
    access_log: bool = False,
) -> None:
    """Serve in the main thread until Ctrl-C or SIGTERM.

    Args:
        announce: gets the URL once the server can be called.
        report: told how far the fetch of the embedded model's weights is.
    """
    # Until the server runs, SIGTERM is to leave the way Ctrl-C does: through every `finally`.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with bound(host, port) as listener, opened(settings, report) as backend:
        server = _server(create_app(settings, backend), access_log=access_log)

        def stop(_signum: int, _frame: FrameType | None) -> None:
            server.should_exit = True

        # uvicorn has its own handlers while it runs and raises what it caught again afterwards; these make
        # the second time harmless, and catch what comes before uvicorn is ready.
        for number in uvicorn.server.HANDLED_SIGNALS:
            signal.signal(number, stop)
        announce(url_of(listener))
        server.run([listener])


@contextmanager
def opened(settings: Settings, report: Callable[[Fetch], None] | None = None) -> Iterator[Backend]:
    """What generates the text, ready to use."""
    if settings.engine is Engine.SCRIPTED:
        yield ScriptedModel(settings.script)
        return
    # Only now: the embedded model needs packages that the scripted one does not.
    from lmroute.emulator.backends.llamacpp import LlamaCpp  # noqa: PLC0415
    from lmroute.providers.embedded import EmbeddedServer  # noqa: PLC0415

    default = settings.load_config.context_length
    windows = [min(default or model.context_length, model.max_context_length) for model in settings.on_disk]
    windows += [loaded.config.context_length or 0 for loaded in settings.in_memory if loaded.config]
    window = max(windows, default=EMBEDDED[0].context_length)
    with EmbeddedServer.acquire(None, context_window=window, report=report) as server:
        yield LlamaCpp(server.base_url, server.api_key, server.model_id)


def _server(app: Starlette, *, access_log: bool = False) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="on",
        access_log=access_log,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    return _Server(config)


def _wait_for_start(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _START_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise LmrouteError("the emulator did not start; its own messages above say why")
        time.sleep(0.002)
