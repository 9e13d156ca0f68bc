"""lmroute: LM Studio and every other LLM server as selectable, routable providers for DSPy, declared in YAML.

    import dspy, lmroute
    lm = lmroute.load("provider=[lmstudio,embedded] routing=local_first")
    dspy.configure(lm=lm, adapter=lmroute.adapter(lm))

Importing this package imports neither DSPy nor Hydra; the names below bring in what they need when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmroute.engine.adapters import CompactAdapter
    from lmroute.engine.request.scope import pin, task
    from lmroute.engine.resolver import adapter, build, load, statuses
    from lmroute.engine.routing_engine import AsyncRoutingEngine, RoutingEngine
    from lmroute.engine.watching import watch
    from lmroute.errors import ConfigError, LmrouteError
    from lmroute.experiments.main import main
    from lmroute.telemetry.sinks.sink import JsonlSink

__all__ = [
    "AsyncRoutingEngine",
    "CompactAdapter",
    "ConfigError",
    "JsonlSink",
    "LmrouteError",
    "RoutingEngine",
    "__version__",
    "adapter",
    "build",
    "load",
    "main",
    "pin",
    "statuses",
    "task",
    "watch",
]

_HOMES = {
    "AsyncRoutingEngine": "lmroute.engine.routing_engine",
    "CompactAdapter": "lmroute.engine.adapters",
    "ConfigError": "lmroute.errors",
    "JsonlSink": "lmroute.telemetry.sinks.sink",
    "LmrouteError": "lmroute.errors",
    "RoutingEngine": "lmroute.engine.routing_engine",
    "adapter": "lmroute.engine.resolver",
    "build": "lmroute.engine.resolver",
    "load": "lmroute.engine.resolver",
    "main": "lmroute.experiments.main",
    "pin": "lmroute.engine.request.scope",
    "statuses": "lmroute.engine.resolver",
    "task": "lmroute.engine.request.scope",
    "watch": "lmroute.engine.watching",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - reading metadata costs more than the whole import

        return version("lmroute")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lmroute' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
