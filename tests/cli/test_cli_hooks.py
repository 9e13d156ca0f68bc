"""The pre-commit hooks: those that this repository offers, and the one that `lmroute init` writes."""

import os
import re
import subprocess
import sys
from argparse import ArgumentParser
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from lmroute.cli import VERBS, main
from lmroute.config import paths
from lmroute.scaffold.pieces import pieces

ROOT = Path(__file__).parents[2]
OFFERED = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
(WRITTEN,) = (yaml.safe_load(piece.text) for piece in pieces() if piece.name == ".pre-commit-config.yaml")
HOOKS = {f"offered {hook['id']}": hook for hook in OFFERED}
HOOKS |= {f"written {hook['id']}": hook for repository in WRITTEN["repos"] for hook in repository["hooks"]}

CONFIGURATION = [
    *(piece.name for piece in pieces() if piece.name.startswith("conf/") and piece.name.endswith(".yaml")),
    *(file.relative_to(paths.shipped("conf").parent).as_posix() for file in paths.shipped("conf").rglob("*.yaml")),
    "conf/provider/wrong_suffix.yml",
    "conf/provider/cloud/mine.yaml",
]
OTHERS = [
    ".pre-commit-config.yaml",
    ".github/workflows/lmroute.yml",
    ".lmroute/schemas/provider.schema.json",
    "README.md",
    "conf/provider/notes.md",
    "config/provider/x.yaml",
    "other/conf.yaml",
    "docs/conf/x.yaml",
]


@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)
def test_a_hook_runs_for_configuration_and_for_nothing_else(hook):
    wanted = re.compile(hook["files"])
    assert [name for name in CONFIGURATION if not wanted.search(name)] == []  # pre-commit searches, from the root
    assert [name for name in OTHERS if wanted.search(name)] == []


@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)
def test_a_hook_calls_a_verb_with_options_that_it_has(hook):
    program, verb, *options = hook["entry"].split()
    assert (program, verb in VERBS) == ("lmroute", True)
    assert hook["pass_filenames"] is False  # they would be taken for overrides
    parser = ArgumentParser()
    import_module(f"lmroute.cli.{verb}").add_arguments(parser)
    parser.parse_args(options)


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A new project in a git repository, everything staged."""
    made = tmp_path / "project"
    made.mkdir()
    monkeypatch.chdir(made)
    git("init", "--quiet")
    assert main(["init"]) == 0
    return made


def git(*words):
    subprocess.run(["git", *words], check=True, capture_output=True)


def hook(tmp_path):
    """What pre-commit says about what is staged, and its exit code; it can fetch nothing."""
    git("add", "--all")
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "run"],
        env={
            **{name: value for name, value in os.environ.items() if name != "GITHUB_ACTIONS"},
            "PATH": programs,
            "PYTHONPATH": str(ROOT),
            "PRE_COMMIT_HOME": str(tmp_path / "pre-commit"),
            "PIP_NO_INDEX": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_pre_commit_lets_good_configuration_through_and_stops_a_misspelt_key(project, tmp_path):
    code, said = hook(tmp_path)
    assert (code, "Passed" in said) == (0, True), said
    profile = project / "conf" / "provider" / "my_server.yaml"
    profile.write_text(profile.read_text(encoding="utf-8").replace("models:", "modles:"), encoding="utf-8")
    code, said = hook(tmp_path)
    assert (code, "Failed" in said) == (1, True), said
    assert re.search(r"conf/provider/my_server\.yaml:\d+:1: LMR102 .*modles", said)


@pytest.mark.slow
def test_pre_commit_finds_the_offered_hooks_well_formed():
    manifest = [sys.executable, "-m", "pre_commit", "validate-manifest", str(ROOT / ".pre-commit-hooks.yaml")]
    done = subprocess.run(manifest, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
