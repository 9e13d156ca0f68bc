"""Which models are loaded, and what becomes of them over time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lmroute.emulator.catalog import Kind, Model
from lmroute.emulator.faults import NONE
from lmroute.emulator.machine.clock import ManualClock, RealClock
from lmroute.emulator.machine.downloads import Downloads
from lmroute.emulator.machine.instances import AS_USUAL, Instance, LoadConfig, ModelUnloaded
from lmroute.emulator.machine.resolution import Unresolved, resolve
from lmroute.emulator.versions import PARALLEL

if TYPE_CHECKING:
    from lmroute.emulator.faults import Faults
    from lmroute.emulator.machine.clock import Clock
    from lmroute.emulator.settings import Settings

_GUARDRAIL = (
    "Model loading was stopped due to insufficient system resources. Continuing to load the model would likely "
    "overload your system and cause it to freeze. If you think this is incorrect, you can adjust the model "
    "loading guardrails in settings."
)


class LoadFailed(Exception):
    """A model could not be loaded; the message says why, in LM Studio's words."""


@dataclass(frozen=True, slots=True)
class Load:
    """How, under which name and for how long a model is to be loaded.

    Attributes:
        identifier: what the instance is called; its model's key when empty. A number is added to a name that is taken.
        ttl_s: idle seconds after which it is unloaded; ``None`` means never.
        jit: whether a request loads it.
    """

    config: LoadConfig = AS_USUAL
    identifier: str = ""
    ttl_s: int | None = None
    jit: bool = False


class State:
    """The downloaded models and the loaded instances. Used from one event loop only.

    Attributes:
        models: what is on disk. Downloads add to it.
        downloads: what is on its way there.
        conversations: the messages that led to each stored response, by its id.
        faults: what goes wrong from now on; replace it to change that.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.clock = clock or (ManualClock() if settings.clock == "manual" else RealClock())
        self.models: list[Model] = []
        self.downloads = Downloads(self.clock, self.models, settings.download_bytes_per_s)
        self.faults = settings.faults
        self.conversations: dict[str, tuple[dict[str, Any], ...]] = {}
        self._settings = settings
        self._loading: dict[str, asyncio.Task[Instance]] = {}
        self._instances: list[Instance] = []
        self.reset()

    def reset(self) -> None:
        """Be as at the start. What is being answered ends as if its model were unloaded; time goes on."""
        self._drop(self._instances, kill=True)
        self.cancel_loads()
        self.downloads.stop()
        self.conversations.clear()
        self.models[:] = self._settings.on_disk
        self.faults = self._settings.faults
        by_key = {model.key.lower(): model for model in self.models}
        self._instances = [
            self._instance(loaded.id, by_key[loaded.key.lower()], Load(loaded.config or AS_USUAL))
            for loaded in self._settings.in_memory
        ]

    def cancel_loads(self) -> None:
        """End the loads that are under way; those who wait for them get ``LoadFailed``."""
        for task in self._loading.values():
            task.cancel()
        self._loading = {}

    @property
    def lists_downloaded(self) -> bool:
        """Whether a model that is not loaded can be asked for, and so is listed for OpenAI clients."""
        return self._settings.jit

    @property
    def instances(self) -> tuple[Instance, ...]:
        """What is in memory now, in the order of loading."""
        self._instances = [i for i in self._instances if (left := i.remaining_s()) is None or left > 0]
        return tuple(self._instances)

    @property
    def loading(self) -> tuple[str, ...]:
        """The ids of the instances that are being loaded."""
        return tuple(self._loading)

    def of(self, model: Model) -> tuple[Instance, ...]:
        """The instances of one model."""
        return tuple(instance for instance in self.instances if instance.model is model)

    def take_faults(self, path: str) -> Faults:
        """The faults that a request for ``path`` meets, which then count as met once more."""
        met = self.faults
        if not met.meets(path):
            return NONE
        if met.times is not None:
            self.faults = replace(met, times=met.times - 1) if met.times > 1 else NONE
        return met

    async def choose(
        self, name: str | None, ttl_s: int | None = None, *, kind: Kind = Kind.LLM, faults: Faults = NONE
    ) -> Instance | Unresolved:
        """The instance that answers a request for ``name``, loaded now if need be.

        Raises:
            LoadFailed: when it would have to be loaded and cannot be.
        """
        chosen = resolve(name, self.models, self.instances, jit=self._settings.jit, kind=kind)
        if isinstance(chosen, Model):
            return await self.start_for_request(chosen, faults, ttl_s)
        return chosen

    def start_for_request(
        self, model: Model, faults: Faults, ttl_s: int | None = None, config: LoadConfig = AS_USUAL
    ) -> asyncio.Future[Instance]:
        """Load ``model`` because a request asks for it; requests that come meanwhile share the load.

        Awaiting it raises ``LoadFailed`` when it cannot be loaded; giving up waiting does not stop the load.
        """
        how = Load(config, ttl_s=ttl_s or self._settings.ttl_s, jit=True)
        waiting = asyncio.shield(self._loading.get(model.key) or self._start(model.key, model, how, faults))
        waiting.add_done_callback(_see)
        return waiting

    async def load(self, model: Model, how: Load, faults: Faults) -> Instance:
        """One more instance of ``model``, as a person loads it; no request evicts it.

        Raises:
            LoadFailed: when it cannot be loaded.
        """
        return await asyncio.shield(self._start(self._free_id(how.identifier or model.key), model, how, faults))

    def unload(self, instance_id: str) -> bool:
        """Unload one instance and end what it is answering; ``False`` when there is none of that id."""
        gone = [instance for instance in self.instances if instance.id == instance_id]
        self._drop(gone, kill=True)
        return bool(gone)

    def _start(self, name: str, model: Model, how: Load, faults: Faults) -> asyncio.Task[Instance]:
        # A task of its own: the load goes on when the client that asked for it goes away.
        task = asyncio.get_running_loop().create_task(self._load(name, model, how, faults))
        self._loading[name] = task
        task.add_done_callback(lambda done: self._loading.get(name) is done and self._loading.pop(name))
        task.add_done_callback(_see)
        return task

    async def _load(self, name: str, model: Model, how: Load, faults: Faults) -> Instance:
        if how.jit:
            self._evict()
        seconds = self._settings.load_seconds
        try:
            await self.clock.sleep(seconds)
        except asyncio.CancelledError:
            raise LoadFailed("Operation canceled.") from None
        used = sum(instance.model.size_bytes for instance in self.instances)
        limit = self._settings.memory_bytes
        if faults.load_failure or (limit is not None and used + model.size_bytes > limit):
            raise LoadFailed(_GUARDRAIL)
        if how.jit:
            self._evict()  # another one may have been loaded meanwhile
        instance = self._instance(name, model, how)
        instance.load_seconds = seconds
        self._instances.append(instance)
        return instance

    def _evict(self) -> None:
        # LM Studio keeps at most one model that a request loaded, and never evicts one that a person loaded.
        if self._settings.keep_last_jit:
            old = [instance for instance in self._instances if instance.jit]
            self._drop(old, kill=self._settings.evict_kills)

    def _drop(self, gone: list[Instance], *, kill: bool) -> None:
        self._instances = [instance for instance in self._instances if instance not in gone]
        for instance in gone if kill else ():
            instance.abort(ModelUnloaded())

    def _free_id(self, key: str) -> str:
        taken = {instance.id for instance in self.instances} | self._loading.keys()
        name, number = key, 1
        while name in taken:
            number += 1
            name = f"{key}:{number}"
        return name

    def _instance(self, name: str, model: Model, how: Load) -> Instance:
        config, default = how.config, self._settings.load_config
        window = config.context_length or default.context_length or model.context_length
        parallel = config.parallel or default.parallel or (4 if self._settings.version.has(PARALLEL) else 1)
        window = min(window, model.max_context_length)
        return Instance(name, model, config, window, parallel, self.clock, jit=how.jit, ttl_s=how.ttl_s)


def _see(done: asyncio.Future[Instance]) -> None:
    # Whoever waited for the model may have gone away; asyncio complains of errors that nobody looks at.
    if not done.cancelled():
        done.exception()
