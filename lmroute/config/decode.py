"""A document that keeps to the schemas, decoded to the words of ``lmroute.model``. It cannot fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmroute.config.predicates import predicate
from lmroute.model import (
    Capabilities,
    Cost,
    Failure,
    JsonMode,
    Locality,
    Named,
    Order,
    Policy,
    Privacy,
    Profile,
    Rule,
    SecretRef,
    SecretSource,
    Selector,
    Stack,
    TaskSpec,
    Timeouts,
    Use,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_Raw = dict[str, Any]


def decode(document: _Raw) -> Stack:
    """The stack a schema-valid document describes; what it leaves out has ``lmroute.model``'s defaults."""
    return Stack(
        providers={name: profile(raw) for name, raw in document["providers"].items()},
        policy=_policy(document["routing"]),
        task=task(document["task"]),
        adapter=document["adapter"],
        seed=int(document.get("seed", 0)),
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


def _dollars(raw: _Raw) -> Cost:
    return Cost(**{name: float(value) for name, value in raw.items()})


def _capabilities(raw: _Raw) -> Capabilities:
    return Capabilities(**_converted(raw, {"json_mode": JsonMode}))


def _params(raw: _Raw) -> tuple[tuple[str, Any], ...]:
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in raw.items())


def _policy(raw: _Raw) -> Policy:
    return Policy(**_converted(raw, {"rules": lambda rules: tuple(map(rule, rules)), "deadline_s": float}))


def rule(raw: _Raw) -> Rule:
    """A rule of schema-valid data."""
    return Rule(**_converted(raw, _RULE))


def _use(raw: str | _Raw) -> Use:
    if isinstance(raw, str):
        provider, _, model = raw.partition("/")
        return Named(provider, model or None)
    return Selector(**_converted(raw["select"], _SELECTOR), order=Order(raw.get("order", Order.DECLARED)))


def task(raw: _Raw) -> TaskSpec:
    """A task of schema-valid data."""
    return TaskSpec(**_converted(raw, _TASK))


_PROFILE: Mapping[str, Callable[[Any], Any]] = {
    "models": tuple,
    "auth_token": _secret,
    "locality": Locality,
    "tags": frozenset,
    "cost": _dollars,
    "capabilities": _capabilities,
    "timeouts": _seconds,
    "context_window": int,
    "params": _params,
}
_RULE: Mapping[str, Callable[[Any], Any]] = {
    "use": lambda uses: tuple(map(_use, uses)),
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
_SELECTOR: Mapping[str, Callable[[Any], Any]] = {
    "locality": lambda names: frozenset(map(Locality, names)),
    "types": frozenset,
    "tags": frozenset,
}
