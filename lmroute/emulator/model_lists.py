"""The three lists of models: OpenAI's, native v0 and native v1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lmroute.emulator import refusals
from lmroute.emulator.catalog import Kind
from lmroute.emulator.house import House, Row
from lmroute.emulator.native.loads import load_config
from lmroute.emulator.transport.wire import json_response
from lmroute.emulator.versions import NATIVE_V0, NATIVE_V1, REASONING_BUDGET, REMAINING_TTL, V0_CAPABILITIES

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lmroute.emulator.catalog import Model
    from lmroute.emulator.machine.instances import Instance
    from lmroute.emulator.machine.state import State
    from lmroute.emulator.versions import Version


def rows(house: House) -> list[Row]:
    """The three lists, and the single models of v0."""
    state = house.state

    async def openai(_request: Request) -> Response:
        return json_response(openai_list(state))

    async def v0(_request: Request) -> Response:
        return json_response(v0_list(state, house.version))

    async def v0_single(request: Request) -> Response:
        name = request.path_params["model"]
        for model in state.models:
            if model.answers_to(name):
                return json_response(v0_model(model, state, house.version))
        raise refusals.unknown_in_v0(name)

    async def v1(_request: Request) -> Response:
        return json_response(v1_list(state, house.version))

    return [
        Row("GET", "/v1/models", openai),
        Row("GET", "/api/v0/models", v0, NATIVE_V0),
        Row("GET", "/api/v0/models/{model:path}", v0_single, NATIVE_V0),
        Row("GET", "/api/v1/models", v1, NATIVE_V1),
    ]


def openai_list(state: State) -> dict[str, Any]:
    """``GET /v1/models``: what can be asked for, with neither type nor state nor window."""
    names = [m.key for m in state.models] if state.lists_downloaded else [i.id for i in state.instances]
    data = [{"id": name, "object": "model", "owned_by": "organization_owner"} for name in names]
    return {"data": data, "object": "list"}


def v0_list(state: State, version: Version) -> dict[str, Any]:
    """``GET /api/v0/models``."""
    return {"data": [v0_model(model, state, version) for model in state.models], "object": "list"}


def v0_model(model: Model, state: State, version: Version) -> dict[str, Any]:
    """``GET /api/v0/models/{model}``: the loaded window is there only when it is loaded."""
    loaded = state.of(model)
    entry: dict[str, Any] = {
        "id": model.key,
        "object": "model",
        "type": _v0_type(model),
        "publisher": model.publisher,
        "arch": model.architecture,
        "compatibility_type": model.format,
        "quantization": model.quantization,
        "state": "loaded" if loaded else "not-loaded",
        "max_context_length": model.max_context_length,
    }
    if loaded:
        entry["loaded_context_length"] = loaded[0].context_length
    if model.kind is Kind.LLM and version.has(V0_CAPABILITIES):
        entry["capabilities"] = ["tool_use"] if model.trained_for_tool_use else []
    return entry


def _v0_type(model: Model) -> str:
    if model.kind is Kind.EMBEDDING:
        return "embeddings"
    return "vlm" if model.vision else "llm"


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
        "loaded_instances": [_v1_instance(i, version) for i in state.of(model)],
        "max_context_length": model.max_context_length,
        "format": model.format,
    }
    if not chats:
        del entry["architecture"]
        return entry
    return entry | {
        "capabilities": _capabilities(model),
        "description": None,
        "variants": [model.variant],
        "selected_variant": model.variant,
    }


def _capabilities(model: Model) -> dict[str, Any]:
    capabilities: dict[str, Any] = {"vision": model.vision, "trained_for_tool_use": model.trained_for_tool_use}
    if model.reasoning is not None:
        options = {"allowed_options": list(model.reasoning.allowed), "default": model.reasoning.default}
        capabilities["reasoning"] = options
    return capabilities


def _v1_instance(instance: Instance, version: Version) -> dict[str, Any]:
    config = load_config(instance)
    if instance.model.kind is Kind.LLM:
        config["parallel"] = instance.parallel
    if instance.model.format == "mlx" and version.has(REASONING_BUDGET):
        config["reasoning_budget_message"] = ""
    entry: dict[str, Any] = {"id": instance.id, "config": config}
    remaining = instance.remaining_s()
    if remaining is not None and version.has(REMAINING_TTL):
        entry["remaining_ttl_seconds"] = math.ceil(remaining)
    return entry
