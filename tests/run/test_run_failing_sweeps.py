"""A sweep whose jobs fail says what each of them said, and nothing of Hydra's."""

import pytest

TOLD = "not all jobs of the sweep succeeded; what they said stands above"


@pytest.mark.parametrize(
    "launcher", [(), pytest.param(("hydra/launcher=joblib",), marks=pytest.mark.slow)], ids=["basic", "joblib"]
)
def test_each_job_is_told_once_and_hydra_is_silent(run, launcher):
    if launcher:
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    done = run("-m", *launcher, "provider=lmstudio", run.nobody(), "task.limit=1,2")
    assert done.code == 2
    assert "Error executing job" not in done.err
    assert "Traceback" not in done.err
    assert "HYDRA_FULL_ERROR" not in done.err
    assert [f"{rows} of {rows} rows got no answer" in done.err for rows in (1, 2)] == [True, True]
    assert done.err.rstrip().endswith(TOLD)


def test_a_mistake_costs_no_import_of_dspy(run):
    done = run("provider=opena", PYTHONPROFILEIMPORTTIME="1")
    assert done.code == 1
    assert "did you mean 'openai'?" in done.err
    assert not [line for line in done.err.splitlines() if line.split("|")[-1].strip() in {"dspy", "litellm"}]
