"""What is found out before a folder is made and a model is asked."""

import json
import sys
from pathlib import Path

import pytest

from lmroute import validate
from lmroute.errors import ConfigError, DataError
from lmroute.experiments import preflight


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch, tmp_path):
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "ANTHROPIC_API_KEY", "LM_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def findings(*jobs):
    with pytest.raises(ConfigError) as raised:
        preflight.check(jobs)
    return raised.value.diagnostics


def test_a_key_is_missing_of_a_provider_that_the_policy_may_choose():
    [finding] = findings(["provider=[openai,embedded]"])
    assert (finding.code, finding.key) == ("LMR401", "providers.openai.auth_token")
    assert finding.location.file.endswith("openai.yaml")
    assert finding.message.startswith("environment variable OPENAI_API_KEY is not set")
    assert finding.help == "without openai: provider=[embedded]"


@pytest.mark.parametrize(
    "job",
    [
        ["provider=[openai,embedded]", "routing=local_only"],
        ["provider=[openai,embedded]", "+providers.openai.enabled=false"],
        ["provider=[lmstudio,embedded]"],
        [
            "provider=[openai,embedded]",
            "routing=cloud_first",
            "providers.openai.auth_token={env: [NO_SUCH, HOME_OF_KEY]}",
        ],
    ],
    ids=["the policy never gets there", "it is switched off", "it is optional", "another variable has it"],
)
def test_a_key_that_is_not_needed_is_not_asked_for(job, monkeypatch):
    monkeypatch.setenv("HOME_OF_KEY", "k-123456")
    preflight.check([job])


def test_the_only_provider_cannot_be_left_out_so_another_one_is_named():
    [finding] = findings(["provider=openai"])
    assert finding.help == "without openai: provider=[embedded]"


def test_either_of_two_variables_will_do(monkeypatch):
    assert "GEMINI_API_KEY or GOOGLE_API_KEY" in findings(["provider=gemini"])[0].message
    monkeypatch.setenv("GOOGLE_API_KEY", "k-123456")
    preflight.check([["provider=gemini"]])


def profile(folder, name, auth_token):
    """A cloud profile of the user's own."""
    keys = {"id": name, "type": "openai", "models": ["gpt-4.1-mini"], "auth_token": auth_token}
    (folder / "provider").mkdir(parents=True, exist_ok=True)
    text = f"# @package providers.{name}\n{json.dumps(keys)}\n"
    (folder / "provider" / f"{name}.yaml").write_text(text, encoding="utf-8")


def test_a_key_file_is_looked_at_and_a_key_command_is_not_run(tmp_path, monkeypatch):
    profile(tmp_path / "own", "filed", {"file": "key"})
    profile(tmp_path / "own", "commanded", {"command": [sys.executable, "-c", "open('ran', 'w')"]})
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(tmp_path / "own"))
    file, job = Path("key"), ["provider=filed"]
    assert "secret file key is missing or empty" in findings(job)[0].message
    file.write_text("k-123456", encoding="utf-8")
    file.chmod(0o644)
    if sys.platform != "win32":
        assert "chmod 600" in findings(job)[0].message
    file.chmod(0o600)
    preflight.check([job, ["provider=commanded"]])
    assert not Path("ran").exists()


def test_all_jobs_are_looked_at_and_a_finding_that_they_share_is_told_once():
    found = findings(
        ["provider=openai", "task.limit=1"],
        ["provider=openai", "task.limit=0"],
        ["provider=lmstudio"],
        ["provider=openai", "task.limit=2"],
        ["provider=nobody"],
    )
    assert [finding.code for finding in found] == ["LMR401", "LMR103", "LMR201"]


def test_every_jobs_data_is_looked_at():
    with pytest.raises(DataError, match=r"none\.csv: no such data file"):
        preflight.check([["provider=embedded"], ["provider=embedded", "task=qa", "task.data=none.csv"]])


def test_the_rows_of_a_task_are_its_sample(tmp_path):
    (tmp_path / "mine.csv").write_text("text,label\n" + "".join(f"{n},positive\n" for n in range(50)), encoding="utf-8")

    def rows(*overrides):
        return preflight.rows_of(validate.load(["provider=embedded", "task.data=mine.csv", *overrides]), tmp_path)

    assert len(rows()) == 50
    assert len(rows("task.limit=5")) == 5
    assert rows("task.limit=5") == rows("task.limit=5", "provider=lmstudio") != rows("task.limit=5", "seed=1")


def test_a_question_is_one_row_without_a_file(tmp_path):
    [row] = preflight.rows_of(validate.load(["task=ask", "question=Why?"]), tmp_path)
    assert (row.line, row.inputs, row.expected) == (0, {"question": "Why?"}, {})
