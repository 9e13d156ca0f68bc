"""What docs/providers.md says of ports, types and addresses is so."""

import re
from pathlib import Path

import pytest

from lmroute.model import Profile
from lmroute.providers.catalog import TYPES, base_url
from lmroute.providers.inventory import NATIVE, SIGNS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/providers.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([\w. ]+) \| `(\w+)` \| (\d+) \| `([^`]+)` \|$", TEXT, re.MULTILINE)


def test_every_server_that_is_asked_for_more_is_there():
    assert {kind for _, kind, _, _ in ROWS} == set(NATIVE) - {"lmstudio"}
    assert all(SIGNS[kind].name == name for name, kind, _, _ in ROWS)


@pytest.mark.parametrize(("kind", "port", "start"), [row[1:] for row in ROWS])
def test_ports_and_commands_are_those_of_the_profiles(kind, port, start):
    profile = (ROOT / f"conf/provider/{kind}.yaml").read_text(encoding="utf-8")
    assert f"endpoint: http://127.0.0.1:{port}\n" in profile
    assert f"`{start}`" in profile


@pytest.mark.parametrize(
    ("kind", "path"),
    [("ollama", "/api/chat"), ("llamacpp", "/props"), *((kind, "/v1/chat/completions") for kind in TYPES)],
)
def test_addresses_that_will_do(kind, path):
    assert f"`{path}`" in TEXT
    row = TYPES[kind]
    if row.endpoint is None and row.path == "/v1":
        assert base_url(Profile("p", kind, endpoint=f"http://h:1{path}")) == "http://h:1/v1"
