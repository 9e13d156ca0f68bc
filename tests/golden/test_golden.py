"""The golden cases: ``<code>/<case>/`` holds what a user wrote and, to the letter, what ``lmroute validate`` prints.

``overrides.txt`` is the command line, one word a line; ``conf/`` is the user's own configuration folder. In
``expected.txt``, ``<conf>`` stands for the shipped folder and N for a number of files. To add a case, add a folder and
see what the test says it prints. ``v1/`` is the compatibility corpus of the schemas, which tests/schemas reads.
"""

import re
from pathlib import Path

import pytest

from lmroute.cli import main
from lmroute.config import paths
from lmroute.validate.table import RULES

HERE = Path(__file__).parent
CASES = sorted(folder for code in HERE.glob("LMR*") for folder in code.iterdir() if folder.is_dir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_a_case_prints_what_it_expects(case, monkeypatch, capsys):
    monkeypatch.chdir(case)
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(case / "conf"))
    for name in ("OPENAI_API_KEY", "GITHUB_ACTIONS", "LMROUTE_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    code = main(["validate", *words(case)])
    printed = capsys.readouterr().out.replace(str(paths.shipped("conf")), "<conf>")
    printed = re.sub(r"<conf>\S+", lambda path: path[0].replace("\\", "/"), printed)
    printed = re.sub(r"\bin \d+ files", "in N files", printed)  # also the shipped ones
    assert printed == (case / "expected.txt").read_text(encoding="utf-8")
    assert code == int(" error" in printed.splitlines()[-1])
    assert case.parent.name in printed


def words(case):
    return (case / "overrides.txt").read_text(encoding="utf-8").splitlines()


def test_every_rule_that_needs_no_server_has_a_case():
    offline = {code for code, rule in RULES.items() if not rule.of_server}
    assert {case.parent.name for case in CASES} == offline
