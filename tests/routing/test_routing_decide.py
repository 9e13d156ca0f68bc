"""Which rule decides, which candidates are kept, and why the others are not."""

import ast
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmroute.routing
from lmroute.model import (
    AllOf,
    Attributes,
    Candidate,
    Capabilities,
    Failure,
    Named,
    Operator,
    Policy,
    Profile,
    Rule,
    Selector,
    Test,
)
from lmroute.routing.conditions import compile_predicate
from lmroute.routing.decide import OVERFLOW, decide
from lmroute.routing.policy import compile_policy

A = Candidate("a", "auto")


def drawn_case(drawn, data):
    providers = data.draw(drawn.providers)
    compiled = compile_policy(data.draw(drawn.policies), providers)
    candidates = sorted({c for rule in compiled.rules for c, _ in rule.candidates}, key=str)
    windows = data.draw(st.dictionaries(st.sampled_from(candidates), st.integers(0, 40))) if candidates else {}
    return compiled, providers, data.draw(drawn.attributes), windows


def only(profile, attributes, **windows):
    """The decision about one provider ``a`` that a single rule uses."""
    policy = Policy("p", (Rule("all", (Selector(),)),))
    return decide(compile_policy(policy, {"a": profile}), attributes, **windows)


@given(data=st.data())
def test_the_first_matching_rule_by_priority_then_position_decides(drawn, data):
    policy, attributes, providers = data.draw(drawn.policies), data.draw(drawn.attributes), data.draw(drawn.providers)
    matching = [
        (rule.priority, position, rule)
        for position, rule in enumerate(policy.rules)
        if compile_predicate(rule.when)(attributes)
    ]
    decision = decide(compile_policy(policy, providers), attributes)
    if not matching:
        assert decision.rule == ""
        assert decision.considered == decision.candidates == ()
        return
    expected = min(matching, key=lambda found: found[:2])[2]
    assert decision.rule == expected.name
    assert decision.fallback_on == expected.fallback_on


@given(data=st.data())
def test_the_same_question_has_the_same_answer(drawn, data):
    compiled, _, attributes, windows = drawn_case(drawn, data)
    first = decide(compiled, attributes, windows)
    assert decide(compiled, replace(attributes), dict(reversed(windows.items()))) == first


@given(data=st.data())
def test_every_candidate_is_considered_in_order_and_none_that_was_dropped_is_chosen(drawn, data):
    compiled, _, attributes, windows = drawn_case(drawn, data)
    decision = decide(compiled, attributes, windows)
    rule = compiled.rule_for(attributes)
    assert [c.candidate for c in decision.considered] == [c for c, _ in (rule.candidates if rule else ())]
    assert list(decision.candidates) == [c.candidate for c in decision.considered if c.dropped == ""]


@given(data=st.data())
def test_a_kept_candidate_has_no_fault_and_a_dropped_one_the_fault_that_is_named(drawn, data):
    compiled, providers, attributes, windows = drawn_case(drawn, data)
    for considered in decide(compiled, attributes, windows).considered:
        profile = providers[considered.candidate.provider]
        window = windows.get(considered.candidate, profile.context_window)
        needed = attributes.prompt_tokens + attributes.max_output_tokens
        capable = profile.capabilities
        faults = {
            "disabled": not profile.enabled,
            "cannot call tools": attributes.needs_tools and not capable.tools,
            "cannot see images": attributes.needs_vision and not capable.vision,
            "cannot reason": attributes.needs_reasoning and not capable.reasoning,
            OVERFLOW: window is not None and needed * 8 > window * 10,
        }
        named = considered.dropped.partition(":")[0]
        assert named == next((fault for fault, there in faults.items() if there), "")


@given(data=st.data())
def test_providers_in_use_are_those_of_all_rules_each_once(drawn, data):
    compiled, providers, _, _ = drawn_case(drawn, data)
    used = compiled.providers_in_use()
    assert len(set(used)) == len(used)
    assert set(used) == {c.provider for rule in compiled.rules for c, _ in rule.candidates} <= set(providers)


@pytest.mark.parametrize(
    ("profile", "attributes", "reason"),
    [
        (Profile("a", "openai", enabled=False), Attributes(needs_tools=True), "disabled"),
        (Profile("a", "openai"), Attributes(needs_tools=True), "cannot call tools"),
        (Profile("a", "openai"), Attributes(needs_vision=True), "cannot see images"),
        (Profile("a", "openai"), Attributes(needs_reasoning=True), "cannot reason"),
        (
            Profile("a", "openai", context_window=4096),
            Attributes(prompt_tokens=5000, max_output_tokens=500),
            "context window too small: needs about 5500 of 4096 tokens",
        ),
    ],
)
def test_each_objection_by_example(profile, attributes, reason):
    decision = only(profile, attributes)
    assert [c.dropped for c in decision.considered] == [reason]
    assert decision.candidates == ()


def test_a_capable_provider_is_kept():
    capable = Capabilities(tools=True, vision=True, reasoning=True)
    wanted = Attributes(needs_tools=True, needs_vision=True, needs_reasoning=True, needs_response_schema=True)
    assert only(Profile("a", "openai", capabilities=capable, context_window=100), wanted).candidates == (A,)


def test_a_learned_window_beats_the_profiles_own_either_way():
    small, request = Profile("a", "openai", context_window=1000), Attributes(prompt_tokens=4000)
    assert only(small, request).candidates == ()
    assert only(small, request, windows={A: 8000}).candidates == (A,)
    assert only(replace(small, context_window=8000), request, windows={A: 1000}).candidates == ()
    assert only(small, request, windows={Candidate("a", "other"): 8000}).candidates == ()


def test_an_unknown_window_objects_to_nothing():
    assert only(Profile("a", "openai"), Attributes(prompt_tokens=10**9)).candidates == (A,)


def test_an_estimate_a_little_over_the_window_is_tried_all_the_same():
    profile = Profile("a", "openai", context_window=1000)
    assert only(profile, Attributes(prompt_tokens=1250)).candidates == (A,)
    assert only(profile, Attributes(prompt_tokens=1251)).candidates == ()


def test_equal_priorities_keep_the_order_of_the_file_and_lower_ones_come_first():
    use = (Named("a"),)
    rules = (Rule("late", use, priority=200), Rule("first", use), Rule("second", use), Rule("zero", use, priority=0))
    compiled = compile_policy(Policy("p", rules), {})
    assert [rule.name for rule in compiled.rules] == ["zero", "first", "second", "late"]


def test_a_decision_carries_its_rules_fallback():
    rule = Rule("r", (Named("a"),), fallback_on=frozenset({Failure.TIMEOUT}))
    decision = decide(compile_policy(Policy("p", (rule,)), {"a": Profile("a", "openai")}), Attributes())
    assert decision.fallback_on == {Failure.TIMEOUT}


def test_no_rule_for_a_request_is_a_decision_too():
    rule = Rule("r", (Named("a"),), when=AllOf((Test("task", Operator.EQ, "qa"),)))
    decision = decide(compile_policy(Policy("p", (rule,)), {"a": Profile("a", "openai")}), Attributes(task="other"))
    assert (decision.rule, decision.considered, decision.fallback_on) == ("", (), None)


def test_routing_asks_neither_clock_nor_chance_nor_the_world():
    """Purity is by what can be called at all: none of these modules is imported."""
    impure = {"time", "datetime", "random", "os", "socket", "pathlib", "threading", "subprocess", "secrets", "uuid"}
    for path in Path(lmroute.routing.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert imported.isdisjoint(impure), path.name


def test_the_strategy_draws_every_attribute_that_a_request_has(drawn):
    """So that a new attribute is not forgotten by the properties above."""
    assert set(drawn.by_field) == {field.name for field in fields(Attributes)}
