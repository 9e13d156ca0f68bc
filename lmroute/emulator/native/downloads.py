"""``/api/v1/models/download`` and the status of its jobs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lmroute.emulator.faults import faults_of
from lmroute.emulator.house import House, Row
from lmroute.emulator.machine.clock import wall_s
from lmroute.emulator.native import bodies as native
from lmroute.emulator.native.bodies import Field
from lmroute.emulator.requests import read_object
from lmroute.emulator.transport.wire import json_response
from lmroute.emulator.versions import NATIVE_V1

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lmroute.emulator.catalog import Model
    from lmroute.emulator.machine.downloads import Job

_LINK = "https://huggingface.co/"
_DOWNLOAD = {"model": Field(("string",), required=True), "quantization": Field(("string",))}


def rows(house: House) -> list[Row]:
    """Download, and its progress."""
    state = house.state

    async def download(request: Request) -> Response:
        body = native.check(await read_object(request), _DOWNLOAD)
        model = asked_for(house, body["model"], body.get("quantization"))
        if model in state.models:
            return json_response({"status": "already_downloaded"})
        return json_response(_started(state.downloads.start(model, faults_of(request.scope))))

    async def status(request: Request) -> Response:
        job = state.downloads.jobs.get(request.path_params["job_id"])
        if job is None:
            message = f"No download job with the id '{request.path_params['job_id']}' is known."
            raise native.not_found(message, "job_not_found")
        return json_response(_progress(job, state.clock()))

    return [
        Row("POST", "/api/v1/models/download", download, NATIVE_V1),
        Row("GET", "/api/v1/models/download/status/{job_id}", status, NATIVE_V1),
    ]


def asked_for(house: House, name: str, quantization: str | None) -> Model:
    """The model that is meant. A link may ask for a quantization of its own.

    Raises:
        Refused: when it is neither on disk nor on offer.
    """
    if quantization and not name.startswith(_LINK):
        raise native.invalid("'quantization' is only taken with a Hugging Face link", "invalid_value", "quantization")
    for model in (*house.state.models, *house.settings.downloadable):
        if model.answers_to(name.removeprefix(_LINK)):
            return replace(model, quantization=quantization.upper()) if quantization else model
    raise native.unknown_model(name)


def _started(job: Job) -> dict[str, Any]:
    return {
        "job_id": job.id,
        "status": job.status,
        "total_size_bytes": job.model.size_bytes,
        "started_at": _time(job.started),
    }


def _progress(job: Job, now: float) -> dict[str, Any]:
    body = _started(job) | {"downloaded_bytes": job.done_bytes(now)}
    if job.status == "completed" and job.ended is not None:
        body["completed_at"] = _time(job.ended)
    if job.status == "downloading":
        body["bytes_per_second"] = job.bytes_per_s
        body["estimated_completion"] = _time(job.started + job.model.size_bytes / job.bytes_per_s)
    return body


def _time(at: float) -> str:
    moment = datetime.fromtimestamp(wall_s(at), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
