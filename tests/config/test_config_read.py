"""Configuration that somebody else has composed already."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import lmroute.validate
from lmroute.config import paths
from lmroute.config.compose import compose
from lmroute.errors import ConfigError
from lmroute.validate import load, read

APP = """
    import sys
    import hydra
    from lmroute.validate import read
    from lmroute.errors import ConfigError

    @hydra.main(config_path=CONF, config_name="config", version_base="1.3")
    def main(config):
        try:
            print("ok", *read(config).providers)
        except ConfigError as error:
            print(error)

    main()
"""


def app(*arguments, cwd):
    (cwd / "app.py").write_text(
        textwrap.dedent(APP).replace("CONF", repr(str(paths.shipped("conf")))), encoding="utf-8"
    )
    root = Path(lmroute.config.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "app.py", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith("[")]


def test_inside_a_hydra_job_findings_have_their_places(tmp_path):
    printed = app("seed=x", "+providers.lmstudio.nope=1", "~routing.name", cwd=tmp_path)
    assert "<command line> +providers.lmstudio.nope=1: LMR102 providers.lmstudio.nope: unknown key" in printed
    assert "<command line> ~routing.name: LMR101 routing.name: a required key is missing" in printed
    assert '<command line> seed=x: LMR103 seed: "x" is not a whole number' in printed


def test_each_job_of_a_sweep_is_read_for_itself(tmp_path):
    assert app("-m", "provider=openai,[embedded,ollama]", cwd=tmp_path) == ["ok openai", "ok embedded ollama"]


def test_plain_data_is_read_like_composed_data():
    document = compose(["provider=openai"]).document
    stack = load(["provider=openai"])
    assert read(document) == stack
    assert read(OmegaConf.create(document)) == stack
    assert read({**document, "hydra": {"run": 1}}).document == stack.document


def test_plain_data_may_interpolate():
    document = compose(["provider=openai"]).document
    assert read({**document, "seed": "${task.max_tokens}"}).seed == document["task"]["max_tokens"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"seed": "x"}, '<config>: LMR103 seed: "x" is not a whole number'),
        ({"seed": "${nope}"}, "<config>: LMR203 seed: interpolation key 'nope' not found"),
        ({"providers": {}}, "<config>: LMR305 providers: no provider is selected"),
        ({1: 2}, "<config>: LMR102 1: unknown key"),
    ],
)
def test_outside_of_a_hydra_job_findings_have_their_keys(change, line):
    with pytest.raises(ConfigError) as raised:
        read({**compose().document, **change})
    assert str(raised.value).splitlines()[0] == line


def test_an_empty_configuration_lacks_everything():
    with pytest.raises(ConfigError) as raised:
        read({})
    assert [finding.code for finding in raised.value.diagnostics] == ["LMR101"] * 5


def test_values_that_no_configuration_can_hold_are_refused():
    with pytest.raises(ConfigError, match="LMR201"):
        read({"a": object()})
