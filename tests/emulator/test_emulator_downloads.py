"""L15: downloads, from the first byte to a model that answers."""

import re

import pytest

from lmroute.emulator.catalog import SCRIPTED, Model
from lmroute.emulator.settings import Settings

EGRET = Model("rookery/egret-1b", size_bytes=1000)
SETTINGS = Settings(clock="manual", downloadable=(EGRET,), download_bytes_per_s=100)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def download(client, **body):
    return client.post("/api/v1/models/download", json={"model": EGRET.key, **body})


def status(client, job_id):
    return client.get(f"/api/v1/models/download/status/{job_id}")


def keys(client):
    return [model["key"] for model in client.get("/api/v1/models").json()["models"]]


def test_l15_a_download_begins_goes_on_and_ends_on_disk(emulate):
    client = emulate(SETTINGS)

    started = download(client).json()
    client.advance(4)
    half_way, listed = status(client, started["job_id"]).json(), keys(client)
    client.advance(6)
    done = status(client, started["job_id"]).json()

    assert re.fullmatch(r"job_[0-9a-f]{10}", started["job_id"])
    assert (started["status"], started["total_size_bytes"]) == ("downloading", 1000)
    assert (half_way["downloaded_bytes"], half_way["bytes_per_second"], half_way["status"]) == (400, 100, "downloading")
    assert TIME.fullmatch(half_way["estimated_completion"])
    assert EGRET.key not in listed
    assert done == {**started, "status": "completed", "downloaded_bytes": 1000, "completed_at": done["completed_at"]}
    assert done["completed_at"] == half_way["estimated_completion"]
    assert TIME.fullmatch(done["started_at"])
    assert keys(client)[-1] == EGRET.key
    assert client.ask(model=EGRET.key).json()["model"] == EGRET.key


def test_l15_what_is_on_disk_is_not_fetched_again(emulate):
    client = emulate(SETTINGS)
    job_id = download(client).json()["job_id"]
    same = download(client).json()["job_id"]
    client.advance(10)

    assert same == job_id
    assert download(client).json() == {"status": "already_downloaded"}
    assert download(client, model=SCRIPTED[0].key).json() == {"status": "already_downloaded"}


def test_l15_a_link_may_ask_for_a_quantization(emulate):
    client = emulate(SETTINGS)

    reply = download(client, model=f"https://huggingface.co/{EGRET.key}", quantization="Q8_0").json()
    client.advance(10)

    assert status(client, reply["job_id"]).json()["status"] == "completed"
    assert client.get("/api/v1/models").json()["models"][-1]["selected_variant"] == f"{EGRET.key}@q8_0"
    assert download(client, quantization="Q8_0").json()["error"]["param"] == "quantization"


@pytest.mark.parametrize("end", ["paused", "failed"])
def test_l15_a_download_can_be_told_to_stop_halfway(emulate, end):
    client = emulate(SETTINGS)
    client.set_faults(download=end)
    job_id = download(client).json()["job_id"]
    client.advance(100)

    body = status(client, job_id).json()

    assert (body["status"], body["downloaded_bytes"]) == (end, 500)
    assert "completed_at" not in body
    assert EGRET.key not in keys(client)


def test_l15_a_failed_download_can_be_begun_again(emulate):
    client = emulate(SETTINGS)
    client.set_faults(download="failed", times=1)
    first = download(client).json()["job_id"]
    client.advance(5)
    second = download(client).json()["job_id"]
    client.advance(10)

    assert (status(client, first).json()["status"], status(client, second).json()["status"]) == ("failed", "completed")


def test_l15_unknown_jobs_and_models_are_404(client):
    job, model = status(client, "job_0000000000"), download(client, model="nobody/nothing")

    assert (job.status_code, job.json()["error"]["type"]) == (404, "job_not_found")
    assert (model.status_code, model.json()["error"]["code"]) == (404, "model_not_found")
