"""A probe's result as JSON, and back."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from lmroute.providers.inventory import Api, Inventory, ListedModel
from lmroute.providers.probe import ErrorCode, Outcome, Phase, ProbeResult, State

_DEFAULTS = {field.name: field.default for field in fields(ListedModel)}
_LISTS = frozenset({"reasoning", "variants"})
"""Fields of a model that are tuples, which JSON has not."""


def to_json(result: ProbeResult) -> dict[str, Any]:
    """A result as a JSON object. The bodies that a server sent (``Inventory.answers``) stay behind."""
    found = result.inventory
    return {
        "provider": result.provider,
        "state": result.state.value,
        "error_code": result.error_code and result.error_code.value,
        "message": result.message,
        "fix": result.fix,
        "phases": [[phase.name, phase.ms, phase.outcome.value, phase.note] for phase in result.phases],
        "latency_ms": result.latency_ms,
        "api": found.api.value,
        "models": [_model(model) for model in found.models],
        "is_other": found.is_other,
        "problem": found.problem,
        "missing": list(result.missing),
        "tries": result.tries,
        "retry_after_s": result.retry_after_s,
    }


def from_json(told: dict[str, Any]) -> ProbeResult:
    """The result that an object of ``to_json`` is.

    Raises:
        KeyError, TypeError, ValueError: another version of lmroute wrote it, or nobody did.
    """
    return ProbeResult(
        provider=told["provider"],
        state=State(told["state"]),
        error_code=None if told["error_code"] is None else ErrorCode(told["error_code"]),
        message=told["message"],
        fix=told["fix"],
        phases=tuple(Phase(name, ms, Outcome(outcome), note) for name, ms, outcome, note in told["phases"]),
        latency_ms=told["latency_ms"],
        inventory=Inventory(Api(told["api"]), tuple(map(_listed, told["models"])), told["is_other"], told["problem"]),
        missing=tuple(told["missing"]),
        tries=told["tries"],
        retry_after_s=told["retry_after_s"],
    )


def _model(model: ListedModel) -> dict[str, Any]:
    """What is told of a model: some servers list thousands, and tell no more than names."""
    values = {name: getattr(model, name) for name in _DEFAULTS}
    return {name: value for name, value in values.items() if value != _DEFAULTS[name]}


def _listed(told: dict[str, Any]) -> ListedModel:
    lists = {name: tuple(told[name]) for name in _LISTS & told.keys()}
    return ListedModel(**{**told, **lists})
