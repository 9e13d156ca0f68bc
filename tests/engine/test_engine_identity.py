"""The name of a stack: DSPy's cache keys on it, so the same name must mean the same answers."""

import subprocess
import sys
from dataclasses import replace

import pytest

from lmroute import validate
from lmroute.engine.identity import stack_name
from lmroute.model import (
    ALWAYS,
    AnyOf,
    Capabilities,
    Cost,
    Failure,
    Locality,
    Not,
    Rule,
    SecretRef,
    SecretSource,
    Selector,
    TaskSpec,
    Timeouts,
)

OVERRIDES = ["provider=[lmstudio,embedded,openai]", "routing=local_first", "providers.openai.tags=[a,b,c,d,e,f,g]"]


@pytest.fixture(scope="module")
def base():
    return validate.load(OVERRIDES)


def test_the_same_configuration_has_the_same_name_in_every_process(base):
    program = f"""
from lmroute import validate
from lmroute.engine.identity import stack_name
print(stack_name(validate.load({OVERRIDES})))
"""
    for seed in ("1", "2"):
        env = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path), "LMROUTE_CONFIG_HOME": "nobody"}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True, env=env
        )
        assert done.stdout.strip() == stack_name(base)


def test_it_reads_policy_at_hash(base):
    name = stack_name(base)
    policy, _, digits = name.partition("@")
    assert policy == "local_first"
    assert len(digits) == 8
    assert int(digits, 16) >= 0
    # DSPy takes names like gpt-5 or o3 after the last slash for OpenAI's reasoning models.
    assert "/" not in name


LMSTUDIO = {
    "endpoint": "http://127.0.0.1:4321",
    "models": ("qwen3-4b",),
    "enabled": False,
    "auth_token": SecretRef(SecretSource.ENV, ("OTHER",)),
    "locality": Locality.PRIVATE,
    "tags": frozenset({"local", "fast"}),
    "cost": Cost(1, 2),
    "capabilities": Capabilities(),
    "context_window": 1,
    "timeouts": Timeouts(total_s=1),
    "params": (("temperature", 0.5),),
    "on_substitution": "warn",
}


@pytest.mark.parametrize("field", LMSTUDIO)
def test_any_change_of_a_provider_changes_it(base, field):
    changed = replace(base.providers["lmstudio"], **{field: LMSTUDIO[field]})
    assert stack_name(replace(base, providers={**base.providers, "lmstudio": changed})) != stack_name(base)


def test_the_order_of_providers_changes_it_as_it_changes_who_answers(base):
    assert stack_name(replace(base, providers=dict(reversed(base.providers.items())))) != stack_name(base)
    assert stack_name(validate.load(["provider=[embedded,lmstudio,openai]", "routing=local_first"])) != stack_name(base)


def test_leaving_a_provider_out_changes_it(base):
    fewer = {name: base.providers[name] for name in ("lmstudio", "embedded")}
    assert stack_name(replace(base, providers=fewer)) != stack_name(base)


POLICY = {
    "priority": {"priority": 1},
    "use": {"use": (Selector(),)},
    "when": {"when": ALWAYS},
    "nothing": {"when": AnyOf(())},
    "never": {"when": Not(ALWAYS)},
    "fallback_on": {"fallback_on": frozenset({Failure.SERVER})},
    "name": {"name": "other"},
}


@pytest.mark.parametrize("change", POLICY.values(), ids=POLICY)
def test_any_change_of_the_policy_changes_it(base, change):
    first, *others = base.policy.rules
    policy = replace(base.policy, rules=(replace(first, **change), *others))
    assert stack_name(replace(base, policy=policy)) != stack_name(base)


def test_predicates_of_other_kinds_are_told_apart(make):
    names = {
        stack_name(make.stack(make.profile(), rules=(Rule("r", (Selector(),), when),)))
        for when in (ALWAYS, AnyOf(()), Not(ALWAYS), Not(AnyOf(())))
    }
    assert len(names) == 4


def test_the_deadline_and_the_seed_change_it(base):
    assert stack_name(replace(base, policy=replace(base.policy, deadline_s=1.0))) != stack_name(base)
    assert stack_name(replace(base, seed=1)) != stack_name(base)


def test_task_and_adapter_are_in_the_prompt_already(base):
    assert stack_name(replace(base, task=TaskSpec("ask"), adapter="json")) == stack_name(base)


def test_stacks_made_in_python_have_names_of_their_own(make):
    assert stack_name(make.stack(make.profile("a"))) != stack_name(make.stack(make.profile("b")))


def test_the_value_of_a_secret_has_no_part_in_it(base, monkeypatch):
    before = stack_name(base)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abcdefgh12345678")
    assert stack_name(validate.load(OVERRIDES)) == before
