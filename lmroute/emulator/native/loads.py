"""``/api/v1/models/load`` and ``unload``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmroute.emulator.catalog import Kind
from lmroute.emulator.faults import faults_of
from lmroute.emulator.house import House, Row
from lmroute.emulator.machine.instances import LoadConfig
from lmroute.emulator.machine.state import Load, LoadFailed
from lmroute.emulator.native import bodies as native
from lmroute.emulator.native.bodies import Field
from lmroute.emulator.refusals import Refused
from lmroute.emulator.requests import read_object
from lmroute.emulator.transport.wire import json_response
from lmroute.emulator.versions import NATIVE_V1

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lmroute.emulator.catalog import Model
    from lmroute.emulator.machine.instances import Instance

_CONFIG = {
    "context_length": Field(("integer",), least=1),
    "eval_batch_size": Field(("integer",), least=1),
    "flash_attention": Field(("boolean",)),
    "num_experts": Field(("integer",), least=1),
    "offload_kv_cache_to_gpu": Field(("boolean",)),
}
_LOAD = {"model": Field(("string",), required=True), **_CONFIG, "echo_load_config": Field(("boolean",))}
_UNLOAD = {"instance_id": Field(("string",), required=True)}


def rows(house: House) -> list[Row]:
    """Load and unload."""

    async def load(request: Request) -> Response:
        body = native.check(await read_object(request), _LOAD)
        config = LoadConfig(**{name: body[name] for name in _CONFIG if name in body})
        model = find(house, body["model"])
        try:
            instance = await house.state.load(model, Load(config), faults_of(request.scope))
        except LoadFailed as error:
            raise load_failed(model, error) from error
        return json_response(_loaded(instance, echo=body.get("echo_load_config", False)))

    async def unload(request: Request) -> Response:
        instance_id = native.check(await read_object(request), _UNLOAD)["instance_id"]
        if not house.state.unload(instance_id):
            raise native.not_found(f"No model instance with the id '{instance_id}' is loaded.")
        return json_response({"instance_id": instance_id})

    return [
        Row("POST", "/api/v1/models/load", load, NATIVE_V1),
        Row("POST", "/api/v1/models/unload", unload, NATIVE_V1),
    ]


def find(house: House, name: str) -> Model:
    """The model on disk that ``name`` means.

    Raises:
        Refused: when there is none.
    """
    for model in house.state.models:
        if model.answers_to(name):
            return model
    raise native.unknown_model(name)


def load_failed(model: Model, error: LoadFailed) -> Refused:
    """A load that did not come about."""
    what = "LLM" if model.kind is Kind.LLM else "embedding model"
    message = f"Failed to load {what} '{model.key}': Error: {error}"
    return Refused(500, {"error": {"type": "model_load_failed", "message": message}})


def load_config(instance: Instance) -> dict[str, Any]:
    """How an instance was loaded, as far as its engine tells: llama.cpp more than MLX, and least for embeddings."""
    config, window = instance.config, {"context_length": instance.context_length}
    if instance.model.kind is Kind.EMBEDDING or instance.model.format == "mlx":
        return window
    experts = {} if config.num_experts is None else {"num_experts": config.num_experts}
    return {
        **window,
        "eval_batch_size": config.eval_batch_size,
        "flash_attention": config.flash_attention,
        "offload_kv_cache_to_gpu": config.offload_kv_cache_to_gpu,
        **experts,
    }


def _loaded(instance: Instance, *, echo: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": instance.model.kind.value,
        "instance_id": instance.id,
        "load_time_seconds": round(instance.load_seconds, 3),
        "status": "loaded",
    }
    return body | ({"load_config": load_config(instance)} if echo else {})
