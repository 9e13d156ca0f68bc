"""A key where none belongs, by mistake: what is said about it does not say it again, and no file keeps it.

Keys of a known shape are told anywhere; others only where a name or a place says what they are.
"""

from urllib.parse import quote

import pytest

from lmroute import redact

from .house import KEYS

SHAPED, SHAPELESS = KEYS["env"], KEYS["command"]
TOKEN = "providers.by_env.auth_token"
ONE = "provider=[by_env]"

OVERRIDES = {
    "a token": lambda key: f"{TOKEN}={key}",
    "a token, added": lambda key: f"++{TOKEN}='{key}'",
    "a token in a reference": lambda key: f"{TOKEN}={{value: '{key}'}}",
    "a token of another source": lambda key: f"{TOKEN}={{token: '{key}'}}",
    "a token that does not parse": lambda key: f"{TOKEN}={{env: {key}",
    "another key for it": lambda key: f"+providers.by_env.api_key='{key}'",
    "a header": lambda key: f"+providers.by_env.headers={{Authorization: 'Bearer {key}'}}",
    "a user": lambda key: f"providers.by_env.endpoint=http://me:{quote(key, safe='')}@127.0.0.1:9",
    "a query": lambda key: f"providers.by_env.endpoint='http://127.0.0.1:9/v1?api_key={quote(key, safe='')}'",
    "a collector's token": lambda key: f"+telemetry.otlp.auth_token='{key}'",
}
"""Where a name or a place says that it is a key."""

WORDS = {
    "a variable's name": lambda key: f"{TOKEN}={{env: '{key}'}}",
    "a file's name": lambda key: f"{TOKEN}={{file: '{key}'}}",
    "a command": lambda key: f"{TOKEN}={{command: [echo, '{key}']}}",
    "an entry's name": lambda key: f"{TOKEN}={{keyring: '{key}'}}",
    "a question": lambda key: f"question='{key}'",
    "a model": lambda key: f"providers.by_env.models=['{key}']",
    "a provider": lambda key: f"provider=['{key}']",
    "a policy": lambda key: f"routing='{key}'",
    "a group": lambda key: f"+{key}=1",
    "a folder": lambda key: f"hydra.run.dir='{key}'",
    "no override": lambda key: key,
    "a path": lambda key: f"providers.by_env.endpoint=http://127.0.0.1:9/{key}",
    "an interpolation": lambda key: f"providers.by_env.models=['${{oc.env:{key}}}']",
}
"""Anywhere else, where only its shape tells."""

VERBS = (
    ("validate", "--format", "json"),
    ("health", "--json"),
)
OTHERS = (
    ("validate", "--format", "full"),
    ("validate", "--format", "github"),
    ("validate", "--format", "sarif"),
    ("validate", "--live"),
    ("why", "--json", TOKEN),
    ("route", "explain"),
    ("policy", "verify"),
    ("policy", "diff", "local_first", "cost_first"),
    ("health",),
    ("models", "list"),
    ("models", "load", "tern-3b"),
    ("auth", "status"),
    ("lock",),
    ("policy", "replay", ".", "--policy", "cost_first"),
)

LINES = {
    "a verb": lambda key: (key,),
    "a verb below": lambda key: ("models", key),
    "a code": lambda key: ("explain", key),
    "a provider's name": lambda key: ("health", key),
    "a model to load": lambda key: ("models", "load", key, "provider=[by_file]"),
    "a model to download": lambda key: ("models", "download", f"https://u:{key}@box/{key}", "provider=[by_file]"),
    "an option": lambda key: ("health", f"--token={key}"),
    "an option's value": lambda key: ("policy", "verify", "--k", key),
    "a choice": lambda key: ("validate", "--format", key),
    "a time": lambda key: ("usage", "--since", key),
    "a filter": lambda key: ("usage", "--provider", key),
    "a kind of table": lambda key: ("usage", "--by", key),
    "a folder of records": lambda key: ("logs", key),
    "a call": lambda key: ("logs", "--call", key),
    "a recorded call": lambda key: ("route", "explain", "--call", key),
    "a policy's name": lambda key: ("policy", "verify", "--policy", key),
    "a policy to compare": lambda key: ("policy", "diff", key, "local_first"),
    "a policy's test": lambda key: ("policy", "test", key),
    "a key to ask why": lambda key: ("why", key),
    "a commit": lambda key: ("validate", "--changed", key),
    "a code to select": lambda key: ("validate", "--select", key),
    "an emulator's model": lambda key: ("emulator", "--load", key),
    "an emulator's token": lambda key: ("emulator", "--token-env", key, "--require-auth"),
    "an emulator's fault": lambda key: ("emulator", "--fault", f"{key}=1"),
    "an emulator's script": lambda key: ("emulator", "--script", key),
}

NO_NAMES = {
    "a name to set": lambda key: ("auth", "set", key),
    "a second word": lambda key: ("auth", "set", "mine", key),
    "an option to set": lambda key: ("auth", "set", "mine", "--token", key),
    "an option with it": lambda key: ("auth", "set", "mine", f"--token={key}"),
    "an assignment": lambda key: ("auth", "set", f"mine={key}"),
    "a name to clear": lambda key: ("auth", "clear", key),
}

FILES = {
    "a literal": "auth_token: '{key}'",
    "a mapping": "auth_token: {{value: '{key}', env: X}}",
    "broken": "auth_token: [{key}\nmodels: {{",
    "a comment": "auth_token: {{env: X}}  # token={key}\nendpint: x",
    "a header": "headers: {{authorization: 'Bearer {key}'}}",
    "an address": "endpoint: 'http://me:{key}@box:1/v1?token={key}'",
}


@pytest.fixture
def said(verb, house, monkeypatch, heard):
    """Run a command line as a new process would, to which no key is known, and look for what it says and leaves."""

    def run(*words, piped=""):
        monkeypatch.setattr(redact, "_known", redact.Known())
        told, code = verb(*words, piped=piped)
        house.search({**told, "log": heard()})
        assert "internal error" not in told["stderr"]
        return code, told["stdout"] + told["stderr"]

    return run


@pytest.mark.parametrize("key", [SHAPED, SHAPELESS], ids=["shaped", "shapeless"])
@pytest.mark.parametrize("made", OVERRIDES.values(), ids=OVERRIDES)
def test_overrides_that_are_keys(said, made, key):
    for words in VERBS:
        assert said(*words, ONE, made(key))[0] == 1


@pytest.mark.parametrize("made", WORDS.values(), ids=WORDS)
def test_overrides_with_a_key_in_them(said, made):
    for words in VERBS:
        said(*words, ONE, made(SHAPED))


@pytest.mark.parametrize("words", OTHERS, ids=" ".join)
def test_verbs_with_a_token(said, words):
    code, _ = said(*words, ONE, f"{TOKEN}={SHAPELESS}")
    assert code in {1, 2}


@pytest.mark.parametrize("made", LINES.values(), ids=LINES)
def test_words_that_are_keys(said, made):
    said(*made(SHAPED))


@pytest.mark.parametrize("made", NO_NAMES.values(), ids=NO_NAMES)
def test_keys_on_the_command_line_of_auth(said, made):
    """Of one word only its shape tells that it is none; of several, that there is one too many."""
    for key in (SHAPED, SHAPELESS)[: len(made("x")) - 2]:
        assert said(*made(key), piped=f"{SHAPELESS}\n")[0] == 2


@pytest.mark.parametrize("key", [SHAPED, SHAPELESS], ids=["shaped", "shapeless"])
@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_files_with_a_key_in_them(said, house, text, key):
    """The file itself holds it, being the user's; nothing else does."""
    file = house.vault / "mine.yaml"
    file.write_text(f"# @package providers.mine\nid: mine\ntype: openai\n{text.format(key=key)}\n", encoding="utf-8")
    link = house.rooms / "config" / "provider" / "mine.yaml"
    link.symlink_to(file)
    house.skipped.append(link)
    for kind in ("full", "json"):
        assert said("validate", "--format", kind, "provider=[mine]")[0] == 1
    said("validate", "--files-only", "--format", "full")
    said("why", "providers.mine", "provider=[mine]")


def test_a_file_whose_name_is_a_key(said, house):
    file = house.configure(f"provider/{SHAPED}", "id: [")
    house.skipped.append(file)
    for kind in ("text", "full", "json", "github", "sarif", "junit"):
        said("validate", "--files-only", "--format", kind)
    said("auth", "--all")
