"""``python run.py`` as a person uses it: a process, its output, its exit code and the files it leaves."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lmroute.emulator.backends.script import Line
from lmroute.emulator.running import running
from lmroute.emulator.settings import Settings
from lmroute.providers.embedded import ensure_weights

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
"""Bound of every wait. No test depends on how much of it is used."""

_HANGING = """
import asyncio, sys
from lmroute.emulator.app import create_app
from lmroute.emulator.backends.scripted import ScriptedModel
from lmroute.emulator.running import in_thread
from lmroute.emulator.settings import Settings
from lmroute.emulator.transport.sockets import bound, url_of

left = int(sys.argv[1])
emulator = create_app(Settings(), ScriptedModel())

async def app(scope, receive, send):
    global left
    if scope["type"] == "http" and scope["path"] == "/v1/chat/completions":
        left -= 1
        if left < 0:
            await asyncio.Event().wait()
    await emulator(scope, receive, send)

with bound("127.0.0.1", 0) as listener, in_thread(app, listener):
    print(url_of(listener), flush=True)
    sys.stdin.read()
"""


def lines_of(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


@dataclass(frozen=True)
class Run:
    """A run that has ended."""

    code: int
    out: str
    err: str
    folders: tuple[Path, ...]

    @property
    def folder(self) -> Path:
        [folder] = self.folders
        return folder

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))

    @property
    def results(self) -> list[dict[str, Any]]:
        return lines_of(self.folder / "results.jsonl")

    @property
    def calls(self) -> list[dict[str, Any]]:
        return lines_of(self.folder / "calls.jsonl")

    @property
    def providers(self) -> list[list[str]]:
        """Who answered the rows, for each job of a sweep."""
        return [[line["provider"] for line in lines_of(folder / "results.jsonl")] for folder in self.folders]

    @property
    def answers(self) -> list[tuple[Any, ...]]:
        """What was answered and decided, without how long it took."""
        return [
            (line["line"], json.dumps(line["answer"]), line["right"], line["provider"], line["model"], line["rule"])
            for line in self.results
        ]

    def assert_short(self, *, lines: int = 4) -> None:
        """Its complaint is what a person wants to read when something is wrong."""
        assert "Traceback" not in self.err
        assert "HYDRA_FULL_ERROR" not in self.err
        assert "\x1b" not in self.err
        assert 0 < len(self.err.strip().splitlines()) <= lines, self.err


def closed_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Runner:
    """Starts ``run.py`` in a folder, with nobody's configuration and a cache of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "run.py"), *words],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=sys.platform != "win32",
        )
        self.started.append(process)
        return process

    def finish(self, process: subprocess.Popen[str]) -> Run:
        out, err = process.communicate(timeout=PATIENCE_S)
        return Run(process.returncode, out, err, tuple(map(Path, re.findall(r"^written +(.+)$", out, re.MULTILINE))))

    def __call__(self, *words: str, **environment: str) -> Run:
        return self.finish(self.start(*words, **environment))

    def stop(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    @staticmethod
    def lmstudio(url: str, *more: str) -> tuple[str, ...]:
        """The words that choose an LM Studio at an address."""
        return ("provider=lmstudio", f"providers.lmstudio.endpoint={url}", *more)

    @staticmethod
    def nobody() -> str:
        """The word that puts LM Studio where nobody listens."""
        return f"providers.lmstudio.endpoint=http://127.0.0.1:{closed_port()}"

    def so_far(self, pattern: str = "outputs/*/*/results.jsonl") -> list[dict[str, Any]]:
        """The lines that runs have written by now."""
        return [line for file in sorted(self.folder.glob(pattern)) for line in lines_of(file)]

    @staticmethod
    def wait_for(holds: Callable[[], bool], process: subprocess.Popen[str], what: str) -> None:
        """Wait until something holds of a run that is under way."""
        end = time.monotonic() + PATIENCE_S
        while not holds():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end, f"waited {PATIENCE_S:g} s for: {what}"
            time.sleep(0.02)


@pytest.fixture(scope="session")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Runner]]:
    with ExitStack() as stack:

        def make(**environment: str) -> Runner:
            folder = tmp_path_factory.mktemp("run")
            kept = {
                k: v for k, v in os.environ.items() if not k.startswith(("LMROUTE_", "HYDRA_", "FORCE_", "NO_COLOR"))
            }
            home = {"LMROUTE_CONFIG_HOME": str(folder / "nobody"), "DSPY_CACHEDIR": str(folder / "dspy")}
            own = {"PYTHONPATH": str(ROOT), "LMROUTE_CACHE_DIR": str(folder / "cache"), "PYTHONIOENCODING": "utf-8"}
            runner = Runner(folder, {**kept, **home, **own, **environment})
            stack.callback(runner.stop)
            return runner

        yield make


@pytest.fixture
def run(runners: Callable[..., Runner]) -> Runner:
    """Runs in a folder of its own, without weights and without leave to fetch them."""
    return runners(LMROUTE_OFFLINE="1")


@pytest.fixture
def embedded(runners: Callable[..., Runner]) -> Runner:
    """Runs that have the embedded model's weights, from the user's cache, and a server that no other test uses."""
    runner = runners(LMROUTE_OFFLINE="1")
    weights = ensure_weights()
    (runner.folder / "cache" / "weights").mkdir(parents=True)
    for file in weights.parent.glob(f"{weights.stem}*"):
        target = runner.folder / "cache" / "weights" / file.name
        try:
            target.hardlink_to(file)
        except OSError:
            target.write_bytes(file.read_bytes())
    return runner


@pytest.fixture(scope="session")
def emulator() -> Iterator[str]:
    """An LM Studio that answers by script: positive about everything but printers, and useless about gibberish."""
    script = (
        Line(re.compile("gibberish"), "gibberish"),
        Line(re.compile("printer"), '{"sentiment": "negative"}'),
        Line(re.compile("sentiment"), '{"sentiment": "positive"}'),
        Line(re.compile("sky"), '{"answer": "Because of \\u001b[31mRayleigh[/b]."}'),
    )
    with running(Settings(script=script)) as server:
        yield server.url


@pytest.fixture
def spawn() -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Starts a Python script that prints its URL; what is left of it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def hanging(spawn: Callable[..., Any]) -> Callable[[int], tuple[subprocess.Popen[str], str]]:
    """Starts an LM Studio that answers so many questions and then none: what comes after is certainly under way."""
    return lambda answers: spawn(_HANGING, str(answers))
