"""A server that does not come up: the message says what is wrong. llama.cpp's place is taken by a few bad modules."""

import os
import sys
from pathlib import Path

import pytest

from lmroute.errors import EmbeddedUnavailable, MissingExtra
from lmroute.providers.embedded import EmbeddedServer

REAL_HEADER = b"GGUF\x03\x00\x00\x00" + (1).to_bytes(8, "little") + bytes(8)

_LOADING = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace

here = Path(__file__).parent
llama_flash_attn_type = SimpleNamespace(LLAMA_FLASH_ATTN_TYPE_DISABLED=0)

def CommonParams():
    return SimpleNamespace(model=SimpleNamespace(), sampling=SimpleNamespace(), cpuparams=SimpleNamespace(),
                           cpuparams_batch=SimpleNamespace())

def Server(params):
    (here / "pid").write_text(str(os.getpid()))
    (here / "loading").touch()
    for _ in range(6000):  # two minutes: a failing test must not leave a process for ever
        if (here / "gate").exists():
            break
        time.sleep(0.02)
    return SimpleNamespace(listening_address="http://127.0.0.1:1")
"""


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "local.gguf"
    path.write_bytes(REAL_HEADER)
    return path


@pytest.fixture
def llama(tmp_path, monkeypatch, cache):
    """Puts a module of the given source where the child, and only the child, finds it as ``xllamacpp``."""

    def install(source):
        (tmp_path / "modules").mkdir()
        (tmp_path / "modules" / "xllamacpp.py").write_text(source, encoding="utf-8")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
        return tmp_path / "modules"

    return install


def test_without_llama_cpp_the_extra_is_named_before_anything_is_fetched(monkeypatch, cache):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingExtra, match=r"the embedded model needs .* pip install 'lmroute\[embedded\]'"):
        EmbeddedServer.acquire(None)
    assert not cache.exists()


def test_a_missing_openmp_library_comes_with_its_package(llama, model):
    llama("raise ImportError('libgomp.so.1: cannot open shared object file: No such file or directory')")
    with pytest.raises(EmbeddedUnavailable, match=r"local\.gguf.*apt-get install libgomp1"):
        EmbeddedServer.acquire(model)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no such thing')", "RuntimeError: no such thing"),
        ("import os; os._exit(7)", "exit status 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "exit status"),
    ],
)
def test_the_last_words_are_quoted(llama, model, source, reason):
    llama(source)
    with pytest.raises(EmbeddedUnavailable) as failure:
        EmbeddedServer.acquire(model)
    assert str(model) in str(failure.value)
    assert reason in str(failure.value)
    assert len(str(failure.value).splitlines()) == 2


def test_a_load_that_takes_too_long_is_ended(llama, model):
    modules = llama(_LOADING)
    with pytest.raises(EmbeddedUnavailable, match=r"not loaded after 2 s; raise timeouts\.load_s"):
        EmbeddedServer.acquire(model, load_s=2)
    if sys.platform != "win32" and (modules / "pid").exists():  # on a slow machine it did not even get there
        with pytest.raises(ProcessLookupError):  # ended, and reaped
            os.kill(int((modules / "pid").read_text()), 0)


@pytest.mark.skipif(sys.platform == "win32", reason="looks a process up the POSIX way")
def test_a_starter_killed_while_loading_leaves_no_server(llama, model, hold, wait_until, is_gone):
    modules = llama(_LOADING)
    root = str(Path(__file__).parents[2])
    starter = hold(model, PYTHONPATH=os.pathsep.join([root, str(modules)]))
    wait_until((modules / "loading").exists, "the server to load")
    starter.kill()
    (modules / "gate").touch()
    server = int((modules / "pid").read_text())
    wait_until(lambda: is_gone(server), "the server to end")


def test_a_wrong_file_is_told_before_anything_starts(cache, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(EmbeddedUnavailable, match=r"notes\.txt is not a GGUF file"):
        EmbeddedServer.acquire(tmp_path / "notes.txt")
    assert not cache.exists()
