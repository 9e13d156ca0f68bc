"""A document that keeps to the schemas, decoded to the words of ``lmroute.model``. It cannot fail."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lmroute.config.predicates import predicate
from lmroute.model import (
    BUILT_IN,
    Budget,
    CallerChoice,
    Capabilities,
    Cost,
    Domain,
    Failure,
    Guarantee,
    Health,
    JsonMode,
    Kind,
    Load,
    LoadMode,
    Locality,
    Named,
    Order,
    Otlp,
    Period,
    Policy,
    Privacy,
    Profile,
    Rule,
    SecretRef,
    SecretSource,
    Selector,
    Semconv,
    Stack,
    TaskSpec,
    Telemetry,
    Timeouts,
    Traits,
    Use,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_Raw = dict[str, Any]


def decode(document: _Raw) -> Stack:
    """The stack a schema-valid document describes; what it leaves out has ``lmroute.model``'s defaults."""
    return Stack(
        providers={name: profile(raw) for name, raw in document["providers"].items()},
        policy=policy(document["routing"]),
        task=task(document["task"]),
        adapter=document["adapter"],
        seed=int(document.get("seed", 0)),
        telemetry=telemetry(document.get("telemetry", {})),
        health=health(document.get("health", {})),
        document=document,
    )


def _converted(raw: _Raw, converters: Mapping[str, Callable[[Any], Any]]) -> _Raw:
    """The keys of ``raw``, each value converted where there is a converter for it; null stays None."""
    return {
        key: value if value is None or key not in converters else converters[key](value) for key, value in raw.items()
    }


def profile(raw: _Raw) -> Profile:
    """A profile of schema-valid data."""
    return Profile(**_converted(raw, _PROFILE))


def _secret(raw: _Raw) -> SecretRef:
    source = next(source for source in SecretSource if source.value in raw)
    where = raw[source.value]
    names = tuple(where) if isinstance(where, list) else (where,)
    return SecretRef(source, names, raw.get("optional", False))


def _seconds(raw: _Raw) -> Timeouts:
    return Timeouts(**{name: float(value) for name, value in raw.items()})


def _load(raw: _Raw) -> Load:
    return Load(**_converted(raw, {"mode": LoadMode}))


def _dollars(raw: _Raw) -> Cost:
    return Cost(**{name: float(value) for name, value in raw.items()})


def _capabilities(raw: _Raw) -> Capabilities:
    return Capabilities(**_converted(raw, {"json_mode": JsonMode}))


def _params(raw: _Raw) -> tuple[tuple[str, Any], ...]:
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in raw.items())


def policy(raw: _Raw) -> Policy:
    """A policy of schema-valid data."""
    return Policy(**_converted(raw, _POLICY))


def rule(raw: _Raw) -> Rule:
    """A rule of schema-valid data."""
    return Rule(**_converted(raw, _RULE))


def _use(raw: str | _Raw) -> Use:
    if isinstance(raw, str):
        provider, _, model = raw.partition("/")
        return Named(provider, model or None)
    return Selector(
        **_converted(raw["select"], _TRAITS),
        order=Order(raw.get("order", Order.DECLARED)),
        weights=tuple((str(name), float(weight)) for name, weight in raw.get("weights", {}).items()),
    )


def _uses(raw: list[str | _Raw]) -> tuple[Use, ...]:
    return tuple(map(_use, raw))


def traits(raw: _Raw) -> Traits:
    """Traits of schema-valid data."""
    return Traits(**_converted(raw, _TRAITS))


def attribute(name: str, raw: _Raw) -> Domain:
    """A declared attribute of schema-valid data; of a built-in one, with the words that the policy knows."""
    values = tuple(map(str, raw["values"])) if "values" in raw else None
    if name in BUILT_IN:
        return replace(BUILT_IN[name], values=values)
    kind, number = Kind(raw["type"]), float if raw["type"] == Kind.FLOAT else int
    low, high = (number(raw[end]) if end in raw else None for end in ("min", "max"))
    default = raw.get("default", _unstated(kind, values, low, high))
    if kind is Kind.INT:
        default = int(default)  # JSON counts 3.0 as a whole number
    return Domain(kind, frozenset(default) if kind is Kind.SET else default, values, low, high)


def _unstated(kind: Kind, values: tuple[str, ...] | None, low: float | None, high: float | None) -> Any:
    """What a request has that does not state an attribute without a default of its own."""
    match kind:
        case Kind.ENUM:
            return values[0] if values else ""
        case Kind.BOOL:
            return False
        case Kind.SET:
            return ()
        case _:
            return max(low if low is not None else 0, min(high if high is not None else 0, 0))


def _attributes(raw: _Raw) -> dict[str, Domain]:
    return {name: attribute(name, declared) for name, declared in raw.items()}


def task(raw: _Raw) -> TaskSpec:
    """A task of schema-valid data."""
    return TaskSpec(**_converted(raw, _TASK))


def telemetry(raw: _Raw) -> Telemetry:
    """What is kept of calls, of schema-valid data."""
    return Telemetry(**_converted(raw, _TELEMETRY))


def health(raw: _Raw) -> Health:
    """How servers are watched, of schema-valid data."""
    return Health(**_converted(raw, _HEALTH))


_PROFILE: Mapping[str, Callable[[Any], Any]] = {
    "models": tuple,
    "auth_token": _secret,
    "locality": Locality,
    "tags": frozenset,
    "cost": _dollars,
    "capabilities": _capabilities,
    "timeouts": _seconds,
    "load": _load,
    "context_window": int,
    "concurrency": int,
    "params": _params,
}
_TELEMETRY: Mapping[str, Callable[[Any], Any]] = {
    "keep_days": int,
    "otlp": lambda raw: Otlp(**_converted(raw, {"auth_token": _secret, "semconv": Semconv})),
}
_HEALTH: Mapping[str, Callable[[Any], Any]] = {
    "interval_s": float,
    "timeout_s": float,
    **dict.fromkeys(("retries", "down_after", "up_after"), int),
}
_POLICY: Mapping[str, Callable[[Any], Any]] = {
    "deadline_s": float,
    "attributes": _attributes,
    "guarantees": lambda listed: tuple(Guarantee(**_converted(raw, _GUARANTEE)) for raw in listed),
    "rules": lambda rules: tuple(map(rule, rules)),
    "default": _uses,
    "caller_choice": lambda raw: CallerChoice(**_converted(raw, _RULE)),
    "budgets": lambda listed: tuple(Budget(**_converted(raw, _BUDGET)) for raw in listed),
}
_GUARANTEE: Mapping[str, Callable[[Any], Any]] = {"when": predicate, "only": traits, "never": traits}
_BUDGET: Mapping[str, Callable[[Any], Any]] = {"per": Period, "select": traits, "tokens": int, "usd": float}
_RULE: Mapping[str, Callable[[Any], Any]] = {
    "use": _uses,
    "when": predicate,
    "priority": int,
    "fallback_on": lambda names: frozenset(map(Failure, names)),
}
_TASK: Mapping[str, Callable[[Any], Any]] = {
    "privacy": Privacy,
    "tags": frozenset,
    "limit": int,  # JSON counts 3.0 as a whole number
    "threads": int,
    "max_tokens": int,
}
_TRAITS: Mapping[str, Callable[[Any], Any]] = {
    "locality": lambda names: frozenset(map(Locality, names)),
    "types": frozenset,
    "tags": frozenset,
    "providers": frozenset,
}
