"""Models in memory, and the requests that use them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lmroute.emulator.backends import GenerationError
from lmroute.emulator.catalog import Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lmroute.emulator.catalog import Model
    from lmroute.emulator.machine.clock import Clock


class ModelUnloaded(GenerationError):
    """The instance was unloaded or evicted while it was answering (E8)."""

    def __init__(self) -> None:
        super().__init__("Model unloaded.")


class WindowExceeded(GenerationError):
    """The window was full before the answer was complete (E13)."""

    def __init__(self) -> None:
        super().__init__("Context size has been exceeded.")


@dataclass(frozen=True, slots=True)
class LoadConfig:
    """How a model is put into memory.

    Attributes:
        context_length: tokens of prompt and answer together; ``None`` means the model's own default.
        parallel: predictions at once; more wait, first come first served. ``None`` means the release's default.
        num_experts: experts a token; only models that have experts take it.
    """

    context_length: int | None = None
    parallel: int | None = None
    eval_batch_size: int = 512
    flash_attention: bool = True
    num_experts: int | None = None
    offload_kv_cache_to_gpu: bool = True


AS_USUAL = LoadConfig()


@dataclass(slots=True, eq=False)
class Instance:
    """A model in memory.

    Attributes:
        context_length: its window in tokens, which prompt and answer share.
        parallel: predictions at once; more wait, first come first served.
        load_seconds: what loading it took.
        jit: whether a request loaded it, so that the next one that loads may evict it.
        ttl_s: idle seconds after which it is unloaded; ``None`` means never.
        busy: requests that use it or wait for it.
        generating: requests that have got their first token.
        last_used: when the last of them ended.
    """

    id: str
    model: Model
    config: LoadConfig
    context_length: int
    parallel: int
    clock: Clock
    load_seconds: float = 0.0
    jit: bool = False
    ttl_s: int | None = None
    busy: int = 0
    generating: int = 0
    last_used: float = field(init=False)
    _slots: asyncio.Semaphore = field(init=False, repr=False)
    _users: set[asyncio.Future[None]] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        self.last_used = self.clock()
        self._slots = asyncio.Semaphore(self.parallel)

    @property
    def status(self) -> str:
        """What ``lms ps`` says it is doing."""
        if not self.busy:
            return "idle"
        if self.model.kind is Kind.EMBEDDING:
            return "computingEmbedding"
        return "generating" if self.generating else "processingPrompt"

    def remaining_s(self) -> float | None:
        """Seconds of idling that are left; ``None`` when it may idle for ever."""
        if self.ttl_s is None:
            return None
        return self.ttl_s if self.busy else self.ttl_s - (self.clock() - self.last_used)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a free prediction slot and hold it."""
        self.busy += 1
        try:
            async with self._slots:
                yield
        finally:
            self.busy -= 1
            self.last_used = self.clock()

    @asynccontextmanager
    async def fate(self) -> AsyncIterator[asyncio.Future[None]]:
        """A future that fails when this instance gives up what it is doing: see ``abort``."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._users.add(future)
        try:
            yield future
        finally:
            self._users.discard(future)
            if not future.cancel():
                future.exception()  # seen, even if the request had just ended by itself

    def abort(self, error: GenerationError) -> None:
        """Let every request that uses or awaits this instance fail with ``error``."""
        for future in self._users:
            if not future.done():
                future.set_exception(error)
