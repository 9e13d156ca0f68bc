"""The valid cases: ``cases/valid/<case>/`` holds what a user wrote and what it composes to.

``overrides.txt`` is the command line, one override a line; ``conf/`` the user's overlay; each line of ``expected.txt``
is ``key = JSON value`` of the composed document. What is wrong has its cases in tests/golden.
"""

import json
from pathlib import Path

import pytest

from lmroute.validate import load

CASES = sorted((Path(__file__).with_name("cases") / "valid").iterdir())


@pytest.fixture
def overrides(request, monkeypatch):
    """The command line of a case, standing in its folder with its overlay."""
    case = request.getfixturevalue("case")
    monkeypatch.chdir(case)
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(case / "conf"))
    return (case / "overrides.txt").read_text(encoding="utf-8").splitlines()


def expected(case):
    return (case / "expected.txt").read_text(encoding="utf-8").rstrip("\n")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_valid_case_composes_to_what_it_expects(case, overrides):
    document = load(overrides).document
    for line in expected(case).splitlines():
        key, _, value = line.partition(" = ")
        node = document
        for step in key.split("."):
            node = node[int(step)] if isinstance(node, list) else node[step]
        assert node == json.loads(value), key


def test_there_are_cases():
    assert len(CASES) >= 5
