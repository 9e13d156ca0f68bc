"""L24: `load`, `unload` and `get`."""

import pytest

from lmroute.emulator.catalog import SCRIPTED, Model
from lmroute.emulator.settings import Faults, Loaded, Settings

TERN, HERON, WREN = (model.key for model in SCRIPTED[:3])
FAST = 10**12


def test_each_load_makes_another_copy(lms, identifiers):
    run = lms()

    codes = [run("load", TERN, "--yes")[0] for _ in range(2)]

    assert codes == [0, 0]
    assert identifiers(run) == [TERN, f"{TERN}:2", f"{TERN}:3"]


def test_a_key_is_matched_loosely_and_yes_takes_the_first(lms, identifiers):
    run = lms()

    code, out, told = run("load", "heron", "-y")

    assert (code, out) == (0, "")
    assert HERON in told
    assert identifiers(run) == [TERN, HERON]


@pytest.mark.parametrize("key", [HERON, "rookery/Heron-8B-Instruct-GGUF/heron-8b-instruct-q4_k_m.gguf"])
def test_exact_takes_whole_names_only(lms, key, identifiers):
    run = lms()

    assert run("load", "heron", "--exact", "--yes")[0] == 1
    assert run("load", key, "--exact")[0] == 0
    assert identifiers(run) == [TERN, HERON]


def test_several_matches_are_asked_about(lms, identifiers):
    run = lms()

    code, _, told = run("load", "rookery", stdin="nonsense\n99\n2\n")

    assert (code, identifiers(run)) == (0, [TERN, HERON])
    assert told.count("a number from 1 to") == 2


def test_where_nobody_answers_the_question_ends(lms):
    code, _, told = lms()("load", "rookery")

    assert code == 1
    assert "--yes" in told


def test_no_match_with_yes_is_exit_code_1(lms):
    code, out, told = lms()("load", "bustard-70b", "--yes")

    assert (code, out) == (1, "")
    assert "no model on disk matches 'bustard-70b'" in told


def test_a_load_that_fails_is_told_in_the_emulator_s_words(lms):
    code, _, told = lms(Settings(faults=Faults(load_failure=True)))("load", HERON, "-y")

    assert code == 1
    assert "insufficient system resources" in told


def test_unload_by_identifier_and_all(lms, identifiers):
    run = lms(Settings(loaded=(Loaded(TERN), Loaded(HERON, "mine"), Loaded(WREN))))

    assert run("unload", "mine")[0] == 0
    assert identifiers(run) == [TERN, WREN]
    assert run("unload", "--all")[0] == 0
    assert identifiers(run) == []
    assert run("unload", "-a")[0] == 0


def test_unloading_what_is_not_there_prints_an_error_and_ends_with_0(lms, identifiers):
    run = lms()

    code, _, told = run("unload", TERN.upper())

    assert code == 0
    assert told.startswith("Error: ")
    assert identifiers(run) == [TERN]


def test_get_downloads(lms, seen):
    run = lms(Settings(downloadable=(Model("a/gull-1b"),), download_bytes_per_s=FAST))

    assert run("get", "a/gull-1b", "-y")[0] == 0
    assert seen(run("ls", "a/gull-1b", "--json"), "lms_ls")
    assert "on disk already" in run("get", "A/Gull-1b@q4_k_m")[2]
    assert run("get", "a/nothing", "-y")[0] == 1


def test_get_asks_unless_told_not_to(lms):
    run = lms(Settings(downloadable=(Model("a/gull-1b"),), download_bytes_per_s=FAST))

    assert [run("get", "a/gull-1b", stdin=answer)[0] for answer in ("", "n\n", "y\n")] == [1, 1, 0]


@pytest.mark.parametrize("end", ["failed", "paused"])
def test_a_download_that_does_not_end_well_is_exit_code_1(lms, end):
    offered = (Model("a/gull-1b"),)
    run = lms(Settings(downloadable=offered, download_bytes_per_s=FAST, faults=Faults(download=end)))

    code, _, told = run("get", "a/gull-1b", "-y")

    assert code == 1
    assert end in told
