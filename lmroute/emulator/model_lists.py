"""The three lists of models: OpenAI's, native v0 and native v1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lmroute.emulator.catalog import Kind
from lmroute.emulator.versions import REMAINING_TTL

if TYPE_CHECKING:
    from lmroute.emulator.catalog import Model
    from lmroute.emulator.state import Instance, State
    from lmroute.emulator.versions import Version


def openai_list(state: State) -> dict[str, Any]:
    """``GET /v1/models``: what can be asked for, with neither type nor state nor window."""
    names = [m.key for m in state.models] if state.lists_downloaded else [i.id for i in state.instances]
    data = [{"id": name, "object": "model", "owned_by": "organization_owner"} for name in names]
    return {"data": data, "object": "list"}


def v0_list(state: State) -> dict[str, Any]:
    """``GET /api/v0/models``."""
    return {"data": [v0_model(model, state) for model in state.models], "object": "list"}


def v0_model(model: Model, state: State) -> dict[str, Any]:
    """``GET /api/v0/models/{model}``: the loaded window is there only when it is loaded."""
    loaded = state.of(model)
    entry: dict[str, Any] = {
        "id": model.key,
        "object": "model",
        "type": "llm" if model.kind is Kind.LLM else "embeddings",
        "publisher": model.publisher,
        "arch": model.architecture,
        "compatibility_type": "gguf",
        "quantization": model.quantization,
        "state": "loaded" if loaded else "not-loaded",
        "max_context_length": model.max_context_length,
    }
    if loaded:
        entry["loaded_context_length"] = model.context_length
    if model.kind is Kind.LLM:
        entry["capabilities"] = []
    return entry


def v1_list(state: State, version: Version) -> dict[str, Any]:
    """``GET /api/v1/models``."""
    return {"models": [_v1_model(model, state, version) for model in state.models]}


def _v1_model(model: Model, state: State, version: Version) -> dict[str, Any]:
    chats = model.kind is Kind.LLM
    entry: dict[str, Any] = {
        "type": model.kind.value,
        "publisher": model.publisher,
        "key": model.key,
        "display_name": model.display_name,
        "architecture": model.architecture,
        "quantization": {"name": model.quantization, "bits_per_weight": model.bits},
        "size_bytes": model.size_bytes,
        "params_string": model.params,
        "loaded_instances": [_v1_instance(i, state.clock(), version) for i in state.of(model)],
        "max_context_length": model.max_context_length,
        "format": "gguf",
    }
    if not chats:
        del entry["architecture"]
        return entry
    return entry | {
        "capabilities": {"vision": False, "trained_for_tool_use": False},
        "description": None,
        "variants": [model.variant],
        "selected_variant": model.variant,
    }


def _v1_instance(instance: Instance, now: float, version: Version) -> dict[str, Any]:
    config: dict[str, Any] = {"context_length": instance.model.context_length}
    if instance.model.kind is Kind.LLM:
        config |= {
            "eval_batch_size": 512,
            "parallel": instance.parallel,
            "flash_attention": True,
            "offload_kv_cache_to_gpu": True,
        }
    entry: dict[str, Any] = {"id": instance.id, "config": config}
    remaining = instance.remaining_s(now)
    if remaining is not None and version.has(REMAINING_TTL):
        entry["remaining_ttl_seconds"] = math.ceil(remaining)
    return entry
