"""The JSON of ``ls`` and ``ps``, made from an emulator's state (``lmroute.emulator.control.snapshot``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORMATS = {"mlx": "safetensors"}
"""The SDK's words where they are not those of the HTTP API."""
_SUFFIX = {"gguf": ".gguf"}
_SINCE = {"status": (0, 3, 27), "queued": (0, 3, 27), "parallel": (0, 4, 0)}
"""Fields of ``ps`` that came with a release."""


def downloaded(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``ls --json``: what is on disk."""
    return [_info(model) for model in state["models"]]


def with_variants(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``ls --variants --json``: each model that has variants, and each of them as a model of its own."""
    return [
        {"model": model, "variants": [{**model, "selectedVariant": variant} for variant in model["variants"]]}
        for model in downloaded(state)
        if "variants" in model
    ]


def loaded(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``ps --json``: what is in memory. Releases before 0.3.27 tell neither status nor queue."""
    models = {model["key"]: _info(model) for model in state["models"]}
    return [models[instance["model"]] | _presence(instance, state["profile"]) for instance in state["instances"]]


def release_of(profile: str) -> tuple[int, ...]:
    """A profile's name as numbers that compare."""
    return tuple(map(int, profile.split(".")))


def _presence(instance: Mapping[str, Any], profile: str) -> dict[str, Any]:
    ttl = instance["ttl_s"]
    fields = {
        "identifier": instance["id"],
        "ttlMs": None if ttl is None else ttl * 1000,
        "lastUsedTime": instance["last_used_ms"],
        "contextLength": instance["context_length"],
        "status": instance["status"],
        "queued": instance["queued"],
        "parallel": None if instance["type"] == "embedding" else instance["parallel"],
    }
    release = release_of(profile)
    return {name: value for name, value in fields.items() if release >= _SINCE.get(name, release)}


def _info(model: Mapping[str, Any]) -> dict[str, Any]:
    """One model. What the HTTP API calls ``null`` is left out here."""
    path = _path(model)
    quantization = model["quantization"]
    told = {
        "type": model["type"],
        "modelKey": model["key"],
        "format": _FORMATS.get(model["format"], model["format"]),
        "displayName": model["display_name"],
        "publisher": model["publisher"],
        "path": path,
        "sizeBytes": model["size_bytes"],
        "indexedModelIdentifier": path,
        "deviceIdentifier": None,
    }
    known = {
        "paramsString": model["params_string"],
        "architecture": model.get("architecture"),
        "quantization": {"name": quantization["name"], "bits": quantization["bits_per_weight"]},
        "variants": model.get("variants"),
        "selectedVariant": model.get("selected_variant"),
    }
    told |= {name: value for name, value in known.items() if value is not None}
    if model["type"] == "llm":
        told |= {
            "vision": model["capabilities"]["vision"],
            "trainedForToolUse": model["capabilities"]["trained_for_tool_use"],
        }
    return told | {"maxContextLength": model["max_context_length"]}


def _path(model: Mapping[str, Any]) -> str:
    """Where LM Studio would keep the file: ``publisher/Name-GGUF/name-q4_k_m.gguf``."""
    name = model["key"].rpartition("/")[2]
    folder = f"{model['display_name'].replace(' ', '-')}-{model['format'].upper()}"
    suffix = _SUFFIX.get(model["format"], "")
    file = f"/{name}-{model['quantization']['name'].lower()}{suffix}" if suffix else ""
    return f"{model['publisher']}/{folder}{file}"
