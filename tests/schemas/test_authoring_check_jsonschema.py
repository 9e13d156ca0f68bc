"""A checker that knows nothing of lmroute agrees with it, file by file, through the authoring schemas alone."""

import json
import subprocess
import sys

import pytest

from lmroute.config.authoring import GROUPS
from lmroute.config.paths import shipped
from lmroute.config.schema import POLICY_TEST

from .corpus import files, group_of, shipped_files

pytestmark = pytest.mark.slow


def of_group(group, parameters):
    return [file for parameter in parameters for file in parameter.values if group_of(file) == group]


def refused(group, checked):
    """The files among some of one group that check-jsonschema finds fault with; it reads YAML 1.2."""
    folder = shipped("schemas") / "v1"
    schema = (folder if group == POLICY_TEST else folder / "authoring") / f"{group}.schema.json"
    command = [sys.executable, "-m", "check_jsonschema", "--output-format", "json", "--schemafile", str(schema)]
    done = subprocess.run([*command, *map(str, checked)], capture_output=True, encoding="utf-8", check=False)
    verdict = json.loads(done.stdout)
    assert verdict["parse_errors"] == []
    assert done.returncode == bool(verdict["errors"]), done.stderr
    return {error["filename"] for error in verdict["errors"]}


@pytest.mark.parametrize("group", [*GROUPS, POLICY_TEST])
def test_it_accepts_and_refuses_the_files_that_we_do(group):
    good = of_group(group, [*files("valid"), *shipped_files()])
    bad = of_group(group, files("invalid"))
    assert good
    assert bad
    assert refused(group, [*good, *bad]) == {str(file) for file in bad}
