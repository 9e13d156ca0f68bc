"""Once the weights are cached, nothing leaves this machine: neither this process nor the server looks further."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

_GUARD = """
import sys

LOG = {log!r}

def guard(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    with open(LOG, "a", encoding="utf-8") as log:
        log.write(f"{{host}}\\n")
    if host not in ("127.0.0.1", "::1", "localhost", None):
        raise RuntimeError(f"looked for {{host}}")

sys.addaudithook(guard)
with open(LOG, "a", encoding="utf-8") as log:
    log.write("guarding\\n")
"""

_ASK = """
import httpx
from lmroute.providers.embedded import EmbeddedServer

with EmbeddedServer.acquire(None) as server:
    reply = httpx.post(
        server.base_url + "/v1/chat/completions",
        headers={"Authorization": "Bearer " + server.api_key.reveal()},
        json={"max_tokens": 8, "messages": [{"role": "user", "content": "Which city is the capital of Germany?"}]},
        timeout=60,
    )
    print(reply.json()["choices"][0]["message"]["content"])
"""

_LOOPBACK_UP = """
import fcntl, socket, struct
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x41))  # SIOCSIFFLAGS: up and running
try:
    socket.create_connection(("192.0.2.1", 80), timeout=5)
except OSError as error:
    assert "unreachable" in str(error), error
"""


@pytest.fixture
def cached(cache, real_model):
    """A cache that holds the default weights already."""
    (cache / "weights").mkdir(parents=True)
    for file in (real_model, real_model.with_name(f"{real_model.name}.verified")):
        shutil.copy2(file, cache / "weights")
    return cache


def test_no_python_code_looks_beyond_loopback(cached, python, tmp_path):
    log, guard = tmp_path / "looked", tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(_GUARD.format(log=str(log)), encoding="utf-8")
    root = str(Path(__file__).parents[2])
    path = (";" if sys.platform == "win32" else ":").join([str(guard), root])
    said, problem = python(_ASK, LMROUTE_OFFLINE="1", PYTHONPATH=path).communicate()
    assert "Berlin" in said, problem
    looked = log.read_text().split()
    assert looked.count("guarding") == 2  # the program and the server
    assert set(looked) - {"guarding"} == {"127.0.0.1"}


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode != 0,
    reason="cannot make a network namespace here",
)
def test_it_answers_where_there_is_no_network_but_loopback(cached):
    answer = subprocess.run(
        ["unshare", "-rn", sys.executable, "-c", _LOOPBACK_UP + _ASK],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Berlin" in answer.stdout, answer.stderr
