"""Every program in ``examples/`` runs and prints what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lmroute.providers.embedded import ensure_weights

ROOT = Path(__file__).parents[1]
PROGRAMS = {file.stem: file for file in (ROOT / "examples").glob("*.py")}
PRINTS = {
    "sentiment_program": r"(?:(?:posi|nega)tive +\w+/\S+ +The soup .*\n(?:posi|nega)tive +\w+/\S+ +What a .*\n)",
    "async_program": r"What colour is the sky .*\? \S[\s\S]*\nHow many legs does a spider have\? \S[\s\S]*\n",
    "streaming": r"[\s\S]*\S[\s\S]*\n\([1-9]\d* pieces\)\n",
    "optimiser": r"before \d+\.\d, after \d+\.\d with [12] demonstrations\n",
    "two_modules": r"(?:\w.*\n  (?:billing|technical): [\s\S]*?  small_steps \S+\n  writing     \S+\n){2}",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_an_example_runs(name, tmp_path):
    ensure_weights()
    nobody = {"LMROUTE_CONFIG_HOME": str(tmp_path / "nobody"), "DSPY_CACHEDIR": str(tmp_path / "dspy")}
    done = subprocess.run(
        [sys.executable, str(PROGRAMS[name])],
        cwd=tmp_path,
        env={**os.environ, **nobody, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    *before, last = done.stdout.splitlines(keepends=True)
    shown = last if name == "optimiser" else "".join([*before, last])  # DSPy draws its progress on stdout
    assert re.fullmatch(PRINTS[name], shown), done.stdout


def test_every_example_is_known_here():
    assert PROGRAMS.keys() == PRINTS.keys()
