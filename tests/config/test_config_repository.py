"""Files are parsed once, and nobody can tell: not after a change, not after what others did to their copy."""

import pytest
from hydra._internal.config_repository import ConfigRepository
from omegaconf import OmegaConf

from lmroute.config import compose as composing
from lmroute.config.compose import compose
from lmroute.config.paths import shipped
from lmroute.config.repository import Repository
from lmroute.errors import ConfigError

PROFILE = "# @package providers.mine\nid: mine\ntype: openai\nmodels: [{}]\n"
MINE = ("provider=mine",)


@pytest.fixture
def parsed(monkeypatch):
    """The files that were parsed."""
    found, load = [], OmegaConf.load
    monkeypatch.setattr(OmegaConf, "load", lambda file: found.append(file) or load(file))
    return found


def models():
    return compose(MINE).document["providers"]["mine"]["models"]


def test_a_second_composition_and_its_trace_parse_nothing(parsed):
    compose(["task=qa"])
    parsed.clear()
    again = compose(["task=qa"])
    assert again.trace.sources
    assert parsed == []


def test_a_file_that_was_written_a_moment_ago_counts_and_is_all_that_is_parsed(overlay, parsed):
    overlay(provider__mine=PROFILE.format("a"))
    assert models() == ["a"]
    parsed.clear()
    overlay(provider__mine=PROFILE.format("b"))  # as long as before, and hardly later
    assert models() == ["b"]
    assert len(parsed) == 1
    overlay(provider__mine=PROFILE.format("a").replace(".mine", ".other"))
    assert "other" in compose(MINE).document["providers"]


def test_a_broken_file_is_told_each_time_and_one_that_is_gone_too(overlay):
    folder = overlay(provider__mine=PROFILE.format("a"))
    assert models() == ["a"]
    overlay(provider__mine="id: [")
    messages = []
    for _ in range(2):
        with pytest.raises(ConfigError) as raised:
            compose(MINE)
        messages.append(str(raised.value))
    assert messages[0] == messages[1]
    assert "mine.yaml" in messages[0]
    (folder / "provider" / "mine.yaml").unlink()
    with pytest.raises(ConfigError, match="mine"):
        compose(MINE)


def test_what_a_composition_does_to_its_copy_stays_there(overlay):
    overlay(experiment__mine="# @package _global_\nmine: {deep: {limit: 3, tags: [a]}}\nseed: 4\n")
    for _ in range(2):
        assert compose(["+experiment=mine"]).document["mine"] == {"deep": {"limit": 3, "tags": ["a"]}}
        changed = compose(
            ["+experiment=mine", "mine.deep.limit=9", "+mine.deep.more=1", "mine.deep.tags=[b]", "seed=5"]
        )
        assert changed.document["mine"] == {"deep": {"limit": 9, "tags": ["b"], "more": 1}}


def test_every_shipped_file_is_what_hydra_makes_of_it_the_second_time_too():
    search_path = composing._loader().get_search_path()  # the folders that Hydra looks into
    ours, plain = Repository(search_path), ConfigRepository(search_path)
    conf = shipped("conf")
    names = [file.relative_to(conf).with_suffix("").as_posix() for file in sorted(conf.rglob("*.yaml"))]
    assert len(names) > 20
    for name in [*names, "hydra/config", "hydra/launcher/basic", "nobody"]:
        for _ in range(2):
            assert told(ours.load_config(name)) == told(plain.load_config(name))


def told(result):
    return result and {**vars(result), "config": OmegaConf.to_container(result.config)}
