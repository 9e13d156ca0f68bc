"""What holds for every test, and the configuration fixtures that several rooms use."""

import gc
import os
import sys
import tempfile
import threading
from functools import wraps
from pathlib import Path
from typing import Protocol

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hypothesis import settings

from lmroute import forks
from lmroute.diagnostics import Diagnostic
from lmroute.errors import ConfigError
from lmroute.health.monitor import Monitor
from lmroute.providers.probe import surroundings
from lmroute.validate import load

# How long an example takes says something about the machine that runs it, and must not decide a test.
# What CI says about a commit must not depend on luck: new examples are for people, who can do something with them.
settings.register_profile("lmroute", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("lmroute")


def pytest_configure(config):
    """Tracing Hydra for coverage takes twice as long as composing, and of ours it runs ``config/repository`` only.

    Which has a test that asks it directly.
    """
    if config.pluginmanager.hasplugin("_cov"):  # which begins to trace later than this, in a worker
        for name in ("load_configuration", "compute_defaults_list"):
            setattr(ConfigLoaderImpl, name, _untraced(getattr(ConfigLoaderImpl, name)))


def _untraced(function):
    @wraps(function)
    def run(*args, **more):
        tracer = sys.gettrace()
        sys.settrace(None)
        try:
            return function(*args, **more)
        finally:
            sys.settrace(tracer)

    return run


def pytest_collection_finish():
    """What was imported and collected stays; looking it over for garbage again and again took a tenth of the time."""
    gc.freeze()


# Of the person who runs the tests nothing is read and nothing written, by fixtures that outlive a test neither.
_HOME = tempfile.TemporaryDirectory(prefix="lmroute-tests-", ignore_cleanup_errors=True)
os.environ["LMROUTE_CONFIG_HOME"] = str(Path(_HOME.name) / "nobody")
os.environ["LMROUTE_STATE_HOME"] = str(Path(_HOME.name) / "state")


class Overlay(Protocol):
    def __call__(self, **files: str) -> Path: ...


@pytest.fixture(autouse=True)
def _nobodys_configuration(tmp_path, monkeypatch):
    """Whatever the person who runs the tests has configured takes no part."""
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("LMROUTE_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def _nobody_is_watched_any_more():
    """An LM that a test leaves to the garbage collector would go on watching its servers beside the next ones."""
    yield
    if any(thread.name.startswith("lmroute health") for thread in threading.enumerate()):
        for one in list(forks._ALL):
            if isinstance(one, Monitor):
                one.close()


@pytest.fixture(autouse=True)
def _no_particular_machine(tmp_path, monkeypatch):
    """What is advised on a refused connection depends on containers and WSL; tests run on a plain machine."""
    plain = surroundings.Surroundings((tmp_path / "no-container",), "6.1.0", tmp_path / "nobody")
    monkeypatch.setattr(surroundings, "HERE", plain)


@pytest.fixture
def overlay(tmp_path, monkeypatch) -> Overlay:
    """Make an overlay folder: ``overlay(provider__mine="...")`` writes provider/mine.yaml into it."""

    def make(**files: str) -> Path:
        folder = tmp_path / "own"
        for name, text in files.items():
            file = folder.joinpath(*name.split("__")).with_suffix(".yaml")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(folder))
        monkeypatch.chdir(tmp_path)
        return folder

    return make


@pytest.fixture
def findings():
    """The findings that loading with some overrides raises."""

    def find(*overrides: str) -> tuple[Diagnostic, ...]:
        with pytest.raises(ConfigError) as raised:
            load(overrides)
        return raised.value.diagnostics

    return find
