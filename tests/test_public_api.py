"""What ``import lmroute`` offers, and what it costs."""

import ast
import importlib.metadata
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import lmroute

PROJECT = Path(__file__).resolve().parents[1]
HEAVY = ("dspy", "litellm", "hydra", "omegaconf", "httpx", "httpcore", "pydantic", "yaml")
NAMES = sorted(set(lmroute.__all__) - {"__version__"})


def imported_after(code):
    """Top-level modules that are loaded after running ``code`` in a fresh process."""
    source = f"{code}\nimport json, sys; print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    path = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", source],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=60,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def type_checking_homes():
    """Where a type checker is told that each name lives."""
    tree = ast.parse(Path(lmroute.__file__).read_text(encoding="utf-8"))
    [guard] = [node for node in tree.body if isinstance(node, ast.If)]
    return {alias.name: node.module for node in guard.body for alias in node.names}


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_comes_from_its_home(name):
    assert getattr(lmroute, name).__module__ == type_checking_homes()[name]
    assert name in dir(lmroute)


def test_types_and_run_time_offer_the_same_names():
    assert set(type_checking_homes()) == set(NAMES)
    assert set(lmroute._HOMES) == set(NAMES)


def test_star_import_works():
    code = "from lmroute import *; assert issubclass(ConfigError, LmrouteError)"
    try:
        importlib.metadata.version("lmroute")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("lmroute is not installed here, only on the path, so it has no version")
    assert "dspy" in imported_after(code)


def test_the_version_is_the_projects():
    try:
        installed = importlib.metadata.version("lmroute")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("lmroute is not installed here, only on the path, so it has no version")
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert lmroute.__version__ == installed == project["version"]


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'lmroute' has no attribute 'lod'"):
        lmroute.lod  # noqa: B018 - the access is the test


def test_importing_the_package_loads_nothing_heavy():
    loaded = imported_after("import lmroute")
    assert "lmroute" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_errors_and_records_need_no_third_party():
    loaded = imported_after("import lmroute; lmroute.ConfigError; lmroute.LmrouteError; lmroute.JsonlSink")
    assert loaded.isdisjoint(HEAVY)


def test_checking_a_configuration_loads_no_llm_library():
    loaded = imported_after("from lmroute import validate; validate.check(['provider=[lmstudio,openai]'])")
    assert "hydra" in loaded
    assert loaded.isdisjoint({"dspy", "litellm", "httpx", "httpcore"})
