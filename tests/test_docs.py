"""What README says is so."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lmroute.cli import VERBS
from lmroute.config.paths import options

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_opening_example_prints_what_it_shows(tmp_path: Path) -> None:
    command, shown = re.search(r"\$ python (run\.py .*)\n((?:.+\n)+)```", README).groups()
    env = {**os.environ, "LMROUTE_CONFIG_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *command.split()[1:]],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", shown)


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("verb", sorted(set(re.findall(r"`lmroute (\w+)", README))))
def test_verbs_exist(verb: str) -> None:
    assert verb in VERBS


@pytest.mark.parametrize(
    ("group", "choice"),
    [
        (group, choice)
        for group, choices in re.findall(r"\b(provider|routing|task|adapter)=\[?([a-z_,]+)(?![a-z_.,])", README)
        for choice in choices.split(",")
        if choice != "lmstudo"
    ],
)
def test_choices_exist(group: str, choice: str) -> None:
    assert choice in options(group)


@pytest.mark.parametrize("target", re.findall(r"make (\w+)", README))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
