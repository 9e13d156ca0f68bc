"""The golden cases: ``cases/{valid,invalid}/<case>/`` holds what a user wrote and what lmroute must say.

``overrides.txt`` is the command line, one override a line; ``conf/`` the user's overlay. For a valid case
each line of ``expected.txt`` is ``key = JSON value`` of the composed document; for an invalid one it is the
whole report, in which ``<conf>`` stands for the shipped folder.
"""

import json
import re
from pathlib import Path

import pytest

from lmroute.config import paths
from lmroute.errors import ConfigError
from lmroute.validate import load

CASES = Path(__file__).with_name("cases")


def cases(kind):
    return [pytest.param(case, id=case.name) for case in sorted((CASES / kind).iterdir())]


@pytest.fixture
def overrides(request, monkeypatch):
    """The command line of a case, standing in its folder with its overlay."""
    case = request.getfixturevalue("case")
    monkeypatch.chdir(case)
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(case / "conf"))
    return (case / "overrides.txt").read_text(encoding="utf-8").splitlines()


def expected(case):
    return (case / "expected.txt").read_text(encoding="utf-8").rstrip("\n")


@pytest.mark.parametrize("case", cases("valid"))
def test_a_valid_case_composes_to_what_it_expects(case, overrides):
    document = load(overrides).document
    for line in expected(case).splitlines():
        key, _, value = line.partition(" = ")
        node = document
        for step in key.split("."):
            node = node[int(step)] if isinstance(node, list) else node[step]
        assert node == json.loads(value), key


@pytest.mark.parametrize("case", cases("invalid"))
def test_an_invalid_case_is_reported_as_it_expects(case, overrides):
    with pytest.raises(ConfigError) as raised:
        load(overrides)
    report = str(raised.value).replace(str(paths.shipped("conf")), "<conf>")
    assert re.sub(r"<conf>\S+", lambda path: path[0].replace("\\", "/"), report) == expected(case)


def test_there_are_cases_of_both_kinds():
    assert len(cases("valid")) >= 5
    assert len(cases("invalid")) >= 10
