"""A lock as JSON text that reads well as a diff: sorted, a model a line, what may change by itself at the end."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lmroute.lock.document import Instance, Kind, Lock, LockedModel, LockedProvider

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT_VERSION = "1.0"
"""The second number grows when a key is added, the first one when a key goes or means something else."""


def dump(lock: Lock) -> str:
    """The text of the file. The same facts give the same text, in whatever order the servers told them."""
    providers = {name: _provider(lock.providers[name]) for name in sorted(lock.providers)}
    return _written({"format_version": FORMAT_VERSION, "providers": providers}) + "\n"


def parsed(document: dict[str, Any]) -> Lock:
    """The lock in a document that keeps to ``lock.schema.json``."""
    return Lock({name: _read_provider(raw) for name, raw in document["providers"].items()})


def renewed(before: Lock, found: Mapping[str, LockedProvider]) -> Lock:
    """A lock with what was found since. Who is as before keeps the time, so that the file changes with facts only."""
    same = {name: replace(entry, taken=_taken(before.providers.get(name), entry)) for name, entry in found.items()}
    return Lock({**before.providers, **same})


def _taken(before: LockedProvider | None, entry: LockedProvider) -> str:
    is_same = before is not None and _provider(replace(entry, taken=before.taken)) == _provider(before)
    return before.taken if before is not None and is_same else entry.taken


def _provider(entry: LockedProvider) -> dict[str, Any]:
    return {
        "taken": entry.taken,
        "type": entry.type,
        "endpoint": entry.endpoint,
        "api": entry.api,
        "state": entry.state,
        "error_code": entry.error_code,
        "loads_on_demand": entry.loads_on_demand,
        "paths": {path: entry.paths[path] for path in sorted(entry.paths)},
        "models": [_model(model) for model in sorted(entry.models, key=lambda model: model.id)],
        "now": {
            "answers": {name: entry.answers[name] for name in sorted(entry.answers)},
            "loaded": [_instance(instance) for instance in sorted(entry.loaded, key=lambda instance: instance.id)],
        },
    }


def _model(model: LockedModel) -> dict[str, Any]:
    told = {
        "context_window": model.context_window,
        "max_context_window": model.max_context_window,
        "tools": model.tools,
        "vision": model.vision,
        "reasoning": None if model.reasoning is None else sorted(model.reasoning),
        "quantization": model.quantization,
        "format": model.format,
    }
    return {"id": model.id, "kind": model.kind.value, **_known(told)}


def _instance(instance: Instance) -> dict[str, Any]:
    told = {"context_window": instance.context_window, "parallel": instance.parallel}
    return {"id": instance.id, "model": instance.model, **_known(told)}


def _known(told: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in told.items() if value is not None}


def _read_provider(raw: dict[str, Any]) -> LockedProvider:
    now = raw["now"]
    plain = {key: value for key, value in raw.items() if key not in {"models", "now"}}
    return LockedProvider(
        **plain,
        models=tuple(map(_read_model, raw["models"])),
        answers=now["answers"],
        loaded=tuple(Instance(**instance) for instance in now["loaded"]),
    )


def _read_model(raw: dict[str, Any]) -> LockedModel:
    fields = {**raw, "kind": Kind(raw["kind"])}
    if "reasoning" in fields:
        fields["reasoning"] = tuple(fields["reasoning"])
    return LockedModel(**fields)


def _written(value: Any, indent: str = "") -> str:
    """JSON with a line for each key of a mapping and each mapping in a list; everything else on its line."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        lines = [f"{inner}{_inline(key)}: {_written(part, inner)}" for key, part in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(part, dict) for part in value):
        return "[\n" + ",\n".join(inner + _inline(part) for part in value) + f"\n{indent}]"
    return _inline(value)


def _inline(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
