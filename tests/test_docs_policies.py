"""What README and docs/policies.md say of policies: what the terminal prints, and that every example is one."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from lmroute.cli import main
from lmroute.config.schema import schema
from lmroute.model import BUILT_IN, Attributes, Decision, Failure, Operator, Order, shown
from lmroute.telemetry.events import CallEvent, Usage, records
from lmroute.validate import check
from lmroute.validate.policy_tests.running import run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
POLICIES = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", POLICIES, re.DOTALL)
WHOLE, TESTS = EXAMPLES[0], EXAMPLES[-1]
SELECTED = "provider=[lmstudio,openai,embedded]"


@pytest.fixture(autouse=True)
def _a_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "a key")


def of_readme():
    """The file of README's section, and its terminal: each command with what it prints."""
    section = README.split("## One policy, its proof, a counterexample and its fix")[1].split("\n## ")[0]
    text = re.search(r"```yaml\n(# desk\.yaml\n.*?)```", section, re.DOTALL)[1]
    terminal = re.search(r"```console\n(.*?)```", section, re.DOTALL)[1]
    assert len(terminal.splitlines()) <= 30
    return text, re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", terminal, re.MULTILINE)


def sed(command):
    """The files that README's ``sed`` reads and writes, and what it puts in the place of what."""
    old, new, source, target = re.fullmatch(r"sed 's/(.*)/(.*)/' (\S+) > (\S+)", command).groups()
    return source, target, old, new


def test_the_terminal_of_readme_prints_what_it_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text, commands = of_readme()
    Path("desk.yaml").write_text(text, encoding="utf-8")
    codes = []
    for command, shows in commands:
        if command.startswith("sed "):
            source, target, old, new = sed(command)
            assert text.count(old) == 1
            Path(target).write_text(Path(source).read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
            continue
        program, *words = command.split()
        assert program == "lmroute"
        codes.append(main(words))
        assert capsys.readouterr() == (shows, ""), command
    assert codes == [1, 0, 1]  # a counterexample, a proof, and a difference


def test_the_policy_of_the_docs_is_one(overlay):
    overlay(routing__desk=WHOLE)
    assert check(["routing=desk", SELECTED]).warnings == ()


def test_the_tests_of_the_docs_pass(overlay):
    overlay(routing__desk=WHOLE, routing__tests__desk=TESTS)
    report = run(["desk"])
    assert not report.errors
    assert not report.failed
    assert sum(len(ran.results) for ran in report.ran) == 2


@pytest.mark.parametrize("fragment", EXAMPLES[1:-1])
def test_each_example_of_the_docs_is_one(overlay, fragment):
    rest = {"name": "rest", "use": ["embedded", "lmstudio"]}
    policy = {"name": "mine", "rules": [], **yaml.safe_load(fragment)}
    overlay(routing__mine=yaml.safe_dump({**policy, "rules": [*policy["rules"], rest]}))
    check(["routing=mine", "provider=[lmstudio,embedded]"])


@pytest.mark.parametrize("word", [*map(shown, BUILT_IN), *Order])
def test_the_docs_know_every_attribute_and_order(word):
    assert f"| `{word}` |" in POLICIES or f"`{word}`, " in POLICIES or f", `{word}` |" in POLICIES


def test_the_docs_know_every_operator():
    table = POLICIES.split("| For | Operators |")[1].split("\n\n")[0]
    assert set(Operator) == {word for words in re.findall(r"`([a-z_ ]+)`", table) for word in words.split()} - {
        "low",
        "high",
    }


def test_the_docs_know_every_failure():
    listed = re.search(r"The words are `([^`]*)`", POLICIES)[1].split()
    assert set(listed) == set(Failure) - {Failure.GUARANTEE}


@pytest.mark.parametrize("key", sorted(schema("routing.schema.json")["properties"]))
def test_the_docs_show_every_key_of_a_policy(key):
    assert re.search(rf"^{key}:|`{key}:", POLICIES, re.MULTILINE)


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)]+)\)", POLICIES))
def test_links_of_the_docs_lead_somewhere(target):
    assert (ROOT / "docs" / target).exists()


@pytest.mark.parametrize("command", re.findall(r"^\$ lmroute (.*?)(?:  +#.*)?$", POLICIES, re.MULTILINE))
def test_the_commands_of_the_docs_work(command, overlay, monkeypatch):
    """The policy of a branch is another one here: where the tests run there may be no git."""
    folder = overlay(routing__desk=WHOLE, routing__tests__desk=TESTS)
    monkeypatch.chdir(folder)
    words = command.replace("main:desk", "local_first").split()
    if {"replay", "--call"} & {*words}:
        file = Path(os.environ["LMROUTE_STATE_HOME"]) / "events" / "2026-03-04" / "host-1-1.jsonl"
        file.parent.mkdir(parents=True)
        call = CallEvent("3f9a", "desk@1", Attributes(), Decision("", ()), (), Usage(), 1.0, 1.0)
        file.write_text("".join(f"{json.dumps(record)}\n" for record in records(call)), encoding="utf-8")
    assert main(words) in {0, 1}
