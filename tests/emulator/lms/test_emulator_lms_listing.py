"""L24: `ls` and `ps`."""

import json

import pytest

from lmroute.emulator.catalog import SCRIPTED, Model
from lmroute.emulator.settings import Loaded, Settings
from lmroute.emulator.versions import PROFILES

TERN, HERON, WREN = (model.key for model in SCRIPTED[:3])


def test_ls_lists_what_is_on_disk(lms, seen):
    run = lms()

    models = seen(run("ls", "--json"), "lms_ls")
    assert [model["modelKey"] for model in models] == [model.key for model in SCRIPTED]
    assert {model["type"] for model in seen(run("ls", "--json", "--llm"), "lms_ls")} == {"llm"}
    assert [model["modelKey"] for model in seen(run("ls", "--embedding", "--json"), "lms_ls")] == [WREN]
    assert [model["modelKey"] for model in seen(run("ls", HERON.upper(), "--json"), "lms_ls")] == [HERON]


def test_ls_says_safetensors_where_the_http_api_says_mlx(lms, seen):
    run = lms(Settings(models=(Model("a/gull", format="mlx"), Model("a/gannet"))))

    assert [model["format"] for model in seen(run("ls", "--json"), "lms_ls")] == ["safetensors", "gguf"]


def test_ls_has_the_fields_of_an_embedding_model_for_one(lms, seen):
    (model,) = seen(lms()("ls", "--json", "--embedding"), "lms_ls")

    assert model.keys().isdisjoint({"vision", "trainedForToolUse", "architecture"})


def test_ls_variants_lists_each_model_with_its_variants(lms):
    code, out, _ = lms()("ls", "--variants", "--json", "--llm")

    first = json.loads(out)[0]
    assert (code, first["model"]["modelKey"]) == (0, TERN)
    assert [variant["selectedVariant"] for variant in first["variants"]] == [SCRIPTED[0].variant]


def test_ps_of_nothing_is_an_empty_list(lms, seen):
    assert seen(lms(Settings(loaded=()))("ps", "--json"), "lms_ps") == []


def test_ps_tells_window_ttl_and_queue(lms, seen):
    run = lms(Settings(loaded=(Loaded(WREN),)))
    assert run("load", HERON, "-y", "-c", "2048", "--parallel", "2", "--ttl", "90", "--identifier", "mine")[0] == 0

    wren, mine = seen(run("ps", "--json"), "lms_ps")
    assert (wren["parallel"], wren["ttlMs"]) == (None, None)
    told = {"identifier": "mine", "modelKey": HERON, "contextLength": 2048, "parallel": 2, "ttlMs": 90_000}
    assert told.items() <= mine.items()
    assert (mine["status"], mine["queued"]) == ("idle", 0)


@pytest.mark.parametrize(("profile", "lacks"), [("0.3.5", {"status", "queued", "parallel"}), ("0.3.31", {"parallel"})])
def test_older_releases_tell_less(lms, profile, lacks):
    run = lms(Settings(version=PROFILES[profile]))

    (item,) = json.loads(run("ps", "--json")[1])
    assert lacks.isdisjoint(item)
    assert {"status", "queued"} - lacks <= item.keys()
    assert run("load", TERN, "--parallel", "2")[0] == 1
    assert run("daemon", "status", "--json")[0] == 1


def test_people_get_lines(lms):
    run = lms()

    assert run("ps")[1] == f"{TERN}  idle  4096 tokens\n"
    assert run("ls")[1].splitlines()[0] == f"{TERN}  2.00 GB"
    assert run("server", "status")[2].startswith("The server is running on port ")
