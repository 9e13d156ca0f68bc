"""Only what has changed, as git tells it."""

import os
import subprocess

import pytest

from lmroute.config.paths import MARKER, roots, shipped
from lmroute.errors import LmrouteError
from lmroute.validate import changed
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
def repository(overlay, tmp_path):
    """A repository whose folder own/ is the user's configuration, with one slip committed; the shipped files are not
    in it, though they may be in another one."""
    folder = overlay(task__old=SLIP, task__clean=CLEAN)
    git(tmp_path, "init", "--initial-branch=main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message=x")
    return folder


@pytest.fixture
def project(tmp_path, tmp_path_factory, monkeypatch):
    """A project without git that one stands in, and a user's folder that is in no repository either."""
    conf, user = tmp_path / "conf", tmp_path_factory.mktemp("user")
    for folder in (conf / "task", user / "task"):
        folder.mkdir(parents=True)
        (folder / f"{folder.parent.name}.yaml").write_text(SLIP, encoding="utf-8")
    (conf / MARKER).touch()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", os.pathsep.join(str(folder.parent) for folder in (tmp_path, user)))
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(user))
    monkeypatch.chdir(tmp_path)
    return conf


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
    assert found == [("LMR102", "own/task/old.yaml")]
    assert checked == run(Request()).checked


@pytest.mark.parametrize("words", [["rm", "provider/near.yaml"], ["mv", "provider/near.yaml", "provider/n.yaml"]])
def test_what_names_a_file_that_is_gone_is_shown(repository, overlay, tmp_path, words):
    near = (shipped("conf") / "provider" / "embedded.yaml").read_text(encoding="utf-8")
    overlay(provider__near=near, routing__mine=POLICY.replace("embeded", "near"))
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message=y")
    git(repository, *words)
    assert ("LMR301", "own/routing/mine.yaml") in told()[0]


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


def test_a_user_folder_outside_of_git_has_no_part_in_it(project, tmp_path):
    git(tmp_path, "init")
    assert told(files_only=True)[0] == [("LMR102", "conf/task/conf.yaml")]


def test_a_project_answers_for_itself(project):
    user = roots()[-1]
    git(user, "init")
    with pytest.raises(LmrouteError, match=r"conf: not in a git repository; leave --changed out"):
        told()


@pytest.mark.parametrize("folder", ["project", "user"])
def test_a_ref_that_one_repository_does_not_know(project, tmp_path, folder):
    user = roots()[-1]
    for top in (tmp_path, user):
        git(top, "init")
        git(top, "add", ".")
        git(top, "commit", "--message=x")
    git(user if folder == "project" else tmp_path, "tag", "here")
    with pytest.raises(LmrouteError, match="knows no commit 'here' for") as raised:
        told(changed="here")
    assert str(project if folder == "project" else user) in str(raised.value)


def test_a_shallow_clone(project, tmp_path, tmp_path_factory, monkeypatch):
    git(tmp_path, "init")
    for name in ("x", "y"):
        (tmp_path / name).touch()
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", f"--message={name}")
    clone = tmp_path_factory.mktemp("clone")
    git(clone, "clone", "--depth=1", tmp_path.as_uri(), ".")
    monkeypatch.chdir(clone)
    assert told()[0] == []
    with pytest.raises(LmrouteError, match=r"knows no commit 'HEAD~1' .*git fetch --unshallow"):
        told(changed="HEAD~1")


def test_a_repository_of_somebody_else(project, tmp_path, monkeypatch):
    git(tmp_path, "init")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)  # it may trust every folder
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    with pytest.raises(LmrouteError, match="dubious ownership") as raised:
        told()
    assert "git config --global --add safe.directory" in str(raised.value)


def test_a_repository_that_is_broken(project, tmp_path):
    (tmp_path / ".git").write_text("gitdir: nowhere\n", encoding="utf-8")
    with pytest.raises(LmrouteError, match=r"could not read the repository .*nowhere"):
        told()


def test_the_shipped_files_have_a_part_only_where_one_stands_in_their_repository(project, tmp_path, monkeypatch):
    clone = tmp_path / "clone"
    (clone / "conf").mkdir(parents=True)
    (clone / "conf" / "new.yaml").touch()
    git(clone, "init")
    monkeypatch.setattr(changed, "shipped", clone.joinpath)
    with pytest.raises(LmrouteError, match="not in a git repository") as raised:
        changed_since("", [clone / "conf"])
    assert str(raised.value).startswith(f"{tmp_path}: ")
    monkeypatch.chdir(clone / "conf")
    assert changed_since("", [clone / "conf"]) == {clone / "conf" / "new.yaml"}


def test_no_git(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LmrouteError, match="git cannot be run"):
        told()


def test_git_that_does_not_answer(repository, monkeypatch):
    monkeypatch.setattr("lmroute.validate.git.TIMEOUT_S", 1e-9)
    with pytest.raises(LmrouteError, match="did not answer"):
        told()
