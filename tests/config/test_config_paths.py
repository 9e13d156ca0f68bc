import pytest

from lmroute.config import paths


@pytest.mark.parametrize("name", ["conf/config.yaml", "schemas/v1/config.schema.json", "examples/data/qa.csv"])
def test_what_lmroute_ships_is_found_from_any_directory(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert paths.shipped(name).is_file()
    assert paths.shipped(name).is_absolute()


def test_a_wheel_has_its_folders_inside_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "lmroute")
    (tmp_path / "conf").mkdir()
    assert paths.shipped("conf") == tmp_path / "conf"
    (tmp_path / "lmroute" / "conf").mkdir(parents=True)
    assert paths.shipped("conf") == tmp_path / "lmroute" / "conf"


def test_the_users_folder_can_be_moved_and_is_always_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", "mine")
    assert paths.user_config_dir() == tmp_path / "mine"
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", "~/mine")
    assert paths.user_config_dir().parts[-1] == "mine"
    assert "~" not in str(paths.user_config_dir())


def test_the_users_folder_is_the_platforms_own_unless_moved(monkeypatch):
    monkeypatch.delenv("LMROUTE_CONFIG_HOME")
    assert paths.user_config_dir().name == "lmroute"
    assert paths.user_config_dir().is_absolute()


def test_only_existing_folders_are_overlays(overlay):
    assert paths.overlays() == ()
    folder = overlay(provider__mine="id: mine")
    assert paths.overlays() == (folder,)


def test_the_options_of_a_group_are_the_shipped_ones_and_the_users(overlay):
    assert "mine" not in paths.options("provider")
    overlay(provider__mine="id: mine", provider__openai="id: openai")
    found = paths.options("provider")
    assert {"mine", "lmstudio", "embedded"} <= set(found)
    assert found == sorted(set(found))
    assert paths.options("nothing") == []


def test_a_path_is_shown_relative_to_where_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert paths.shown(tmp_path / "conf" / "x.yaml") == "conf/x.yaml"
    assert paths.shown(tmp_path.parent / "x.yaml") == str(tmp_path.parent / "x.yaml")
