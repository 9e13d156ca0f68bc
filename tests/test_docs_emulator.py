"""docs/emulator.md: every command is run and prints what is shown, every example is a test that passes."""

import argparse
import json
import re
import shlex
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from lmroute.cli import emulator as verb
from lmroute.emulator.faults import FAULT_NAMES
from lmroute.emulator.lms.commands import main as lms
from lmroute.emulator.running import running
from lmroute.emulator.versions import PROFILES

ROOT = Path(__file__).parents[1]
DOC = (ROOT / "docs" / "emulator.md").read_text(encoding="utf-8")
WRITTEN = "http://127.0.0.1:1234"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", DOC, re.DOTALL)


TERMINALS = [re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE) for block in blocks("console")]


def options(words):
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return parser.parse_args(words)


class Terminal:
    """Runs the commands of the document against an emulator on a port of its own."""

    def __init__(self, stack, monkeypatch, capsys):
        self._stack = stack
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.start([])

    def run(self, command):
        """What a command prints; ``None`` when it cannot be told here."""
        program, *words = shlex.split(command)
        if command.startswith("lmroute emulator"):
            return self.start(words[1:])
        if program == "curl":
            return self.curl(words)
        if program == "lms" or words[:2] == ["-m", "lmroute.emulator.lms"]:
            return self.lms(words if program == "lms" else words[2:])
        assert program in {"pip", "export"}, f"nothing here runs {program}"
        return None

    def start(self, words):
        settings = verb._settings(options(words))
        self._stack.close()
        self.url = self._stack.enter_context(running(settings)).url
        self._monkeypatch.setenv("LMROUTE_EMULATOR", self.url)
        return f"LM Studio {settings.version.name} emulator, {settings.engine} model; Ctrl-C stops it\n{WRITTEN}\n"

    def curl(self, words):
        parser = argparse.ArgumentParser()
        for name in ("-X", "-d"):
            parser.add_argument(name)
        parser.add_argument("-s", action="store_true", required=True)
        parser.add_argument("url")
        asked = parser.parse_args(words)
        method = asked.X or ("POST" if asked.d else "GET")
        answer = httpx.request(method, asked.url.replace(WRITTEN, self.url), content=asked.d, trust_env=False)
        if "/lmroute-emulator" in asked.url:
            assert answer.status_code == 200
            return None
        return answer.text.rstrip("\n") + "\n"

    def lms(self, words):
        self._capsys.readouterr()
        lms(words)
        out, told = self._capsys.readouterr()
        return (out + told).replace(self.url.rpartition(":")[2], "1234")


@pytest.mark.parametrize("commands", TERMINALS, ids=lambda commands: commands[-1][0][:30])
def test_the_terminal_prints_what_is_shown(commands, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("script.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    with ExitStack() as stack:
        terminal = Terminal(stack, monkeypatch, capsys)
        for command, shown in commands:
            printed = terminal.run(command)
            if shown:
                assert printed == shown, command


def test_the_script_answers_as_its_comments_say(tmp_path):
    file = tmp_path / "script.yaml"
    file.write_text(blocks("yaml")[0], encoding="utf-8")
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]
    with running(verb._settings(options(["--script", str(file), "--load", "rookery/owl-9b-thinking"]))) as emulator:

        def ask(text, **more):
            body = {"messages": [{"role": "user", "content": text}], **more}
            answer = httpx.post(f"{emulator.url}/v1/chat/completions", json=body, trust_env=False)
            return answer.json()["choices"][0]["message"]

        assert ask("The Capital of Norway?")["content"] == "Oslo"
        assert json.loads(ask("2 + 2")["content"]) == {"sum": 4, "sure": True}
        (call,) = ask("the weather", tools=tools)["tool_calls"]
        assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == (
            "get_weather",
            {"city": "Oslo"},
        )
        assert ask("the weather")["content"] == "Rain."
        riddle = ask("a riddle")
        assert (riddle["reasoning_content"], riddle["content"]) == ("It must be a heron.", "A heron.")


@pytest.mark.slow
def test_the_pytest_example_passes(tmp_path):
    for block in blocks("python"):
        name = re.match(r"# (\w+\.py)\n", block)[1]
        (tmp_path / name).write_text(block, encoding="utf-8")

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    assert "4 passed" in done.stdout, done.stdout


def test_every_behaviour_fault_and_profile_has_its_line():
    assert re.findall(r"^\| (L\d\d) \|", DOC, re.MULTILINE) == [f"L{number:02}" for number in range(1, 25)]
    assert re.findall(r"^\| `(\d\S*)` \|", DOC, re.MULTILINE) == list(PROFILES)
    section = DOC.split("## Faults")[1].split("\n## ")[0]
    faults = re.findall(r"^\| `(\w+)(=\S+)?` \|", section, re.MULTILINE)
    assert sorted(name for name, _ in faults) == sorted(FAULT_NAMES)
    for name, value in faults:
        verb._settings(options(["--fault", name + value]))


@pytest.mark.parametrize("option", sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", DOC))))
def test_options_exist(option):
    elsewhere = {"--install", "--yes", "--json", "--all", "--gpu", "--estimate-only"}  # of lms, some refused there
    assert option in elsewhere or option in verb_help()


def verb_help():
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return parser.format_help()


def test_every_route_of_the_control_endpoint_is_there(tmp_path):
    rows = re.findall(r"^\| `(GET|PUT|POST) (/lmroute-emulator/\w+)` \| (?:`(.*)`)? ?\|", DOC, re.MULTILINE)
    assert len(rows) == 7
    with running(verb._settings(options(["--manual-clock"]))) as emulator:
        answers = [
            httpx.request(method, emulator.url + path, content=body or None, trust_env=False)
            for method, path, body in rows
        ]

    assert [answer.status_code for answer in answers] == [200] * len(rows)
