"""Whole folders that take no part, and that nobody calls that good."""

import os

import pytest

from lmroute.config import paths
from lmroute.diagnostics import Severity
from lmroute.validate import folders
from lmroute.validate.selection import Request, run

OURS = {
    "provider/mine.yaml": "# @package providers.mine\nid: mine\n",
    "routing/mine.yaml": "# yaml-language-server: $schema=../../.lmroute/schemas/routing.schema.json\nname: mine\n",
}


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """A folder ``conf`` below the current directory: ``conf(name, text)`` writes a file into it."""
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        file = tmp_path / "conf" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return tmp_path / "conf"

    return write


@pytest.fixture
def closed(monkeypatch):
    """Take the permission from a folder, as the system would: root, who may run the tests, is refused nothing."""
    refused, allowed = set(), os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path not in refused and allowed(path, mode))
    return refused.add


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("overrides", [(), ("provider=lmstudio",)])
def test_a_conf_of_ours_without_its_marker_is_told(conf, name, overrides):
    conf(name, OURS[name])
    found = run(Request(overrides=overrides)).diagnostics
    told = [finding for finding in found if finding.code == "LMR004"]
    text = "conf: LMR004 conf is not read without the file conf/.lmroute, which makes it lmroute's"
    assert list(map(str, told)) == [f"{text}\n  help: run `lmroute init`"]
    assert told[0].severity is Severity.WARNING


def test_a_marker_must_be_a_file(conf):
    (conf("provider/mine.yaml", OURS["provider/mine.yaml"]) / ".lmroute").mkdir()
    (found,) = folders.check()
    assert found.help == "remove what is called conf/.lmroute and is no file, then run `lmroute init`"


def test_a_marked_conf_is_a_project_and_the_report_names_it(conf):
    (conf("provider/mine.yaml", OURS["provider/mine.yaml"]) / ".lmroute").touch()
    assert folders.check() == []
    assert run(Request(files_only=True)).folders == ("conf",)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("provider/aws.yaml", "region: eu\n"),
        ("provider/aws.yaml", "# @package clouds.aws\nregion: eu\n"),
        ("routing/mine.yaml", "# @package routing\nhops: 3\n"),
        ("model/mine.yaml", OURS["provider/mine.yaml"]),
        ("provider/mine.txt", OURS["provider/mine.yaml"]),
    ],
)
def test_a_conf_of_another_program_is_left_alone(conf, name, text):
    conf(name, text)
    assert folders.check() == []


def test_what_is_read_as_the_users_folder_lacks_no_marker(conf, monkeypatch):
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(conf("provider/mine.yaml", OURS["provider/mine.yaml"])))
    assert folders.check() == []


def test_the_shipped_conf_lacks_no_marker(monkeypatch):
    monkeypatch.chdir(paths.shipped("conf").parent)
    assert folders.check() == []


def test_a_conf_above_is_told_up_to_the_repository(conf, monkeypatch, tmp_path):
    conf("provider/mine.yaml", OURS["provider/mine.yaml"])
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path / "src")
    assert folders.check() == []
    (tmp_path / ".git").mkdir()
    (found,) = folders.check()
    assert found.location.file == str(tmp_path / "conf")
    assert found.help == f"run `lmroute init` in {tmp_path}"


@pytest.mark.parametrize("name", ["conf", "conf/provider"])
@pytest.mark.parametrize("marked", [True, False])
def test_a_folder_that_may_not_be_read_is_an_error(conf, closed, tmp_path, name, marked):
    folder = conf("provider/mine.yaml", OURS["provider/mine.yaml"])
    if marked:
        (folder / ".lmroute").touch()
    closed(tmp_path / name)
    found = run(Request(files_only=True)).diagnostics
    assert ("LMR001", name, "cannot be read: permission denied", Severity.ERROR) in [
        (finding.code, finding.location.file, finding.message, finding.severity) for finding in found
    ]


def test_a_shipped_configuration_without_config_yaml_is_broken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken").mkdir()
    monkeypatch.setattr(paths, "shipped", lambda name: tmp_path / "broken")
    (found,) = folders.check()
    assert str(found) == (
        "broken/config.yaml: LMR001 config.yaml is missing from the shipped configuration\n  help: reinstall lmroute"
    )
