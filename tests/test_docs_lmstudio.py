"""docs/lmstudio.md: its commands print what is shown, its example answers, and its table quotes what is really said."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from lmroute.cli import main
from lmroute.config import paths
from lmroute.emulator.running import running
from lmroute.emulator.settings import Loaded, Settings
from lmroute.validate.table import RULES

ROOT = Path(__file__).parents[1]
DOC = (ROOT / "docs" / "lmstudio.md").read_text(encoding="utf-8")
SITUATIONS = [
    yaml.safe_load(file.read_text(encoding="utf-8"))["says"] for file in (ROOT / "tests/live/situations").glob("*.yaml")
]
TERMINALS = [
    re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    for block in re.findall(r"```console\n(.*?)```", DOC, re.DOTALL)
]
ROWS = re.findall(r"^\| [^|]+ \| (LMR\d{3}) (`.*`) \| [^|]+ \|$", DOC, re.MULTILINE)
ELSEWHERE = {"curl", "lms", "pip", "systemctl", "loginctl"}
"""Programs that are not ours: what they do is told, and nothing of what they print."""


@pytest.fixture
def lm_studio(tmp_path, monkeypatch):
    """The emulator that the guide starts, in the place of its LM Studio; the endpoint that leads there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LMROUTE_STATE_HOME", str(tmp_path / "state"))
    for name in ("LM_API_TOKEN", "LMSTUDIO_API_TOKEN", "GITHUB_ACTIONS", "LMROUTE_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    with running(Settings(loaded=(Loaded("rookery/plover-7b-tools"),))) as server:
        yield f"providers.lmstudio.endpoint={server.url}"


@pytest.mark.parametrize("commands", TERMINALS, ids=lambda commands: commands[0][0][:30])
def test_the_terminal_prints_what_is_shown(commands, lm_studio, capsys):
    for command, shown in commands:
        program, *words = shlex.split(command)
        if program == "lmroute":
            assert main([*words, lm_studio]) == 0, command
            printed = capsys.readouterr().out
            assert shown, command
            # Of the table of models the guide shows the beginning.
            assert printed[: len(shown)] == shown if "models lmstudio" in command else printed == shown
        else:
            assert not shown
            assert program in ELSEWHERE or command.startswith("python run.py "), command


@pytest.mark.slow
def test_the_example_answers(lm_studio, capsys):
    example = re.search(r"```python\n(.*?)```", DOC, re.DOTALL)[1]
    exec(compile(example.replace("provider=lmstudio", f"provider=lmstudio {lm_studio}"), "guide", "exec"), {})
    answer, model = capsys.readouterr().out.splitlines()
    assert answer
    assert model == "rookery/plover-7b-tools"


@pytest.mark.parametrize(("code", "quotes"), ROWS, ids=lambda told: told[:40])
def test_the_table_quotes_what_is_said(code, quotes):
    findings = [finding for said in SITUATIONS for finding in re.findall(rf"{code} .*\n.*", said)]
    for quote in re.findall(r"`([^`]+)`", quotes):
        assert any(quote in finding for finding in findings), quote


def test_the_table_has_every_code_that_a_server_can_earn():
    of_lmstudio = {code for code, rule in RULES.items() if rule.of_server} - {
        "LMR507"
    }  # throttled: nobody's but clouds'
    assert {code for code, _ in ROWS} == of_lmstudio
    assert len(ROWS) == len(re.findall(r"^\| .*LMR\d{3} `", DOC, re.MULTILINE)) >= 12


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", DOC, re.DOTALL))
def test_profiles_are_as_the_schema_wants_them(block, overlay):
    overlay(provider__box=f"# @package providers.box\nid: box\ntype: lmstudio\nmodels: [auto]\n{with_endpoint(block)}")
    assert "box" in paths.options("provider")
    assert main(["validate", "provider=box", "routing=local_first"]) == 0


def with_endpoint(block):
    return block if "endpoint" in block else f"{block}endpoint: http://127.0.0.1:1234\nlocality: loopback\n"


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)]+)\)", DOC))
def test_links_lead_somewhere(target):
    file, _, heading = target.partition("#")
    text = (ROOT / "docs" / file).read_text(encoding="utf-8") if file else DOC
    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", told).strip().lower().replace(" ", "-") for told in headings}
    assert not heading or heading in anchors
