"""Each fact that changes is told in words, once, with its weight."""

from dataclasses import replace

import pytest

from lmroute.lock import Instance, Kind, LockedModel, LockedProvider, Weight, differences

TERN = LockedModel("tern", max_context_window=32768, tools=True, vision=False, quantization="Q4", reasoning=("off",))
LOCKED = LockedProvider(
    "lmstudio",
    "2026-03-01T09:30:00Z",
    "http://127.0.0.1:1234",
    "lmstudio-v1",
    paths={"/v1/responses": True, "/v1/messages": False, "/api/v1/chat": None},
    loads_on_demand=True,
    models=(TERN, LockedModel("wren", kind=Kind.EMBEDDING)),
    answers={"auto": "tern", "nobody": None},
    loaded=(Instance("tern", "tern", 16384, 4),),
)
DRIFT, MORE, NOW = Weight.DRIFT, Weight.MORE, Weight.NOW


def tern(**fields):
    return {"models": (replace(TERN, **fields), LOCKED.models[1])}


def loaded(**fields):
    return {"loaded": (replace(LOCKED.loaded[0], **fields),)}


def paths(**changed):
    return {"paths": {**LOCKED.paths, **{path.replace("_", "/"): has for path, has in changed.items()}}}


CHANGES = [
    ({"type": "vllm"}, "box: type lmstudio -> vllm", DRIFT),
    ({"endpoint": None}, "box: endpoint http://127.0.0.1:1234 -> not told", DRIFT),
    ({"api": "lmstudio-v0"}, "box: API level lmstudio-v1 -> lmstudio-v0", DRIFT),
    ({"loads_on_demand": False}, "box: models no longer load when a request names them (just in time)", DRIFT),
    (
        {"state": "degraded", "error_code": "model_not_found"},
        "box: state healthy -> degraded (model_not_found)",
        DRIFT,
    ),
    (paths(_v1_responses=False), "box: /v1/responses is gone", DRIFT),
    (paths(_v1_messages=True), "box: /v1/messages is there now", MORE),
    (paths(_api_v1_chat=True), "box: /api/v1/chat is there now", MORE),
    ({"models": (TERN,)}, "box: 'wren' is gone", DRIFT),
    ({"models": (*LOCKED.models, LockedModel("owl"))}, "box: 'owl' is new", MORE),
    (tern(quantization="Q8"), "box: 'tern' quantization Q4 -> Q8", DRIFT),
    (tern(format="gguf"), "box: 'tern' format not told -> gguf", MORE),
    (tern(tools=False), "box: 'tern' calls tools yes -> no", DRIFT),
    (tern(vision=True), "box: 'tern' sees images no -> yes", DRIFT),
    (tern(tools=None), "box: 'tern' calls tools yes -> not told", MORE),
    (tern(reasoning=("on", "off")), "box: 'tern' settings of reasoning [off] -> [off, on]", DRIFT),
    (tern(max_context_window=8192), "box: 'tern' largest window 32768 -> 8192", DRIFT),
    (tern(context_window=8192), "box: 'tern' window not told -> 8192", MORE),
    (tern(kind=Kind.OTHER), "box: 'tern' kind chat -> other", DRIFT),
    (loaded(context_window=4096), "box: 'tern' window 16384 -> 4096", DRIFT),
    (loaded(parallel=1), "box: 'tern' predictions at once 4 -> 1", DRIFT),
    (loaded(parallel=None), "box: 'tern' predictions at once 4 -> not told", MORE),
    ({"loaded": ()}, "box: 'tern' is not loaded now", NOW),
    ({"loaded": (*LOCKED.loaded, Instance("tern:2", "tern", 2048))},
     "box: 'tern:2' is loaded now, with a window of 2048", NOW),
    ({"answers": {**LOCKED.answers, "auto": "owl"}}, "box: 'auto' means owl now; it was tern", NOW),
    ({"answers": {**LOCKED.answers, "auto": None}}, "box: 'auto' is answered by nobody now; it was by tern", DRIFT),
    ({"answers": {**LOCKED.answers, "nobody": "wren"}}, "box: 'nobody' is answered now, by wren", MORE),
]  # fmt: skip


@pytest.mark.parametrize(("change", "line", "weight"), CHANGES, ids=[line for _, line, _ in CHANGES])
def test_a_change_is_told_once_in_words(change, line, weight):
    (found,) = differences("box", LOCKED, replace(LOCKED, **change))
    assert (str(found), found.weight) == (line, weight)


@pytest.mark.parametrize(
    "change",
    [
        {"taken": "2027-01-01T00:00:00Z"},
        {"loads_on_demand": None},
        paths(_v1_responses=None),
        {"answers": {**LOCKED.answers, "later": "tern"}},
    ],
    ids=str,
)
def test_the_time_and_what_is_not_told_for_once_are_no_difference(change):
    assert differences("box", LOCKED, replace(LOCKED, **change)) == ()


def test_the_order_of_settings_is_none():
    one, two = (replace(LOCKED, **tern(reasoning=order)) for order in (("off", "on"), ("on", "off")))
    assert differences("box", one, two) == ()


def test_a_recovery_is_no_drift():
    (found,) = differences("box", replace(LOCKED, state="degraded"), LOCKED)
    assert found.weight is MORE
