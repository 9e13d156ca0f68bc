"""What one emulator is told to be."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from lmroute.emulator import catalog
from lmroute.emulator.catalog import Kind, Model
from lmroute.emulator.faults import Faults
from lmroute.emulator.machine.clock import LONGEST_S
from lmroute.emulator.machine.instances import LoadConfig
from lmroute.emulator.versions import API_TOKENS, NEWEST, Version
from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from lmroute.emulator.backends.script import Line
    from lmroute.model import Secret

TOKEN_SHAPE = re.compile(r"sk-lm-[A-Za-z0-9]{8}:[A-Za-z0-9]{20}")


class Engine(StrEnum):
    """What generates the text."""

    SCRIPTED = "scripted"
    EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class Token:
    """An API token that the server knows. ``read_only`` ones may list models and nothing else."""

    secret: Secret
    read_only: bool = False

    def __post_init__(self) -> None:
        if not TOKEN_SHAPE.fullmatch(self.secret.reveal()):
            raise LmrouteError(
                "no LM Studio API token; one is sk-lm-, 8 letters or digits, a colon, 20 letters or digits"
            )


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is in memory from the start, under its key or an identifier of its own.

    Attributes:
        config: how it is loaded; ``None`` means as every other model.
    """

    key: str
    identifier: str = ""
    config: LoadConfig | None = None

    @property
    def id(self) -> str:
        """What the instance is called, case-sensitive."""
        return self.identifier or self.key


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin that ``/api/v1/chat`` may use, such as ``mcp/almanac``.

    Attributes:
        tools: its tools by name, each with the text that it always returns.
    """

    id: str
    tools: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """How one emulator behaves.

    Attributes:
        engine: what generates the text.
        version: the release of LM Studio to imitate.
        models: what is on disk; ``None`` means what suits the engine.
        loaded: what is in memory from the start; ``None`` means the first chat model.
        jit: whether asking for a model that is only on disk loads it.
        require_auth: whether a request needs one of ``tokens``.
        split: send streams in pieces of so many bytes, whatever they cut; ``None`` sends whole events.
        script: what the scripted engine answers, first match first.
        clock: whether loads, TTLs and downloads go by the machine's time or stand still until they are told.
        load_config: how models are loaded when nothing else is said.
        load_seconds: what it takes to load a model.
        ttl_s: how long a model that a request loaded may idle when the request does not say.
        keep_last_jit: whether a model that a request loads evicts the one that a request loaded before.
        evict_kills: whether what an evicted model is answering ends with an error; else it may finish.
        memory_bytes: what fits into memory, by the models' sizes; ``None`` means everything.
        downloadable: models that are not on disk and can be downloaded.
        download_bytes_per_s: how fast.
        plugins: what requests to ``/api/v1/chat`` may use; any other plugin is refused.
        faults: what goes wrong from the start.

    Raises:
        LmrouteError: when these cannot all be true of one server.
    """

    engine: Engine = Engine.SCRIPTED
    version: Version = NEWEST
    models: tuple[Model, ...] | None = None
    loaded: tuple[Loaded, ...] | None = None
    jit: bool = True
    require_auth: bool = False
    tokens: tuple[Token, ...] = ()
    split: int | None = None
    script: tuple[Line, ...] = ()
    clock: Literal["real", "manual"] = "real"
    load_config: LoadConfig = field(default_factory=LoadConfig)
    load_seconds: float = 0.0
    ttl_s: int = 3600
    keep_last_jit: bool = True
    evict_kills: bool = True
    memory_bytes: int | None = None
    downloadable: tuple[Model, ...] = catalog.DOWNLOADABLE
    download_bytes_per_s: int = 500_000_000
    plugins: tuple[Plugin, ...] = ()
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        keys = [model.key.lower() for model in self.on_disk]
        if not all(map(str.strip, keys)):
            raise LmrouteError("a model has no name; give each one a key, as in mine/small")
        _refuse_twice("model", keys)
        _refuse_twice("identifier", [loaded.id for loaded in self.in_memory])
        for loaded in self.in_memory:
            if loaded.key.lower() not in keys:
                raise LmrouteError(f"'{loaded.key}' cannot be loaded: it is not among the models {', '.join(keys)}")
        _refuse_less(self)
        _refuse_wider(self)
        if len({token.secret.reveal() for token in self.tokens}) < len(self.tokens):
            raise LmrouteError("two of the API tokens are the same; a read-only one needs a value of its own")
        if self.split is not None and self.split < 1:
            raise LmrouteError(f"split must be at least 1 byte, not {self.split}")
        if self.require_auth and not self.version.has(API_TOKENS):
            raise LmrouteError(f"LM Studio {self.version.name} had no API tokens; take profile {NEWEST.name}")
        if self.script and self.engine is not Engine.SCRIPTED:
            raise LmrouteError(f"a script needs the {Engine.SCRIPTED} model; the {self.engine} one answers by itself")

    @property
    def on_disk(self) -> tuple[Model, ...]:
        """The downloaded models."""
        if self.models is not None:
            return self.models
        return catalog.EMBEDDED if self.engine is Engine.EMBEDDED else catalog.SCRIPTED

    @property
    def in_memory(self) -> tuple[Loaded, ...]:
        """The models that are loaded from the start."""
        if self.loaded is not None:
            return self.loaded
        return tuple(Loaded(model.key) for model in self.on_disk if model.kind is Kind.LLM)[:1]


def _refuse_less(settings: Settings) -> None:
    window, parallel = settings.load_config.context_length, settings.load_config.parallel
    numbers = {
        "context_length": (window, 1),
        "parallel": (parallel, 1),
        "memory_bytes": (settings.memory_bytes, 0),
        "download_bytes_per_s": (settings.download_bytes_per_s, 1),
    }
    for name, (value, least) in numbers.items():
        if value is not None and value < least:
            raise LmrouteError(f"{name} must be at least {least}, not {value}")
    for name, seconds, least in (("ttl_s", settings.ttl_s, 1), ("load_seconds", settings.load_seconds, 0)):
        if not least <= seconds <= LONGEST_S:  # so that NaN is refused, too
            raise LmrouteError(f"{name} must be at least {least} and at most {LONGEST_S} seconds, not {seconds}")


def _refuse_wider(settings: Settings) -> None:
    """Refuse a window that a model in memory cannot have. An embedding model gets what it can of the common one."""
    models = {model.key.lower(): model for model in settings.on_disk}
    for loaded in settings.in_memory:
        model = models[loaded.key.lower()]
        common = settings.load_config if model.kind is Kind.LLM else LoadConfig()
        window = (loaded.config or common).context_length
        if window is not None and window > model.max_context_length:
            raise LmrouteError(
                f"context_length {window} is more than {model.key} can take; give at most {model.max_context_length}"
            )


def _refuse_twice(what: str, names: list[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise LmrouteError(f"{what} '{twice[0]}' is listed twice; list it once")
