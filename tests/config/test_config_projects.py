"""A project's own `conf`: when it is found, when it must not be, and in which order folders win."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lmroute.config import launch, paths
from lmroute.config.compose import compose, jobs, searchpath

LOGGING = "hydra/job_logging=lmroute"
MINE = "# @package providers.{name}\nid: {name}\ntype: openai_compatible\nendpoint: {endpoint}\nmodels: [auto]\n"


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A project in a git repository, which one is in; home is elsewhere."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    folder = made(tmp_path / "repository" / "project")
    (tmp_path / "repository" / ".git").mkdir()
    monkeypatch.chdir(folder)
    return folder


def made(folder: Path) -> Path:
    (folder / "conf").mkdir(parents=True)
    (folder / "conf" / ".lmroute").touch()
    return folder


def profile(conf: Path, name: str, endpoint: str = "http://127.0.0.1:9") -> None:
    file = conf / "provider" / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(MINE.format(name=name, endpoint=endpoint), encoding="utf-8")


def test_a_project_is_found_from_its_folder_and_from_below(root, monkeypatch):
    assert paths.project() == root
    assert paths.overlays() == (root / "conf",)
    (root / "notebooks" / "deep").mkdir(parents=True)
    monkeypatch.chdir(root / "notebooks" / "deep")
    assert paths.project() == root


def test_the_nearest_project_counts(root, monkeypatch):
    inner = made(root / "inner")
    monkeypatch.chdir(inner)
    assert paths.project() == inner


@pytest.mark.parametrize("marker", [None, "folder"])
def test_another_programs_conf_is_no_project(root, marker):
    (root / "conf" / ".lmroute").unlink()
    if marker == "folder":
        (root / "conf" / ".lmroute").mkdir()
    assert paths.project() is None
    assert paths.overlays() == ()


def test_nobody_looks_above_the_root_of_the_repository(root, monkeypatch):
    made(root.parents[1])
    (root / "conf" / ".lmroute").unlink()
    assert paths.project() is None
    made(root.parents[1] / "repository")
    assert paths.project() == root.parent


def test_without_a_repository_home_is_the_limit(root, monkeypatch):
    home = root.parents[1] / "home"
    (home / "work" / "deep").mkdir(parents=True)
    monkeypatch.chdir(home / "work" / "deep")
    made(root.parents[1])
    assert paths.project() is None
    made(home / "work")
    assert paths.project() == home / "work"


def test_outside_of_both_only_the_current_directory_counts(root, monkeypatch):
    elsewhere = made(root.parents[1] / "elsewhere")
    (elsewhere / "below").mkdir()
    monkeypatch.chdir(elsewhere / "below")
    assert paths.project() is None
    monkeypatch.chdir(elsewhere)
    assert paths.project() == elsewhere


def test_without_a_home_the_current_directory_counts(root, monkeypatch):
    (root.parent / ".git").rmdir()
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert paths.project() == root


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_somebody_elses_conf_is_no_project(root, findings):
    profile(root / "conf", "mine")
    os.chown(root / "conf", 4711, -1)
    assert paths.project() is None
    assert findings("provider=mine")[0].help.endswith("because conf belongs to another user")
    os.chown(root, 4711, -1)
    assert paths.project() == root  # as in a container, where everything that was checked out is another user's


def test_the_shipped_conf_is_no_project(root, monkeypatch):
    monkeypatch.setattr(paths, "shipped", lambda name: root / name)
    assert paths.project() is None


def test_our_own_checkout_is_no_project(monkeypatch):
    monkeypatch.chdir(paths.shipped("conf").parent)
    assert paths.project() is None


def test_the_project_comes_before_the_user_and_both_after_what_is_shipped(root, overlay, monkeypatch):
    user = overlay(routing__theirs="name: theirs")
    monkeypatch.chdir(root)
    profile(root / "conf", "both", "http://127.0.0.1:1")
    profile(user, "both", "http://127.0.0.1:2")
    profile(root / "conf", "openai", "http://127.0.0.1:3")
    assert paths.roots() == (paths.shipped("conf"), root / "conf", user)
    providers = compose(["provider=[both,openai]"]).document["providers"]
    assert providers["both"]["endpoint"] == "http://127.0.0.1:1"
    assert "endpoint" not in providers["openai"]
    assert {"both", "openai", "lmstudio"} <= set(paths.options("provider"))
    assert "theirs" in paths.options("routing")


def test_a_folder_that_is_both_is_named_once(root, monkeypatch):
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(root / "conf"))
    assert paths.overlays() == (root / "conf",)


def test_what_is_composed_depends_on_where_one_is(root, monkeypatch):
    profile(root / "conf", "mine")
    (root / "conf" / "experiment").mkdir()
    (root / "conf" / "experiment" / "grid.yaml").write_text(
        "# @package _global_\nhydra: {sweeper: {params: {provider: 'mine,lmstudio'}}}\n", encoding="utf-8"
    )
    assert list(compose(["provider=mine"]).document["providers"]) == ["mine"]
    assert jobs(["+experiment=grid"]) == [
        ["provider=mine", "+experiment=grid"],
        ["provider=lmstudio", "+experiment=grid"],
    ]
    monkeypatch.chdir(root.parents[1])
    assert searchpath() == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-m", "seed=1", "task=ask"], ["-m", "PATH", "seed=1", "task=ask"]),
        (["seed=1", "-m"], ["PATH", "seed=1", "-m"]),
        (["--cfg", "job", "seed=1"], ["--cfg", "job", "PATH", "seed=1"]),
        (["--info"], ["PATH", "--info"]),
        (["-m"], ["PATH", "-m"]),
        ([], ["PATH"]),
    ],
)
def test_hydra_reads_the_search_path_among_the_overrides(words, expected, monkeypatch):
    monkeypatch.setattr(launch, "searchpath", lambda overrides: ["PATH"])
    given = launch._with_ours(launch.parse(words))
    at = expected.index("PATH") + 1
    assert given == [*expected[:at], LOGGING, *expected[at:]]
    assert launch.parse(given).overrides == ("PATH", LOGGING, *launch.parse(words).overrides)


def test_a_choice_of_logging_stands():
    words = ["hydra/job_logging=lmroute_json", "seed=1"]
    assert [word for word in launch._with_ours(launch.parse(words)) if "job_logging" in word] == words[:1]


APP = """
import sys
from lmroute.config.launch import launch, parse

def job(config, folder):
    print("JOB", *(f"{name} {profile.endpoint}" for name, profile in config.providers.items()), flush=True)

if __name__ == "__main__":
    sys.exit(launch(job, parse(sys.argv[1:])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_every_job_of_a_sweep_knows_the_project(launcher, root, tmp_path):
    if launcher == "joblib":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    profile(root / "conf", "mine")
    profile(root / "conf", "other", "http://127.0.0.1:8")
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    (root / "below").mkdir()
    words = ["-m", "provider=mine,other,[mine,other]", f"hydra/launcher={launcher}", "hydra.job.chdir=true"]
    source = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(tmp_path / "app.py"), *words],
        cwd=root / "below",
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = sorted(line for line in (done.stdout + done.stderr).splitlines() if line.startswith("JOB"))
    mine, other = "mine http://127.0.0.1:9", "other http://127.0.0.1:8"
    assert said == [f"JOB {mine}", f"JOB {mine} {other}", f"JOB {other}"]


def test_a_file_that_is_not_read_for_want_of_the_marker_is_explained(root, findings):
    profile(root / "conf", "mine")
    (root / "conf" / ".lmroute").unlink()
    (found,) = findings("provider=mine")
    assert (found.code, found.message) == ("LMR201", "there is no provider 'mine'")
    assert found.help.startswith("conf/provider/mine.yaml is not read without conf/.lmroute")
    (found,) = findings("provider=other")
    assert "conf/.lmroute" not in found.help
