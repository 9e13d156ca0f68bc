"""Only what has changed, as git tells it."""

import os
import subprocess

import pytest

from lmroute.errors import LmrouteError
from lmroute.validate import changed, selection
from lmroute.validate.changed import changed_since
from lmroute.validate.selection import Request, run

CLEAN = "name: sentiment\ndata: x.csv\n"
SLIP = CLEAN + "limt: 1\n"
POLICY = "name: mine\nrules:\n  - name: all\n    use: [embedded, embeded]\n"


def git(folder, *words):
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], cwd=folder, env=own, check=True, capture_output=True)


@pytest.fixture
def repository(overlay, tmp_path, monkeypatch):
    """A repository whose folder own/ is the configuration, with one slip committed; the shipped files are in none."""
    folder = overlay(task__old=SLIP, task__clean=CLEAN)
    git(tmp_path, "init", "--initial-branch=main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message=x")
    monkeypatch.setattr(selection, "roots", lambda: (folder,))
    return folder


def told(**options):
    report = run(Request(**{"changed": "", **options}))
    return [(finding.code, finding.location.file) for finding in report.diagnostics], report.checked


def test_nothing_changed(repository):
    assert told() == ([], {"files": 0, "compositions": 0})
    assert told(files_only=True) == ([], {"files": 0, "compositions": 0})


@pytest.mark.parametrize("stage", [[], ["add", "."]])
def test_a_changed_and_a_new_file_and_no_other(repository, stage, overlay, tmp_path):
    overlay(task__clean=SLIP, routing__mine=POLICY)
    if stage:
        git(tmp_path, *stage)
    found, checked = told()
    assert found == [("LMR301", "own/routing/mine.yaml"), ("LMR102", "own/task/clean.yaml")]
    assert checked == {"files": 2, "compositions": 4}  # the defaults, the two, and the experiment, which may be any
    assert told(files_only=True) == ([("LMR102", "own/task/clean.yaml")], {"files": 2, "compositions": 0})


def test_a_command_line_has_findings_of_changed_files_only(repository, overlay):
    overlay(routing__mine=POLICY)
    assert told(overrides=("task=old", "routing=mine"))[0] == [("LMR301", "own/routing/mine.yaml")]


def test_against_another_commit(repository, overlay, tmp_path):
    overlay(task__clean=SLIP)
    git(tmp_path, "commit", "--all", "--message=y")
    assert told() == ([], {"files": 0, "compositions": 0})
    assert told(changed="HEAD~1")[0] == [("LMR102", "own/task/clean.yaml")]
    assert told(changed="main")[0] == []


def test_an_ignored_file_is_not_new(repository, overlay, tmp_path):
    (tmp_path / ".gitignore").write_text("own/task/mine.yaml\n", encoding="utf-8")
    overlay(task__mine=SLIP)
    assert told()[0] == []


def test_a_file_that_is_gone_may_break_any_composition(repository):
    (repository / "task" / "clean.yaml").unlink()
    found, checked = told()
    assert found == []
    assert checked["files"] == 0
    assert checked["compositions"] > 20


def test_before_the_first_commit_everything_is_new(overlay, tmp_path):
    folder = overlay(task__mine=SLIP)
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    assert changed_since("", [folder]) == {folder / "task" / "mine.yaml"}


def test_names_of_any_kind(repository, overlay):
    odd = repository / "task" / "ä\tb ç.yaml"
    odd.write_text(CLEAN, encoding="utf-8")
    assert changed_since("", [repository]) == {odd}


def test_inside_a_hook_of_git(repository, overlay, monkeypatch):
    monkeypatch.setenv("GIT_DIR", ".git")
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/index")
    overlay(task__mine=CLEAN)
    assert changed_since("", [repository]) == {repository / "task" / "mine.yaml"}


@pytest.mark.parametrize("ref", ["nowhere", "--output=x", "HEAD~9", "a\0b"])
def test_a_ref_that_is_none(repository, ref, tmp_path):
    with pytest.raises(LmrouteError, match=r"name a commit|cannot be run"):
        told(changed=ref)
    assert not (repository / "x").exists()


def test_no_repository(overlay, tmp_path, monkeypatch):
    folder = overlay(task__mine=CLEAN)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(LmrouteError, match="not in a git repository; leave --changed out"):
        changed_since("", [folder])


def test_a_folder_outside_of_git_has_no_part_in_it(repository, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(other.parent))
    (other / "x.yaml").touch()
    assert changed_since("", [repository, other]) == frozenset()


def test_no_git(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LmrouteError, match="git cannot be run"):
        told()


def test_git_that_does_not_answer(repository, monkeypatch):
    monkeypatch.setattr(changed, "TIMEOUT_S", 1e-9)
    with pytest.raises(LmrouteError, match="did not answer"):
        told()
