"""What every answer of one emulator is made from, and the form in which a module brings its routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from starlette.requests import Request

from lmroute.emulator import refusals
from lmroute.emulator.catalog import Kind
from lmroute.emulator.control.journal import Journal
from lmroute.emulator.faults import faults_of
from lmroute.emulator.machine.generation import generate
from lmroute.emulator.machine.resolution import Unresolved
from lmroute.emulator.machine.state import LoadFailed
from lmroute.emulator.versions import ALWAYS, Release

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Scope

    from lmroute.emulator.backends import Backend, Event, Prompt
    from lmroute.emulator.machine.instances import Instance
    from lmroute.emulator.machine.state import State
    from lmroute.emulator.settings import Settings
    from lmroute.emulator.versions import Version

Answer: TypeAlias = Callable[[Request], Awaitable[Any]]
"""Answers a request with an ASGI response. May raise ``Refused``."""


@dataclass(frozen=True, slots=True)
class Row:
    """One route: what answers it, and since which release LM Studio has it."""

    method: str
    path: str
    answer: Answer
    since: Release = ALWAYS


@dataclass(frozen=True, slots=True)
class House:
    """One emulator: what it was told to be, what it has in memory, what generates its text, what was asked."""

    settings: Settings
    state: State
    backend: Backend
    journal: Journal = field(default_factory=Journal)

    @property
    def version(self) -> Version:
        """The release that is imitated."""
        return self.settings.version

    async def choose(
        self, request: Request, name: str | None, ttl_s: int | None = None, *, kind: Kind = Kind.LLM
    ) -> Instance:
        """The instance that answers an OpenAI-like request for ``name``; loads it first if need be.

        Raises:
            Refused: when no model answers it, or the one that would cannot be loaded.
        """
        try:
            chosen = await self.state.choose(name, ttl_s, kind=kind, faults=faults_of(request.scope))
        except LoadFailed as error:
            raise refusals.load_failed(name, self.version) from error
        if isinstance(chosen, Unresolved):
            raise refusals.unresolved(chosen, name, self.state.models, self.version)
        return chosen

    def generate(self, scope: Scope, instance: Instance, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """What the backend generates for the request of ``scope``: see ``lmroute.emulator.machine.generation``."""
        return generate(self.backend, instance, prompt, faults_of(scope))
