"""Real servers for the experiments: the emulator, with something in front that notes, delays and refuses."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from lmroute import validate
from lmroute.emulator.app import create_app
from lmroute.emulator.backends.script import Line
from lmroute.emulator.backends.scripted import ScriptedModel
from lmroute.emulator.running import in_thread
from lmroute.emulator.settings import Settings
from lmroute.emulator.transport.sockets import bound, url_of
from lmroute.engine.adapters import adapter_for
from lmroute.engine.resolver import build
from lmroute.experiments import runner
from lmroute.experiments.data import Row
from lmroute.experiments.outcomes import Outcome
from lmroute.experiments.tasks import TASKS

CHAT = "/v1/chat/completions"


@dataclass
class Server:
    """An emulator with a doorkeeper: ``before(question)`` may wait, and may return a status to refuse with."""

    script: tuple[Line, ...] = ()
    before: Callable[[str], Awaitable[int | None]] | None = None
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def app(self):
        settings = Settings(script=self.script)
        emulator = create_app(settings, ScriptedModel(self.script))

        async def app(scope, receive, send):
            if scope["type"] != "http" or scope["path"] != CHAT:
                return await emulator(scope, receive, send)
            body = b""
            while True:
                message = await receive()
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
            question = json.loads(body)["messages"][-1]["content"]
            self.asked.append(question)
            status = await self.before(question) if self.before else None
            if status is not None:
                await send({"type": "http.response.start", "status": status, "headers": []})
                return await send({"type": "http.response.body", "body": b'{"error": "not today"}'})
            bodies = iter([{"type": "http.request", "body": body}])

            async def again():
                # After the body: the client's silence, until the answer is through.
                return next(bodies, None) or await asyncio.Event().wait()

            return await emulator(scope, again, send)

        return app


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers; they end with the test."""
    with ExitStack() as stack:

        def start(script: Sequence[Line] = (), before=None) -> Server:
            listener = stack.enter_context(bound("127.0.0.1", 0))
            server = Server(tuple(script), before, url_of(listener))
            stack.enter_context(in_thread(server.app(), listener))
            return server

        yield start


@pytest.fixture
def ask() -> Iterator[Callable[..., list[Outcome]]]:
    """Runs a task over rows with the providers that the overrides describe."""
    engines = []

    def run(overrides: Sequence[str], rows: Sequence[Row]) -> list[Outcome]:
        stack = validate.load(overrides)
        lm = build(stack, cache=False, temperature=0.0, max_tokens=stack.task.max_tokens)
        engines.append(lm.engine)
        return list(runner.run(TASKS[stack.task.name], stack.task, rows, lm, adapter_for(stack)))

    yield run
    for engine in engines:
        engine.close()
