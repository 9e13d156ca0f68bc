"""The front door: a configuration in, a ``dspy.LM`` out."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import dspy

from lmroute import validate
from lmroute.engine.adapters import adapter_for
from lmroute.engine.live import Live
from lmroute.engine.provider import Providers
from lmroute.engine.routing_engine import AsyncRoutingEngine, RoutingEngine
from lmroute.engine.sinks import sink_of
from lmroute.health.status import Status
from lmroute.model import Stack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from omegaconf import DictConfig

    from lmroute.engine.readiness import OnFetch
    from lmroute.telemetry.sinks.sink import Sink


def build(
    cfg: Stack | Mapping[str, Any] | DictConfig,
    *,
    sink: Sink | None = None,
    on_fetch: OnFetch | None = None,
    **lm_kwargs: Any,
) -> dspy.LM:
    """The LM that a composed configuration describes.

    Nothing is contacted: servers are asked, and the embedded model is started, when the first call needs them.

    Args:
        cfg: a ``Stack``, or a composed configuration as ``@hydra.main`` hands it over.
        sink: where call records go beside what the configuration says, e.g. ``JsonlSink(path)``. One of your own is
            written to by a thread of its own, so that it may be slow; ``lm.engine.close()`` waits for it.
        on_fetch: told the progress when the embedded model's weights have to be fetched.
        lm_kwargs: request defaults as ``dspy.LM`` takes them (``temperature``, ``max_tokens``, ``cache`` ...).

    Raises:
        ConfigError: the configuration is wrong; it holds every finding.
        MissingExtra: spans or metrics are asked for, and OpenTelemetry is not installed.
    """
    stack = cfg if isinstance(cfg, Stack) else validate.read(cfg)
    live, safe = Live.of(stack), sink_of(stack, sink)  # one for both, so that a failure is said once
    made = Providers(live.learnt, on_fetch)
    engine = RoutingEngine.of(stack, live, made, safe)
    async_engine = AsyncRoutingEngine.of(stack, live, made, safe)
    engine.twin = async_engine
    # The policy owns every attempt, so DSPy must not retry; the name carries the configuration into DSPy's cache key.
    options = {"num_retries": 0, **lm_kwargs}
    return dspy.LM(f"lmroute/{engine.routing.name}", engine=engine, async_engine=async_engine, **options)


def load(overrides: str | Sequence[str] = (), *, sink: Sink | None = None, **lm_kwargs: Any) -> dspy.LM:
    """The LM of lmroute's own configuration with overrides: ``load("provider=lmstudio routing=local_first")``.

    Raises:
        ConfigError: the overrides or the files are wrong; it holds every finding.
    """
    words = shlex.split(overrides) if isinstance(overrides, str) else list(overrides)
    return build(validate.load(words), sink=sink, **lm_kwargs)


def adapter(lm: dspy.LM) -> dspy.Adapter:
    """The adapter that an LM's configuration asks for, to be set beside it: ``dspy.configure(lm=lm, adapter=…)``.

    Raises:
        TypeError: the LM is none of lmroute's.
    """
    return adapter_for(_engine_of(lm, "adapter").stack)


def statuses(lm: dspy.LM) -> dict[str, Status]:
    """How the providers of an LM are, by id, as its watch and its calls found out: ``state``, ``message``, ``fix`` ...

    ``unknown`` before the first call, and where the configuration says ``health: {watch: false}``. Nobody is asked.

    Raises:
        TypeError: the LM is none of lmroute's.
    """
    engine = _engine_of(lm, "statuses")
    health = engine.routing.live.health
    known = health.statuses() if health is not None else {}
    return {name: known.get(name) or Status(name) for name in engine.stack.providers}


def _engine_of(lm: dspy.LM, asked: str) -> RoutingEngine:
    engine = getattr(lm, "engine", None)
    if not isinstance(engine, RoutingEngine):
        raise TypeError(f"lmroute.{asked} takes an LM made by lmroute.load or lmroute.build, not {lm!r}")
    return engine
