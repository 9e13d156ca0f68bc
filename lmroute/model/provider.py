"""Provider profiles: one server or service each, and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from lmroute.model.secret import SecretRef

AUTO = "auto"
"""The model name that means: whatever the server has loaded (or lists first)."""


class Locality(StrEnum):
    """How far from this process a provider's server is."""

    EMBEDDED = "embedded"
    """In this process tree."""
    LOOPBACK = "loopback"
    """On this machine."""
    PRIVATE = "private"
    """On this network."""
    CLOUD = "cloud"
    """Anywhere else."""


class JsonMode(StrEnum):
    """What a server does for structured output, best first."""

    JSON_SCHEMA = "json_schema"
    JSON_OBJECT = "json_object"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The only clocks that decide anything about a call, in seconds.

    Attributes:
        connect_s: until the connection stands.
        first_token_s: until a stream's first byte.
        idle_s: between two bytes of a stream.
        total_s: one attempt, whatever it does.
        load_s: getting a cold model ready (embedded start, LM Studio load), on top of the others.
    """

    connect_s: float = 2.0
    first_token_s: float = 60.0
    idle_s: float = 30.0
    total_s: float = 120.0
    load_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider's models can do, as the profile states it."""

    tools: bool = False
    vision: bool = False
    reasoning: bool = False
    json_mode: JsonMode = JsonMode.NONE


@dataclass(frozen=True, slots=True)
class Cost:
    """Price in US dollars per million tokens. Local models cost 0."""

    input_per_mtok: float = 0.0
    output_per_mtok: float = 0.0


class LoadMode(StrEnum):
    """Who loads a model of LM Studio's that is not in memory."""

    JIT = "jit"
    """LM Studio, for the first request that names it."""
    EXPLICIT = "explicit"
    """lmroute, before it sends that request, with the settings of the profile; it stays until somebody unloads it."""


@dataclass(frozen=True, slots=True)
class Load:
    """How LM Studio gets a model into memory.

    Attributes:
        ttl_s: of a model that LM Studio loads for a request: seconds of idling until it is unloaded; ``None`` is LM
            Studio's own default, an hour.
        context_length, eval_batch_size, flash_attention, num_experts, offload_kv_cache_to_gpu: of an explicit load,
            under the names of ``POST /api/v1/models/load``; ``None`` leaves it to LM Studio.
    """

    mode: LoadMode = LoadMode.JIT
    ttl_s: int | None = None
    context_length: int | None = None
    eval_batch_size: int | None = None
    flash_attention: bool | None = None
    num_experts: int | None = None
    offload_kv_cache_to_gpu: bool | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """A provider profile: one server or service and what is known about it.

    Attributes:
        id: the name it goes by in policies, its key under ``providers``.
        type: the kind of server, a row of ``lmroute.providers.catalog``.
        endpoint: base URL, with or without ``/v1``; ``None`` for ``embedded`` and for services whose address is fixed.
        models: model names to offer, in order; ``auto`` asks the server.
        context_window: tokens of prompt and answer together, where it is known beforehand.
        params: sampler settings sent with every request (``temperature``, ``top_k``, ``min_p`` ...).
        concurrency: calls at once to one of its models; ``None`` is no limit.
        on_substitution: what to do when the server answers with another model than the one asked for.
        load: how a model gets into memory (``lmstudio`` only).
        model_path: a local GGUF file (``embedded`` only); ``None`` means the default weights.
    """

    id: str
    type: str
    endpoint: str | None = None
    models: tuple[str, ...] = (AUTO,)
    enabled: bool = True
    auth_token: SecretRef | None = None
    locality: Locality = Locality.CLOUD
    tags: frozenset[str] = frozenset()
    cost: Cost | None = None
    capabilities: Capabilities = Capabilities()
    context_window: int | None = None
    timeouts: Timeouts = Timeouts()
    params: tuple[tuple[str, Any], ...] = ()
    on_substitution: Literal["error", "warn"] = "error"
    load: Load = Load()
    model_path: str | None = None
    concurrency: int | None = None
