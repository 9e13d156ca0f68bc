"""An emulator and its ``lms``, run in this process."""

import io
import json
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from lmroute.emulator.lms.address import VARIABLE
from lmroute.emulator.lms.commands import main

SCHEMAS = Path(__file__).parents[3] / "schemas" / "lmstudio"


@pytest.fixture
def lms(emulate, capsys, monkeypatch):
    """An emulator and its ``lms``: ``lms(settings)`` gives ``run(*words, stdin="") -> (exit code, stdout, stderr)``."""

    def start(settings=None):
        monkeypatch.setenv(VARIABLE, str(emulate(settings).base_url))

        def run(*words, stdin=""):
            monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
            capsys.readouterr()
            try:
                code = main(words)
            except SystemExit as ended:
                code = ended.code
            return code, *capsys.readouterr()

        return run

    return start


@pytest.fixture(scope="session")
def valid():
    """Holds a value to one of the schemas of what the real one prints: ``valid(value, name) -> value``."""

    def check(value, name):
        rules = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
        Draft202012Validator(rules).validate(value)
        return value

    return check


@pytest.fixture(scope="session")
def seen(valid):
    """What a command printed with --json, and nothing besides: ``seen(run(...), name of its schema)``."""

    def read(done, schema):
        code, out, told = done
        assert (code, told) == (0, "")
        return valid(json.loads(out), schema)

    return read


@pytest.fixture(scope="session")
def identifiers(seen):
    """What is in memory: ``identifiers(run)``."""
    return lambda run: [item["identifier"] for item in seen(run("ps", "--json"), "lms_ps")]
