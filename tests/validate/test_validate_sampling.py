"""What is sampled, and that deriving it is right for other shipped files than ours too."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lmroute.config import paths
from lmroute.validate.files import discover
from lmroute.validate.sampling import default_options, mentioned, sample

ROOT = Path(__file__).parents[2]


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """A copy of the shipped files, in their stead."""
    folder = Path(shutil.copytree(ROOT / "conf", tmp_path / "house" / "conf"))
    monkeypatch.setattr(paths, "shipped", lambda name: folder)
    return folder


def edit(conf, edits):
    """Replace a text in files, or write them; ``None`` removes one."""
    for name, change in edits.items():
        file = conf / name
        match change:
            case None:
                file.unlink()
            case (old, new):
                text = file.read_text(encoding="utf-8")
                assert old in text
                file.write_text(text.replace(old, new), encoding="utf-8")
            case _:
                file.write_text(change, encoding="utf-8")


def command_lines(conf, *unsound):
    files = discover([conf])
    return [" ".join(choice.overrides) for choice in sample(files, {file for file in files if file.name in unsound})]


DEFAULTS = {"routing=local_first", "task=sentiment", "adapter=auto", "telemetry=local", "health=watch"}


def test_the_defaults_each_other_option_and_each_experiment(conf):
    options = {f"{group}={file.stem}" for group in ("provider", "routing", "task", "adapter", "telemetry", "health")
               for file in (conf / group).glob("*.yaml")}  # fmt: skip
    lines = command_lines(conf)
    assert lines[0] == ""
    assert lines[-1] == "+experiment=ab"
    assert sorted(lines[1:-1]) == sorted(options - DEFAULTS)


def test_a_broken_option_is_left_out(conf):
    assert set(command_lines(conf)) - set(command_lines(conf, "vllm")) == {"provider=vllm"}


def test_a_broken_default_gives_way_to_another_option(conf):
    lines = command_lines(conf, "lmstudio", "local_first")
    assert lines[0] == "provider=embedded routing=ab_test"
    assert "routing=ab_test provider=vllm" in lines
    assert "provider=embedded routing=cost_first" in lines
    assert "provider=embedded routing=ab_test task=qa" in lines
    assert lines[-1] == "provider=embedded routing=ab_test +experiment=ab"
    assert len(lines) == len(set(lines))


def test_there_is_no_composing_without_the_root_or_a_whole_group(conf):
    assert command_lines(conf, "config") == []
    assert command_lines(conf, *(file.stem for file in (conf / "task").glob("*.yaml"))) == []


def test_files_that_a_command_line_may_mean(conf):
    (conf / "experiment" / "b.yaml").write_text("defaults:\n  - override /task: qa\n", encoding="utf-8")
    meant = mentioned(discover([conf]), ["provider=[vllm,lmstudio]", "+experiment=b"])
    names = {"config", "vllm", "lmstudio", "b", "qa", "local_first", "sentiment", "auto", "local", "watch"}
    assert {file.name for file in meant} == names


@pytest.mark.parametrize("defaults", ["", "x", "[]", "[1, [2], {}]", "{a: b}", "[{optional a: b}, {'': c}, {1: null}]"])
def test_a_defaults_list_of_any_form(defaults, conf):
    edit(conf, {"config.yaml": f"defaults: {defaults}\n"})
    [root] = [file for file in discover([conf]) if file.name == "config"]
    assert set(default_options(root)) <= {"a", "", "1"}
    assert command_lines(conf)[0] == ""


PROGRAM = """
import json, sys
from lmroute.config.compose import compose
from lmroute.validate import variants
from lmroute.validate.files import discover
from lmroute.validate.pipeline import judge
from lmroute.validate.sampling import sample

def seen(c):
    return repr((c.document, c.written, sorted(c.faults), c.overrides, c.trace, judge(c)))

composed = []
variants.compose = lambda words: composed.append(words) or compose(words)
first, *others = sample(files := discover())
if "one-of-each" in sys.argv:
    others = {c.option.group: c for c in others}.values()
derive = variants.Variants(compose(first.overrides), files)
wrong = [c.overrides for c in others if seen(derive.of(c.option, c.overrides)) != seen(compose(c.overrides))]
print(json.dumps([wrong, sorted({words[-1].partition("=")[0] for words in composed})]))
"""
_BY_TASK = {"sentiment": "chat", "ask": "xml", "qa": "json", "extract": "baml"}
ADAPTERS = {f"adapter/{task}.yaml": f"# @package _global_\nadapter: {name}\n" for task, name in _BY_TASK.items()}
ALL = ["+experiment", "adapter", "health", "provider", "routing", "task", "telemetry"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edits", "composed"),
    [
        ({}, ["+experiment"]),
        ({"config.yaml": ("question: null", "question: ${routing.name}")}, ["+experiment"]),
        ({"config.yaml": ("question: null", "question: null\ntask: {limit: 3}")}, ["+experiment", "task"]),
        ({"config.yaml": ("providers: {}", "providers: {vllm: {tags: [x]}}")}, ["+experiment", "provider"]),
        ({"config.yaml": ("  - adapter: auto", "  - adapter: ${task}"), **ADAPTERS}, ALL),
        ({"config.yaml": ("  - adapter: auto", "  - adapter: auto\n  - provider@providers.b: vllm")}, ALL),
        ({"task/sentiment.yaml": "# @package _global_\ntask: {name: sentiment, data: x}\nseed: 3\n"}, ALL),
        ({"task/sentiment.yaml": "defaults: [qa]\nlimit: 3\n"}, ALL),
        ({"task/sentiment.yaml": "# @package _global_\ntask: {name: sentiment, data: x}\n"}, ["+experiment"]),
    ],
)  # fmt: skip
def test_whatever_the_defaults_are_a_derived_composition_is_hydra_s(edits, composed, conf):
    house = conf.parent
    for part in ("lmroute", "schemas"):
        shutil.copytree(ROOT / part, house / part)  # with what is compiled of it
    edit(conf, edits)
    environment = {**os.environ, "PYTHONPATH": str(house)}
    # Every option of our own conf; of an edited one, an option of each group is as good as all of them.
    command = [sys.executable, "-c", PROGRAM, *(["one-of-each"] if edits else [])]
    done = subprocess.run(command, cwd=house, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], composed]
