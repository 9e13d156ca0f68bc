"""L24: the script on the PATH, and how keys are matched."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.emulator.catalog import SCRIPTED
from lmroute.emulator.lms.address import VARIABLE
from lmroute.emulator.lms.commands import main
from lmroute.emulator.lms.install import install
from lmroute.emulator.lms.matching import matches
from lmroute.errors import LmrouteError

TERN = SCRIPTED[0].key
KEYS = st.text("abcde/-", min_size=1, max_size=12)


@pytest.mark.skipif(sys.platform == "win32", reason="runs the script of the other systems")
def test_the_script_is_found_on_the_path(lms, tmp_path):
    lms()
    folder = tmp_path / "a folder"
    install(folder)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"

    done = subprocess.run(
        ["lms", "ps", "--json"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert [item["identifier"] for item in json.loads(done.stdout)] == [TERN]


def test_installing_again_is_harmless_and_the_real_one_is_left_alone(tmp_path, capsys):
    assert main(["--install", str(tmp_path)]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert install(tmp_path, "http://127.0.0.1:5000") == path
    assert "http://127.0.0.1:5000" in path.read_text(encoding="utf-8")

    path.write_text("the real one", encoding="utf-8")
    with pytest.raises(LmrouteError, match="is not the stand-in, so it is left alone"):
        install(tmp_path)
    assert path.read_text(encoding="utf-8") == "the real one"


def test_the_batch_file_of_windows(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")

    path = install(tmp_path, "http://127.0.0.1:5000")

    lines = path.read_bytes().decode().split("\r\n")
    assert path.name == "lms.cmd"
    assert lines[-3:] == [
        f"if not defined {VARIABLE} set {VARIABLE}=http://127.0.0.1:5000",
        f'"{sys.executable}" -m lmroute.emulator.lms %*',
        "",
    ]


def test_it_needs_no_web_server():
    code = "import sys, lmroute.emulator.lms.commands; sys.exit(bool({'starlette', 'httpx'} & sys.modules.keys()))"

    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("tern", ["rookery/tern-3b", "a/t-e-r-n"]),
        ("ROOKERY/TERN-3B", ["rookery/tern-3b"]),
        ("rk/hrn", ["rookery/heron-8b"]),
        ("rookery", ["rookery/tern-3b", "rookery/heron-8b"]),
        ("nret", []),
        ("", ["a/t-e-r-n", "rookery/tern-3b", "rookery/heron-8b"]),
    ],
)
def test_loose_matching(query, found):
    assert matches(query, ["a/t-e-r-n", "rookery/tern-3b", "rookery/heron-8b"]) == found


@given(key=KEYS, others=st.lists(KEYS), data=st.data())
def test_letters_left_out_of_a_key_still_find_it_and_the_whole_key_comes_first(key, others, data):
    keep = data.draw(st.lists(st.booleans(), min_size=len(key), max_size=len(key)))
    query = "".join(letter for letter, kept in zip(key, keep, strict=True) if kept)

    assert key in matches(query, [*others, key])
    assert matches(key.upper(), [*others, key])[0] == key
