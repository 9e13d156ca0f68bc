"""Headers as Hydra reads them, compared with Hydra itself."""

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.plugins.config_source import ConfigSource
from hydra.types import RunMode
from hypothesis import given
from hypothesis import strategies as st

from lmroute.config import packages
from lmroute.config.compose import version_base

WORDS = ["# @package", "#@package", "## @package", "# @ package", " ", "\t", "\n", "\n\n", "a", "providers.x",
         "_global_", "# @other", "# note", "#", "\f", "\ufeff", "\x85", "x: 1"]  # fmt: skip


def outcome(parse, text):
    try:
        return parse(text)
    except ValueError:
        return "refused"


@given(st.lists(st.sampled_from(WORDS), max_size=10).map("".join))
def test_headers_are_read_as_hydra_reads_them(text):
    hydras = outcome(lambda text: ConfigSource._get_header_dict(text[:512])["package"], text)
    assert outcome(packages.header, text) == hydras


def test_a_header_far_below_is_none():
    assert packages.header("\n" * 400 + "# @package a\n") == "a"
    assert packages.header("\n" * 600 + "# @package a\n") is None


@pytest.mark.parametrize("name", ["x", "inner/x"])
@pytest.mark.parametrize(
    "header",
    [
        None,
        "routing",
        "_global_",
        "providers.x",
        "_global_.providers.x",
        "a._global_.b",
        "_group_",
        "_name_.x",
        "a.b.c",
    ],
)
def test_a_file_lands_where_its_header_puts_it(header, name, tmp_path):
    (tmp_path / "config.yaml").write_text(f"defaults: [_self_, {{routing: {name}}}]\n", encoding="utf-8")
    file = tmp_path / "routing" / f"{name}.yaml"
    file.parent.mkdir(parents=True)
    text = f"# @package {header}\nkey: 1\n" if header else "key: 1\n"
    file.write_text(text, encoding="utf-8")
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(tmp_path), **version_base()):
            found = GlobalHydra.instance().config_loader().compute_defaults_list("config", [], RunMode.RUN)
    finally:
        GlobalHydra.instance().hydra = outer
    landed = next(default.package for default in found.defaults if default.config_path == f"routing/{name}")
    assert packages.composed(packages.header(text), "routing") == landed
