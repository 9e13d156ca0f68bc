"""What this machine tells about a connection that fails: containers, WSL, LM Studio's own settings, own addresses."""

import json
import socket

import pytest

from lmroute.model import Locality, Profile
from lmroute.providers.lmstudio.installation import LOOPBACK, ServerSettings, home, server_settings
from lmroute.providers.probe import Patience, probe, surroundings
from lmroute.providers.probe.surroundings import Surroundings, advice, reasons


def profile(endpoint="http://127.0.0.1:1234", **fields):
    fields = {"id": "box", "type": "lmstudio", "locality": Locality.LOOPBACK, **fields}
    return Profile(endpoint=endpoint, **fields)


@pytest.fixture
def here(tmp_path):
    """A machine without anything special: ``here(container=True, release=…)``."""

    def made(*, container=False, release="6.1.0-generic"):
        mark = tmp_path / "mark"
        if container:
            mark.touch()
        return Surroundings((mark,), release, tmp_path)

    return made


def told(ours, here):
    return list(reasons(ours, f"{ours.endpoint}/v1", here))


def settled(folder, **settings):
    place = folder / ".lmstudio" / ".internal" / "http-server-config.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(settings), encoding="utf-8")


def test_a_plain_machine_explains_nothing(here):
    assert told(profile(), here()) == []


def test_in_a_container(here):
    (said,) = told(profile(), here(container=True))
    assert "127.0.0.1 is the container itself" in said
    assert "providers.box.endpoint=http://host.docker.internal:1234 providers.box.locality=private" in said
    assert "Serve on Local Network" in said
    (other,) = told(profile("http://localhost:8000", type="vllm"), here(container=True))
    assert "http://host.docker.internal:8000" in other
    assert "LM Studio" not in other


def test_in_wsl(here):
    (said,) = told(profile("http://localhost:1234"), here(release="5.15.90.1-microsoft-standard-WSL2"))
    assert "from WSL" in said
    assert "let port 1234 in" in said


def test_lm_studios_own_settings_name_another_port(here, tmp_path):
    settled(tmp_path, port=4321, networkInterface="0.0.0.0")
    assert told(profile(), here()) == [
        "LM Studio was last started on port 4321: write providers.box.endpoint=http://127.0.0.1:4321"
    ]
    assert told(profile("http://127.0.0.1:4321"), here()) == []
    assert told(profile(type="ollama"), here()) == []


def test_a_server_on_the_network_has_to_be_served_there(here):
    ours = profile("http://192.168.77.5:1234", locality=Locality.PRIVATE)
    (said,) = told(ours, here())
    assert said.startswith("on 192.168.77.5, turn on 'Serve on Local Network' in LM Studio's server settings")
    assert said.endswith("and let port 1234 in through its firewall")
    assert told(profile("https://example.com", locality=Locality.CLOUD), here()) == []


def test_an_own_address_where_only_loopback_answers(here, monkeypatch):
    monkeypatch.setattr(surroundings, "_is_own", lambda host: host == "192.168.77.5")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        said = advice(profile(f"http://192.168.77.5:{port}"), f"http://192.168.77.5:{port}/v1", "start it", here())
    assert "start it" not in said
    assert f"it answers at 127.0.0.1:{port}, so it serves this machine only" in said
    assert f"providers.box.endpoint=http://127.0.0.1:{port}" in said


def test_own_addresses_are_those_that_can_be_bound():
    assert surroundings._is_own("127.0.0.1")
    assert not surroundings._is_own("192.0.2.1")  # of a documentation network
    assert not surroundings._is_own("box")


def test_the_probe_says_the_reason_before_the_usual_advice(monkeypatch, here):
    monkeypatch.setattr(surroundings, "HERE", here(container=True))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    found = probe(profile(f"http://127.0.0.1:{port}"), patience=Patience(retries=0))
    assert found.fix.startswith("in a container 127.0.0.1 is the container itself")
    assert found.fix.endswith(
        "start LM Studio's server (Developer page, or: lms server start), or correct providers.box.endpoint"
    )


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"port": "1234"}', '{"port": true}', '{"port": 0}', '{"port": 70000}']
)
def test_settings_that_say_nothing(tmp_path, text):
    assert server_settings(tmp_path) is None
    settled(tmp_path)
    (tmp_path / ".lmstudio" / ".internal" / "http-server-config.json").write_text(text, encoding="utf-8")
    assert server_settings(tmp_path) is None


def test_where_lm_studio_lives(tmp_path):
    assert home(tmp_path) == tmp_path / ".lmstudio"
    (tmp_path / ".cache" / "lm-studio").mkdir(parents=True)
    assert home(tmp_path) == tmp_path / ".cache" / "lm-studio"
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / ".lmstudio-home-pointer").write_text(f"{elsewhere}\n", encoding="utf-8")
    assert home(tmp_path) == elsewhere
    (elsewhere / ".internal").mkdir(parents=True)
    (elsewhere / ".internal" / "http-server-config.json").write_text(
        '{"port": 7, "networkInterface": ""}', encoding="utf-8"
    )
    assert server_settings(tmp_path) == ServerSettings(7, LOOPBACK)
