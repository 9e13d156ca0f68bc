"""Five leaks of private work that other routers have had, as policies of ours; ``lmroute validate`` refuses each.

``<leak>/conf/routing/leak.yaml`` says whose leak it is and re-enacts it, ``overrides.txt`` is the command line,
``request.yaml`` the request that leaks, ``expected.txt`` what ``lmroute validate`` prints (N for a number of files).
tests/engine/test_engine_leaks.py runs the same policies without validation.
"""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lmroute.cli import main
from lmroute.config.compose import compose
from lmroute.config.decode import decode
from lmroute.model import Locality
from lmroute.routing.decide import decide
from lmroute.routing.policy import compile_policy
from lmroute.routing.proofs.findings import Flaw
from lmroute.routing.proofs.verify import verify

LEAKS = {file.parent.name: file.parent for file in sorted(Path(__file__).parent.glob("*/request.yaml"))}


@pytest.fixture(params=LEAKS.values(), ids=LEAKS)
def leak(request, monkeypatch):
    """A leak's folder, with its configuration in reach."""
    monkeypatch.chdir(request.param)
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(request.param / "conf"))
    monkeypatch.setenv("OPENAI_API_KEY", "a key")
    for name in ("GITHUB_ACTIONS", "LMROUTE_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    return request.param


def words(leak):
    return (leak / "overrides.txt").read_text(encoding="utf-8").splitlines()


def asked(leak):
    return yaml.safe_load((leak / "request.yaml").read_text(encoding="utf-8"))


def test_these_are_the_five():
    assert LEAKS.keys() == {
        "fallback_tagged_default",
        "tag_misspelt",
        "filter_left_off",
        "caller_override",
        "fallback_of_a_fallback",
    }


def test_it_is_refused_with_the_request_that_leaks(leak, capsys):
    assert main(["validate", *words(leak)]) == 1
    printed = re.sub(r"\bin \d+ files", "in N files", capsys.readouterr().out)
    assert printed == (leak / "expected.txt").read_text(encoding="utf-8")
    assert "LMR324" in printed


def test_the_witness_is_that_request_and_really_leaks(leak):
    stack, case = decode(compose(words(leak)).document), asked(leak)
    [found] = [f for f in verify(stack.policy, stack.providers).findings if f.flaw is Flaw.LEAK]
    assert (found.witness.stated, found.candidate.provider) == (case["witness"], case["reaches"])
    assert stack.providers[case["reaches"]].locality is Locality.CLOUD
    unguarded = replace(stack.policy, guarantees=())
    decision = decide(compile_policy(unguarded, stack.providers), found.witness.attributes)
    assert found.candidate in decision.candidates
    guarded = decide(compile_policy(stack.policy, stack.providers), found.witness.attributes)
    assert {c.provider for c in guarded.candidates}.isdisjoint({case["reaches"]})


def test_a_tag_that_the_caller_misspells_is_no_other_request(monkeypatch, capsys):
    """The other half of a misspelt tag: a policy that reads tags knows them, and refuses what is none of them."""
    leak = LEAKS["fallback_tagged_default"]
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(leak / "conf"))
    assert main(["validate", *words(leak), "task.tags=[privte]"]) == 1
    assert "LMR313 task.tags.0: policy 'leak' knows no tag \"privte\"" in capsys.readouterr().out
