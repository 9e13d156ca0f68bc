"""A house with keys in it, a server that tells them to everybody, and the search for what got out."""
# ruff: noqa: E402 - the environment comes first

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_HOME = Path(tempfile.mkdtemp(prefix="lmroute-sentinel-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ.setdefault("DSPY_CACHEDIR", str(_HOME / "cache"))
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import io
import logging
import sys

import dspy
import pytest

from lmroute import redact
from lmroute.cli import main
from lmroute.engine.live import hosts
from lmroute.logs import RedactingFilter
from lmroute.validate import load

from . import gossip as gossip_module
from . import search as search_module
from . import tales
from .house import KEYS, House, without_proxies


@pytest.fixture(scope="session")
def search():
    """The module that finds keys."""
    return search_module


@pytest.fixture(scope="session")
def keys():
    """The key of each kind of reference."""
    return KEYS


@pytest.fixture(scope="session")
def told():
    """The module that makes text of whatever might show a key."""
    return tales


@pytest.fixture(scope="session")
def says():
    """What the server may say of a key: ``says.ERRORS``, ``says.CHATS``, ``says.STREAMS``."""
    return gossip_module


@pytest.fixture(scope="session")
def _server():
    server = gossip_module.Gossip()
    yield server
    server.close()


@pytest.fixture
def gossip(_server):
    """The server, as it is at first."""
    _server.is_well, _server.says = True, gossip_module.CHATS["an answer's metadata"]
    _server.keys.clear()
    return _server


@pytest.fixture(scope="session")
def _vault(tmp_path_factory):
    return tmp_path_factory.mktemp("vault") / "of-keys"


class InMemory:
    """Made a keyring's backend where that is installed."""

    @staticmethod
    def backend():
        keyring = pytest.importorskip("keyring", reason="the keyring extra is not installed")

        class Backend(keyring.backend.KeyringBackend):
            priority = 1

            def __init__(self):
                super().__init__()
                self.kept = {("lmroute", "sentinel"): KEYS["keyring"]}

            def get_password(self, service, username):
                return self.kept.get((service, username))

            def set_password(self, service, username, password):
                self.kept[service, username] = password

            def delete_password(self, service, username):
                del self.kept[service, username]

        return Backend()


@pytest.fixture
def ring():
    """A keyring in memory, with an entry, in the place of the machine's own."""
    keyring = pytest.importorskip("keyring", reason="the keyring extra is not installed")
    previous, ours = keyring.get_keyring(), InMemory.backend()
    keyring.set_keyring(ours)
    yield ours.kept
    keyring.set_keyring(previous)


@pytest.fixture
def house(tmp_path, gossip, _vault, ring, monkeypatch):
    """The house that this process is at home in, until the test ends. Nothing is known to the redactor at first."""
    made = House(tmp_path / "rooms", _vault)
    made.furnish(gossip.url)
    for name in without_proxies():
        monkeypatch.delenv(name)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(made.work)
    monkeypatch.setattr(redact, "_known", redact.Known())
    monkeypatch.setattr(hosts, "_ours", hosts.Hosts())
    return made


@pytest.fixture
def no_proxies(house, monkeypatch):
    """For libraries that would go through them to whomever."""
    for name in without_proxies():
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def stacks(tmp_path_factory, _server, _vault):
    """The configuration that has one kind of reference only, composed once: ``stacks("env")``."""
    made, home = {}, House(tmp_path_factory.mktemp("composing") / "rooms", _vault)
    home.furnish(_server.url)

    def stack(kind, *overrides):
        if (kind, overrides) not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("LMROUTE_CONFIG_HOME", str(home.rooms / "config"))
                made[kind, overrides] = load([f"provider=[by_{kind}]", "health=off", *overrides])
        return made[kind, overrides]

    return stack


@pytest.fixture
def dspy_cache(house):
    """DSPy's cache, in the house."""
    before = dspy.cache
    dspy.configure_cache(disk_cache_dir=str(house.rooms / "dspy"))
    yield house.rooms / "dspy"
    dspy.cache = before


@pytest.fixture
def heard():
    """All that any library logs, as a handler with our filter has it; ``heard()`` is the text of it."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    handler.addFilter(RedactingFilter())
    names = ("", "lmroute", "httpx", "httpcore", "dspy", "LiteLLM", "openai", "opentelemetry", "urllib3", "asyncio")
    levels = {name: logging.getLogger(name).level for name in names}
    logging.root.handlers.insert(0, handler)
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield text.getvalue
    logging.root.handlers.remove(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def verb(house, capfd, monkeypatch):
    """Run ``lmroute``; gives what it wrote, by stream, and the exit code: ``verb("health", "--json")``."""

    def run(*words, piped=""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(piped))
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code
        streams = capfd.readouterr()
        return {"stdout": streams.out, "stderr": streams.err}, code

    return run
