"""L24: the stand-in for ``lms``. The real one is not run: nearly all it does wakes the app up."""

import json
import os
import subprocess
import sys

import pytest

from lmroute.providers import contract

pytestmark = pytest.mark.needs("fault")
SHOWN = {
    "lms_ps": ["ps", "--json"],
    "lms_ls": ["ls", "--json"],
    "lms_server_status": ["server", "status", "--json"],
    "lms_version": ["version", "--json"],
}
NEWER = {"lms_daemon_status": ["daemon", "status", "--json"]}


def start(server, *words):
    command = [sys.executable, "-m", "lmroute.emulator.lms", *words]
    env = {**os.environ, "LMROUTE_EMULATOR": server.url}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process):
    out, errors = process.communicate(timeout=30)
    return process.returncode, out, errors


def test_l24_what_it_prints_keeps_to_its_shapes(server):
    asked = SHOWN | (NEWER if server.at_least("v1") else {})
    running = {name: start(server, *words) for name, words in asked.items()}
    told = {name: end(process) for name, process in running.items()}
    assert {name: code for name, (code, _, _) in told.items()} == dict.fromkeys(asked, 0)
    bodies = {name: json.loads(out) for name, (_, out, _) in told.items()}
    assert {name: contract.problems(name, body) for name, body in bodies.items()} == {name: [] for name in asked}
    assert [model["identifier"] for model in bodies["lms_ps"]] == server.loaded
    assert bodies["lms_server_status"]["running"] is True


def test_l24_every_load_makes_another_copy_and_an_unknown_unload_ends_well(server):
    (name,) = server.loaded
    loads = end(start(server, "load", name, "--yes", "--ttl", "60"))
    gone = end(start(server, "unload", "nobody:7"))
    assert loads[0] == 0, loads
    assert server.loaded == [name, f"{name}:2"]
    assert gone[0] == 0
    assert gone[2] or gone[1]
