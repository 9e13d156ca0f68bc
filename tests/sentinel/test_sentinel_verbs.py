"""Every verb of the command line, over servers that are well and that are not: no stream and no file shows a key."""

import json
from contextlib import suppress
from importlib import import_module

import pytest
from dspy.utils.exceptions import DSPyError

from lmroute import cli
from lmroute.engine.resolver import build

from .gossip import ERRORS
from .house import KEYS

ALL = "provider=[by_env,by_file,by_command,by_keyring]"
STUDIO = ("provider=[by_file]",)
AWRY = ("a redirect's path", "cut by each limit", "a broken header")
"""What servers answer to those who ask for their models, beside a list of models with the key in it."""

ASKING = {
    "validate": (("--live", ALL), ("--live", "--format", "json", ALL)),
    "health": (("--phases", ALL), ("--json", "--chat", ALL), ("by_env", "by_file")),
    "models.list": ((ALL,), ("--json", ALL)),
    "models.load": (("tern-3b", *STUDIO), ("tern-3b", "--json", *STUDIO)),
    "models.unload": (("tern-3b", *STUDIO), ("--all", *STUDIO)),
    "models.download": (("rookery/tern-3b", *STUDIO),),
    "lock": ((ALL,), ("--all", "--json", ALL), ("--check", "--json", ALL)),
}
QUIET = {
    "validate": tuple(("--format", kind, ALL) for kind in ("text", "full", "json", "github", "sarif", "junit")),
    "why": (("providers.by_env.auth_token", ALL), ("providers.by_command", "--json", ALL), ("providers", ALL)),
    "route.explain": ((ALL,), ("--format", "json", "--down", "by_env", ALL), ("--call", "CALL")),
    "policy.verify": (("--k", "1", ALL), ("--format", "json", ALL)),
    "policy.diff": (("local_first", "cost_first", ALL),),
    "policy.replay": tuple(("RECORDS", "--policy", "cost_first", "--format", kind, ALL) for kind in ("text", "json")),
    "policy.test": (("local_only",), ("local_only", "--format", "junit")),
    "auth.status": ((ALL,), ("--json", "--run", ALL), ("--all",), ("by_env", "by_keyring")),
    "auth.set": (("another",), ("by_keyring",), ("by_env",)),
    "auth.clear": (("another",), ("by_keyring",)),
    "usage": ((), ("--json",), ("--csv",), ("--by", "model,task"), ("--chart", "usage.svg"), ("RECORDS",)),
    "logs": ((), ("--attempts",), ("--json", "-n", "50"), ("--call", "CALL"), ("--call", "CALL", "--json")),
    "lock": (("--check",),),
    "explain": ((), ("LMR005", "--json")),
    "init": (("project",), ("--dry-run",)),
    "emulator": (("--models", "TYPO", "--load", "KEYLESS", "--port", "0"),),
}  # fmt: skip
"""What each verb is run with. A server that stays up has its own test below, in ``test_sentinel_processes``."""


def verbs(table=cli.VERBS, before=""):
    """All that there are, those below others too: ``policy.verify``."""
    for name in table:
        below = getattr(import_module(f"lmroute.cli.{before}{name}"), "VERBS", None)
        yield from verbs(below, f"{before}{name}.") if below else [f"{before}{name}"]


def test_each_verb_is_run():
    assert set(verbs()) == {*ASKING, *QUIET}


@pytest.fixture
def records(house, stacks, gossip):
    """Calls that were answered and calls that failed, with the key in their prompts, all of them recorded."""
    for kind in ("env", "file", "command"):
        lm = build(stacks(kind, "telemetry.capture_content=true"), cache=False)
        for says in (gossip.says, ERRORS["OpenAI's 401"]):
            gossip.says, before = says, gossip.says
            with suppress(DSPyError):  # it is the record that counts
                lm(f"what is {KEYS[kind]}?")
            gossip.says = before
        lm.engine.close()
    return house.rooms / "state" / "events"


@pytest.fixture
def filled(records):
    """Puts the place and the id of a record where arguments ask for them."""
    calls = [json.loads(line) for file in records.rglob("*.jsonl") for line in file.read_text("utf-8").splitlines()]
    assert [call["status"] for call in calls if call["kind"] == "call"].count("error") == 3
    named = {"RECORDS": str(records), "CALL": calls[-1]["call"]}
    return lambda words: [named.get(word, word) for word in words]


@pytest.mark.parametrize("name", QUIET)
def test_verbs(name, verb, house, filled, heard):
    for words in QUIET[name]:
        told, code = verb(*name.split("."), *filled(words), piped=f"{KEYS['env']}\n")
        assert code in {0, 1, 2}
        assert "internal error" not in told["stderr"]
        assert told["stdout"] or told["stderr"] or name == "validate"
        house.search({**told, "log": heard()})


@pytest.mark.parametrize("says", [None, *AWRY])
@pytest.mark.parametrize("name", ASKING)
def test_verbs_that_ask_servers(name, says, verb, house, gossip):
    gossip.is_well = says is None
    gossip.says = ERRORS[says or "OpenAI's 401"]
    seen = {}
    for words in ASKING[name]:
        told, code = verb(*name.split("."), *words)
        assert code in {0, 1, 2}
        assert "internal error" not in told["stderr"]
        seen |= {f"{' '.join(words)} {stream}": text for stream, text in told.items()}
    assert {key for key in gossip.keys if key in KEYS.values()}
    house.search(seen)
