"""What a stranger is told: every situation of ``situations/*.yaml``, to the letter.

A situation has ``about``; what answers on the port (``emulator``: options of ``lmroute emulator``; ``answers`` by path;
else nobody); ``env``, where KNOWN and LIMITED stand for tokens; ``machine``; the ``command``; its exit ``code``; and
what it ``says``. To add one, add a file, see what the test says is printed, and read it as a stranger would.
"""

import re
from pathlib import Path

import pytest
import yaml

FILES = sorted((Path(__file__).parent / "situations").glob("*.yaml"))
SITUATIONS = {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in FILES}


@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=SITUATIONS)
def test_what_is_said(situation, play):
    code, said = play(situation)
    assert said == situation["says"]
    assert code == situation["code"]


def test_what_is_wrong_is_said_with_what_to_do():
    """No finding without advice, and what to write is a field of the configuration or a command."""
    for name, situation in SITUATIONS.items():
        findings = re.findall(r"LMR\d{3} .*\n(.*)", situation["says"])
        assert all(re.match(r"  help: .*(providers\.|lmroute |HTTP_PROXY)", advice) for advice in findings), name


def test_there_are_at_least_twelve():
    assert sum("LMR5" in situation["says"] for situation in SITUATIONS.values()) >= 12
