"""Which models are loaded, and what becomes of them over time."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lmroute.emulator.catalog import Model
from lmroute.emulator.resolution import Unresolved, resolve
from lmroute.emulator.versions import PARALLEL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from lmroute.emulator.settings import Settings

DEFAULT_TTL_S = 3600
"""How long a model that a request loaded may idle."""


@dataclass(slots=True, eq=False)
class Instance:
    """A model in memory.

    Attributes:
        parallel: predictions at once; more wait, first come first served.
        ttl_s: idle seconds after which it is unloaded. Only a model that a request loaded has any.
        busy: requests that use it or wait for it.
        last_used: when the last of them ended, on the state's clock.
    """

    id: str
    model: Model
    parallel: int
    last_used: float
    ttl_s: int | None = None
    busy: int = 0
    slots: asyncio.Semaphore = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.slots = asyncio.Semaphore(self.parallel)

    def remaining_s(self, now: float) -> float | None:
        """Seconds of idling that are left at ``now``; ``None`` when it may idle for ever."""
        if self.ttl_s is None:
            return None
        return self.ttl_s if self.busy else self.ttl_s - (now - self.last_used)


class State:
    """The downloaded models and the loaded instances. Used from one event loop only."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.models = settings.on_disk
        self.clock = clock
        self._jit = settings.jit
        self._parallel = 4 if settings.version.has(PARALLEL) else 1
        by_key = {model.key.lower(): model for model in self.models}
        self._instances = [self._load(loaded.id, by_key[loaded.key.lower()]) for loaded in settings.in_memory]

    @property
    def lists_downloaded(self) -> bool:
        """Whether a model that is not loaded can be asked for, and so is listed for OpenAI clients."""
        return self._jit

    @property
    def instances(self) -> tuple[Instance, ...]:
        """What is in memory now, in the order of loading."""
        now = self.clock()
        self._instances = [i for i in self._instances if (left := i.remaining_s(now)) is None or left > 0]
        return tuple(self._instances)

    def of(self, model: Model) -> tuple[Instance, ...]:
        """The instances of one model."""
        return tuple(instance for instance in self.instances if instance.model is model)

    def choose(self, name: str | None, ttl_s: int | None) -> Instance | Unresolved:
        """The instance that answers a request for ``name``, loaded now if need be."""
        chosen = resolve(name, self.models, self.instances, jit=self._jit)
        return self._load_for_request(chosen, ttl_s or DEFAULT_TTL_S) if isinstance(chosen, Model) else chosen

    @asynccontextmanager
    async def using(self, instance: Instance) -> AsyncIterator[None]:
        """Wait for a free prediction slot of ``instance`` and hold it."""
        instance.busy += 1
        try:
            async with instance.slots:
                yield
        finally:
            instance.busy -= 1
            instance.last_used = self.clock()

    def _load(self, identifier: str, model: Model, ttl_s: int | None = None) -> Instance:
        return Instance(identifier, model, self._parallel, self.clock(), ttl_s)

    def _load_for_request(self, model: Model, ttl_s: int) -> Instance:
        # LM Studio keeps at most one model that a request loaded, and never evicts one that a person loaded.
        instance = self._load(model.key, model, ttl_s)
        self._instances = [*(i for i in self._instances if i.ttl_s is None), instance]
        return instance
