"""What an editor shows of our files: yaml-language-server, asked as an editor asks it, follows the modeline."""

import shutil
import subprocess

import platformdirs
import pytest
from filelock import FileLock

from lmroute.config.paths import shipped

from .language_server import LanguageServer

CONF = shipped("conf")
PACKAGE = "yaml-language-server"
VERSION = "1.25.0"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed():
    """The server's program, installed once into the user's cache."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not (node and npm):
        pytest.skip("yaml-language-server needs node and npm")
    home = platformdirs.user_cache_path("lmroute", appauthor=False) / "tests" / f"{PACKAGE}-{VERSION}"
    program = home / "node_modules" / PACKAGE / "bin" / PACKAGE
    home.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(home.with_suffix(".lock")):
        if not program.exists():
            command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(home)]
            done = subprocess.run([*command, f"{PACKAGE}@{VERSION}"], capture_output=True, text=True, check=False)
            if done.returncode:
                shutil.rmtree(home, ignore_errors=True)
                pytest.skip(f"{PACKAGE} cannot be installed: {done.stderr[-300:]}")
    return [node, str(program), "--stdio"]


@pytest.fixture(scope="module")
def server(installed):
    server = LanguageServer(installed, CONF.parent)
    yield server
    server.close()


def place(text, word):
    """Line and column, from 1, of a place inside of a word."""
    before, _, _ = text.partition(word)
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 2


def test_a_misspelt_key_of_a_shipped_profile_is_reported(server):
    file = CONF / "provider" / "lmstudio.yaml"
    text = file.read_text(encoding="utf-8").replace("locality:", "localty:")
    line, _ = place(text, "localty")
    assert server.problems(file, text) == [(line, "Property localty is not allowed.")]


def test_what_comes_later_is_accepted_and_mistakes_are_told_in_the_schemas_own_words(server):
    file = CONF / "provider" / "mine.yaml"
    text = (
        "# @package providers.mine\n"
        "# yaml-language-server: $schema=../../schemas/v1/authoring/provider.schema.json\n"
        "id: ${name}\n"
        "type: lmstudio\n"
        "endpoint: http://${oc.env:HOST,127.0.0.1}:1234\n"
        "context_window: ${window}\n"
        "enabled: ???\n"
        'cost: {input_per_mtok: "${price}", output_per_mtok: free}\n'
        "auth_token: ${oc.env:TOKEN}\n"
        "capabilities: ${can}\n"
    )
    assert server.problems(file, text) == [
        (8, 'Incorrect type. Expected "number".'),
        (9, "Incorrect type. Expected one of object, null."),
    ]


def test_hovering_tells_what_a_key_is_for_in_every_group(server):
    file = CONF / "experiment" / "mine.yaml"
    text = (
        "# @package _global_\n"
        "# yaml-language-server: $schema=../../schemas/v1/authoring/experiment.schema.json\n"
        "defaults: [override /routing: cloud_first]\n"
        "providers: {openai: {timeouts: {total_s: 9}, locality: clod}}\n"
        "routing:\n"
        "  rules:\n"
        "    - name: ${a}\n"
        "      when: {privacy: {eq: private}}\n"
    )
    assert len(server.problems(file, text)) == 2  # `clod`, and the rule without `use`
    for word, shown in {
        "defaults": "the files this one builds on",
        "timeouts": "The clocks of one attempt",
        "total_s": "The whole attempt.",
        "locality": "Allowed Values:",
        "rules": "asked in the order of their priority",
        "name": "unique in its policy",
        "privacy": "What the request says about its data.",
    }.items():
        assert shown in server.hover(file, *place(text, word)), word


def test_values_are_offered(server):
    file = CONF / "provider" / "new.yaml"
    text = (
        "# @package providers.new\n"
        "# yaml-language-server: $schema=../../schemas/v1/authoring/provider.schema.json\n"
        "id: new\n"
        "type: \n"
        "enabled: \n"
        "capabilities:\n"
        "  json_mode: \n"
    )
    assert server.problems(file, text)
    assert {"lmstudio", "vllm", "embedded"} <= set(server.offered(file, 4, 7))
    assert server.offered(file, 5, 10) == ["true", "false"]
    assert set(server.offered(file, 7, 14)) == {"json_schema", "json_object", "none"}
