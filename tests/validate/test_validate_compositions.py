"""Command lines that nobody could check to the end: files without end, sweeps without end."""

import pytest

from lmroute.config.compose import TooManyJobs, jobs
from lmroute.errors import LmrouteError
from lmroute.validate import compositions
from lmroute.validate.compositions import MOST_JOBS, asked
from lmroute.validate.files import discover
from lmroute.validate.sampling import endless
from lmroute.validate.selection import Request, run

_STEPS = "".join(
    f"{c}: &{c} [{', '.join([f'*{b}' if b else 'x'] * 9)}]\n" for b, c in zip(["", *"abcdefg"], "abcdefgh", strict=True)
)
BOMB = f"# @package providers.mine\n{_STEPS}"


@pytest.fixture
def never_composed(monkeypatch):
    """A profile ``mine`` would hang whoever composes it, so nobody may."""

    def compose(words):
        raise AssertionError(words)

    monkeypatch.setattr(compositions, "compose", compose)


@pytest.mark.parametrize(
    ("words", "multirun"),
    [
        (("provider=mine",), False),
        (("seed=3", "provider=[lmstudio,'mine']"), False),
        (("+experiment=b",), False),
        (("provider=mine", "seed=1,2"), True),
        (("+experiment=grid",), True),
    ],
)
def test_a_file_without_end_is_told_and_never_composed(words, multirun, overlay, never_composed):
    overlay(provider__mine=BOMB, experiment__b="# @package _global_\ndefaults:\n  - override /provider: mine\n")
    overlay(experiment__grid="# @package _global_\nhydra: {sweeper: {params: {provider: mine}}}\n")
    report = run(Request(overrides=words, multirun=multirun))
    assert [(found.code, found.location.file) for found in report.diagnostics] == [("LMR001", "own/provider/mine.yaml")]
    assert "more than 100000 values" in report.diagnostics[0].message


def test_a_command_line_that_leaves_it_out_is_composed(overlay):
    overlay(provider__mine=BOMB)
    [hung] = asked(["provider=mine"], multirun=True)
    [good] = asked(["provider=lmstudio"], multirun=True)
    assert hung.composition is None
    assert good.composition is not None


@pytest.mark.parametrize(
    "words",
    [["provider=lmstudio"], [], ["seed=3", "question=mine"], ["~experiment=mine"], ["+experiment=b", "provider=vllm"]],
)
def test_a_file_that_is_only_mentioned_keeps_nothing_from_being_composed(words, overlay):
    overlay(provider__mine=BOMB, experiment__b="# @package _global_\ndefaults:\n  - override /provider: mine\n")
    assert endless(discover(), words) == []


@pytest.mark.parametrize(
    "words",
    [
        ["task.limit=range(1,100000)"],
        ["task.limit=range(1,1000000000000)"],
        ["task.limit=shuffle(range(1,1000000000000))"],
        ["seed=range(0,40)", "task.limit=range(1,40)"],
    ],
)
def test_a_sweep_without_end_is_refused_before_it_is_expanded(words):
    with pytest.raises(LmrouteError, match=f"more than {MOST_JOBS} jobs; at most {MOST_JOBS} are checked: narrow it"):
        list(asked(words, multirun=True))


def test_as_many_jobs_as_are_allowed_are_expanded():
    assert len(jobs(["seed=range(0,3)", "task.limit=1,2"], most=6)) == 6
    with pytest.raises(TooManyJobs):
        jobs(["seed=range(0,3)", "task.limit=1,2"], most=5)
    assert len(jobs(["seed=range(0,9)", "seed=1,2"], most=2)) == 2  # the last word for a key counts


def test_an_experiment_that_sweeps_too_much_is_judged_without_its_sweep(overlay):
    text = "# @package _global_\nsed: 1\nhydra: {sweeper: {params: {seed: 'range(0,1000000000)'}}}\n"
    overlay(experiment__grid=text)
    report = run(Request())
    assert {(found.code, found.location.file) for found in report.diagnostics} == {
        ("LMR102", "own/experiment/grid.yaml")
    }


def test_whoever_waits_is_told_how_many_jobs_there_are():
    told = []
    assert len(list(asked(["seed=1,2"], multirun=True, progress=told.append))) == 2
    list(asked(["seed=1"], multirun=True, progress=told.append))
    assert told == [2]
