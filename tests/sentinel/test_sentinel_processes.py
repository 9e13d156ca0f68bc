"""What only a process of its own shows: crashes, kills, command lines, a real keyring, workers of a sweep."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lmroute.providers.embedded import EmbeddedServer

from .gossip import ERRORS
from .house import KEYS

ROOT = Path(__file__).parents[2]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows what processes were started with")
pytestmark = pytest.mark.slow

_LIBRARY = """
import asyncio, sys, threading, traceback, warnings
import dspy, lmroute
from lmroute.logs import RedactingFilter
import logging
logging.basicConfig(level=logging.DEBUG)
for handler in logging.root.handlers:
    handler.addFilter(RedactingFilter())
lms = [lmroute.load([f"provider=[by_{kind}]", "health=off"], cache=False) for kind in sys.argv[2:]]

def thread():
    for lm in lms:
        each = threading.Thread(target=lm, args=("hello",))
        each.start()
        each.join()

def task():
    async def never_awaited():
        tasks = [asyncio.ensure_future(lm.acall("hello")) for lm in lms]
        await asyncio.wait(tasks)
    asyncio.run(never_awaited(), debug=True)

def shown():
    def hook(kind, error, at):
        told = traceback.TracebackException(kind, error, at, capture_locals=True)
        print("".join(told.format()), file=sys.stderr)
    sys.excepthook = hook
    main()

def main():
    try:
        lms[0]("hello")
    finally:
        lms[-1]("hello")

print("ready", flush=True)
globals()[sys.argv[1]]()
"""


@pytest.fixture
def spawn(house):
    """Starts a program at home in the house; what is left of it ends with the test."""
    started = []
    entry = house.vault / "entry.py"
    entry.write_text(
        "import keyring.backend, pathlib\n"
        "class Kept(keyring.backend.KeyringBackend):\n"
        "    priority = 1\n"
        f"    def get_password(self, service, name): return pathlib.Path({str(house.vault / 'ring')!r}).read_text()\n"
        "    def set_password(self, *_): raise NotImplementedError\n"
        "    def delete_password(self, *_): raise NotImplementedError\n",
        encoding="utf-8",
    )
    house.keep("ring", KEYS["keyring"])
    path = os.pathsep.join([str(ROOT), str(house.vault)])
    own = {"PYTHONPATH": path, "PYTHON_KEYRING_BACKEND": "entry.Kept", "DSPY_CACHEDIR": str(house.rooms / "dspy")}

    def start(*argv, **environment):
        process = subprocess.Popen(
            argv,
            cwd=house.work,
            env={**os.environ, **own, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finished(process, piped=b""):
    out, err = process.communicate(piped, timeout=100)
    return {"stdout": out, "stderr": err}


@pytest.mark.parametrize("crash", ["thread", "task", "main", "shown"])
def test_crashes(house, spawn, gossip, crash):
    gossip.is_well, gossip.says = False, ERRORS["OpenAI's 401"]
    told = finished(spawn(sys.executable, "-X", "dev", "-c", _LIBRARY, crash, "env", "file", "command", "keyring"))
    assert b"Traceback" in told["stderr"]
    assert b"Incorrect API key provided: ***" in told["stderr"]
    house.search(told)


@LINUX
def test_a_call_that_is_killed(house, spawn, gossip):
    """In its midst, when the key has been sent; no process that belongs to it was started with a key."""
    asked, go_on = threading.Event(), threading.Event()

    def hang(_):
        asked.set()
        go_on.wait(30)
        return b""

    gossip.says = hang
    process = spawn(sys.executable, "-c", _LIBRARY, "main", "command")
    try:
        assert asked.wait(60)
        lines = {str(line): line.read_bytes() for line in _command_lines()}
        process.send_signal(signal.SIGKILL)
        told = finished(process)
    finally:
        go_on.set()
    assert gossip.keys[-1] == KEYS["command"]
    assert process.returncode == -signal.SIGKILL
    house.search({**told, **lines})


def _command_lines():
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line.read_bytes()
        except OSError:  # it has ended
            continue
        yield line


@LINUX
def test_the_embedded_server(monkeypatch, tmp_path):
    """Its key is in the lease, which is ours only, and on no command line, in no environment and in no log."""
    try:
        server = EmbeddedServer.acquire(None, context_window=512)
    except Exception as error:  # noqa: BLE001 - without weights there is nothing to start
        pytest.skip(f"the embedded model is not here: {error}")
    with server:
        key = server.api_key.reveal().encode()
        for file in ("cmdline", "environ"):
            for path in Path("/proc").glob(f"[0-9]*/{file}"):
                try:
                    data = path.read_bytes()
                except OSError:
                    continue
                assert key not in data, path


def test_a_sweep_with_workers(house, spawn, gossip):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="hydra-joblib-launcher is not installed")
    gossip.says = ERRORS["OpenAI's 401"]
    words = (
        "-m",
        "hydra/launcher=joblib",
        "provider=by_env,by_command",
        "task=ask",
        "question=why",
        "hydra.verbose=true",
    )
    told = finished(spawn(sys.executable, str(ROOT / "run.py"), *words))
    assert b"Incorrect API key provided: ***" in told["stderr"] + told["stdout"]
    house.search(told)


def test_the_emulators_own_log(house, spawn):
    process = spawn(
        sys.executable, "-m", "lmroute.cli", "emulator", "--port", "0", "--verbose", "--require-auth",
        "--token-env", "LMROUTE_SENTINEL_STUDIO", LMROUTE_SENTINEL_STUDIO=KEYS["file"],
    )  # fmt: skip
    url = process.stdout.readline().decode().split()[-1]
    for path in ("/v1/models", f"/v1/models?api_key={KEYS['env']}", f"/v1/{KEYS['env']}"):
        ask = f"import urllib.request as r; o = r.build_opener(r.ProxyHandler({{}})); o.open({url + path!r})"
        subprocess.run([sys.executable, "-c", ask], stderr=subprocess.DEVNULL, check=False)
    process.send_signal(signal.SIGINT if os.name == "posix" else signal.CTRL_BREAK_EVENT)
    told = finished(process)
    assert b"/v1/models" in told["stderr"] + told["stdout"]
    house.search(told)


def test_a_real_keyring(house, spawn):
    for program in ("dbus-run-session", "gnome-keyring-daemon"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (apt-get install gnome-keyring dbus)")
    pytest.importorskip("secretstorage", reason="the keyring extra is not installed, or not for this system")
    service = "keyring.backends.SecretService.Keyring"
    folders = {name: str(house.vault) for name in ("XDG_DATA_HOME", "XDG_RUNTIME_DIR")}
    script = (
        "printf pw | gnome-keyring-daemon --unlock --components=secrets >/dev/null\n"
        '"$0" -m lmroute.cli auth set sentinel && "$0" -m lmroute.cli auth by_keyring\n'
        '"$0" -m lmroute.cli health by_keyring --json; "$0" -m lmroute.cli auth clear sentinel'
    )
    process = spawn(
        "dbus-run-session", "--", "sh", "-c", script, sys.executable, PYTHON_KEYRING_BACKEND=service, **folders
    )
    told = finished(process, f"{KEYS['keyring']}\n".encode())
    assert b"stored as keyring entry lmroute/sentinel" in told["stdout"], told["stderr"]
    assert b"removed keyring entry" in told["stdout"]
    house.search(told)


def test_verbs_that_go_on(house, spawn, gossip):
    """``health --watch`` and ``logs -f``, until Ctrl-C."""
    gossip.is_well, gossip.says = False, ERRORS["LM Studio's 401"]
    watching = spawn(
        sys.executable, "-m", "lmroute.cli", "health", "--watch", "--json", "--interval", "1",
        "provider=[by_env,by_file,by_command,by_keyring]",
    )  # fmt: skip
    following = spawn(sys.executable, "-m", "lmroute.cli", "logs", "-f")
    clock = threading.Timer(60, watching.kill)
    clock.start()
    lines = [watching.stdout.readline() for _ in range(4)]
    clock.cancel()
    for process in (watching, following):
        process.send_signal(signal.SIGINT if os.name == "posix" else signal.CTRL_BREAK_EVENT)
    told = {**finished(watching), "lines": b"".join(lines), "logs": b"".join(finished(following).values())}
    assert b"token_refused" in told["lines"]
    assert {KEYS[kind] for kind in ("env", "file", "command", "keyring")} <= set(gossip.keys)
    house.search(told)
