"""Runs that go well: what is shown and what is left behind."""

import re
import stat
import sys
from importlib import metadata

import pytest


def is_installed(distribution: str) -> bool:
    try:
        return bool(metadata.version(distribution))
    except metadata.PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def three(runners, emulator):
    """The same command twice, and once more with four threads, all at once in one folder."""
    runner = runners(LMROUTE_OFFLINE="1", LM_API_TOKEN="sk-lm-abcdefgh:0123456789abcdefghij")
    words = runner.lmstudio(emulator, "task.limit=25")
    processes = [runner.start(*words, *more) for more in ((), (), ("task.threads=4",))]
    return [runner.finish(process) for process in processes]


@pytest.fixture(scope="module")
def good(three):
    return three[0]


def test_a_good_run_ends_with_0_and_complains_about_nothing(good):
    assert (good.code, good.err) == (0, "")


def test_it_says_first_what_was_chosen(good):
    pattern = (
        r"sentiment: 25 rows of examples/data/sentiment\.csv \| policy local_first@[0-9a-f]{8}"
        r" \| providers lmstudio \| adapter CompactAdapter"
    )
    assert re.fullmatch(pattern, good.out.splitlines()[0])


def test_it_shows_rows_in_a_table(good):
    lines = good.out.splitlines()
    assert lines[1].split() == ["input", "output", "provider", "model", "rule", "ms"]
    for line in lines[2:22]:
        assert re.fullmatch(r"(right|wrong) +\S.* (positive|negative) +lmstudio +\S+ +local +\d+", line)
    assert lines[22] == "... and 5 more rows in results.jsonl"


def test_it_says_how_good_that_is_and_who_answered(good):
    summary = good.summary
    low, high = summary["interval"]
    right = sum(line["right"] for line in good.results)
    assert (
        f"accuracy   {right / 25:.2f}  ({right} of 25 right, 95% interval {low:.2f} to {high:.2f}; "
        f"always answering {summary['baseline_answer']!r} gets {summary['baseline']:.2f})" in good.out
    )
    [(who, count)] = summary["by_provider"].items()
    assert count == 25
    assert f"answered   {who} 25" in good.out
    assert re.search(
        r"^took       [\d.]+ s, half of the rows within \d+ ms, 95% within \d+ ms$", good.out, re.MULTILINE
    )


def test_it_leaves_results_summary_and_call_records_in_hydras_folder(good):
    assert {file.name for file in good.folder.iterdir()} >= {"results.jsonl", "summary.json", "calls.jsonl", ".hydra"}
    assert not list(good.folder.glob("*.partial"))
    assert [good.summary[key] for key in ("rows", "answered", "unserved", "unusable")] == [25, 25, 0, 0]
    assert len(good.results) == 25
    assert [record["kind"] for record in good.calls] == ["attempt", "call"] * 25
    assert {record["status"] for record in good.calls} == {"ok"}


def test_its_records_hold_no_text_and_no_token_and_are_for_this_user_only(good):
    records = (good.folder / "calls.jsonl").read_text(encoding="utf-8")
    assert all(text not in records for line in good.results for text in line["inputs"].values())
    everything = "".join(file.read_text(encoding="utf-8") for file in good.folder.rglob("*") if file.is_file())
    assert "0123456789abcdefghij" not in everything
    if sys.platform != "win32":
        assert stat.S_IMODE((good.folder / "calls.jsonl").stat().st_mode) == 0o600
        assert stat.S_IMODE((good.folder / "results.jsonl").stat().st_mode) == 0o600


def test_it_writes_no_escape_sequence_into_a_pipe(good):
    assert "\x1b" not in good.out


def test_the_same_command_gives_the_same_answers_and_so_do_threads(three):
    first, second, threaded = three
    assert first.answers == second.answers == threaded.answers
    assert first.summary["stack"] == second.summary["stack"]


def test_runs_at_the_same_time_have_folders_of_their_own(three):
    assert len({one.folder for one in three}) == 3
    assert all(one.code == 0 for one in three)


def test_ones_own_data_with_answers_that_are_of_no_use(run, emulator):
    (run.folder / "mine.csv").write_text(
        "text,label\ngibberish one,positive\ngibberish two,negative\n", encoding="utf-8"
    )
    # Hydra would start the job in the run's folder; names are meant from where the user is all the same.
    done = run(*run.lmstudio(emulator, "task.data=mine.csv", "hydra.job.chdir=true"))
    assert done.code == 0
    assert done.out.startswith("sentiment: 2 rows of mine.csv |")
    assert "unusable   2 of 2 rows" in done.out
    assert re.search(r"^answered   lmstudio/.* 2$", done.out, re.MULTILINE)
    assert re.search(r"^none +gibberish one +unusable answer: ", done.out, re.MULTILINE)
    assert done.summary["accuracy"] == 0


def test_a_question(run, emulator):
    done = run(*run.lmstudio(emulator, "task=ask", "question=Why is the sky blue?"))
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith("ask: one question | policy local_first@")
    assert lines[1] == "Because of  [31mRayleigh[/b]."
    assert lines[2].startswith("answered   lmstudio/")
    assert "accuracy" not in done.out


def test_a_sweep_runs_every_combination(run, emulator):
    words = ("task=sentiment,extract", "adapter=compact,json", "task.limit=3")
    done = run("-m", *run.lmstudio(emulator, *words))
    assert done.code == 0
    assert [folder.name for folder in done.folders] == ["0", "1", "2", "3"]
    assert re.findall(r"^(\w+): 3 rows .* adapter (\w+)$", done.out, re.MULTILINE) == [
        ("sentiment", "CompactAdapter"),
        ("sentiment", "JSONAdapter"),
        ("extract", "CompactAdapter"),
        ("extract", "JSONAdapter"),
    ]
    assert done.providers == [["lmstudio"] * 3] * 4


def test_one_job_of_a_sweep_fails_and_the_others_run(run, emulator):
    _, _, nowhere = run.nobody().partition("=")
    done = run("-m", *run.lmstudio(f"{emulator},{nowhere}", "task.limit=2,1"))
    assert done.code == 2
    assert done.providers == [["lmstudio"] * 2, ["lmstudio"]]
    assert len(re.findall(r"^\d of \d rows got no answer .*connection refused", done.err, re.MULTILINE)) == 2
    assert done.err.splitlines()[-1] == "not all jobs of the sweep succeeded; what they said stands above"
    assert "Traceback" not in done.err


@pytest.mark.skipif(not is_installed("hydra-joblib-launcher"), reason="hydra-joblib-launcher is not installed")
def test_another_launcher(run, emulator):
    words = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "task.limit=3,4")
    done = run("-m", *run.lmstudio(emulator, *words))
    assert done.code == 0
    assert [len(run.so_far(f"multirun/*/*/{job}/results.jsonl")) for job in (0, 1)] == [3, 4]
