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
    Budget,
    CallerChoice,
    Candidate,
    Capabilities,
    Facts,
    Failure,
    Named,
    Operator,
    Period,
    Policy,
    Profile,
    Rule,
    Selector,
    Test,
    Traits,
)
from lmroute.routing.conditions import compile_predicate
from lmroute.routing.decide import decide
from lmroute.routing.eligibility import OVERFLOW
from lmroute.routing.policy import DEFAULT, compile_policy
from lmroute.routing.selectors import expand

A, B, C = (Candidate(name, "auto") for name in "abc")
THREE = {name: Profile(name, "openai") for name in "abc"}
ANY = Attributes()
ALL = Policy("p", (Rule("all", (Selector(),)),))


def drawn_case(drawn, data):
    compiled = compile_policy(data.draw(drawn.policies), data.draw(drawn.providers))
    return compiled, data.draw(drawn.attributes), data.draw(drawn.facts)


def asked(decision):
    return "".join(candidate.provider for candidate in decision.candidates)


def only(profile, attributes, **facts):
    """The decision about one provider ``a`` that a single rule uses."""
    return decide(compile_policy(ALL, {"a": profile}), attributes, Facts(**facts))


def of_three(policy=ALL, *, attributes=ANY, **facts):
    return decide(compile_policy(policy, THREE), attributes, Facts(**facts))


@given(data=st.data())
def test_the_first_matching_rule_by_priority_then_position_decides(drawn, data):
    policy, attributes, providers = data.draw(drawn.policies), data.draw(drawn.attributes), data.draw(drawn.providers)
    matching = [
        (rule.priority, position, rule)
        for position, rule in enumerate(policy.rules)
        if compile_predicate(rule.when, policy.domains)(attributes)
    ]
    decision = decide(compile_policy(policy, providers), attributes)
    if matching:
        expected = min(matching, key=lambda found: found[:2])[2]
        assert (decision.rule, decision.fallback_on) == (expected.name, expected.fallback_on)
    elif policy.default is not None:
        assert (decision.rule, decision.fallback_on) == (DEFAULT, None)
        assert {c.candidate for c in decision.considered} == set(expand(policy.default, providers))
    else:
        assert (decision.rule, decision.considered, decision.fallback_on) == ("", (), None)


@given(data=st.data())
def test_the_same_question_has_the_same_answer(drawn, data):
    compiled, attributes, facts = drawn_case(drawn, data)
    first = decide(compiled, attributes, facts)
    turned = replace(facts, out=dict(reversed(facts.out.items())), load=dict(reversed(facts.load.items())))
    assert decide(compiled, replace(attributes), facts) == first
    assert decide(compiled, replace(attributes, own=dict(reversed(attributes.own.items()))), turned) == first
    assert decide(compile_policy(compiled.source, dict(compiled.providers)), attributes, facts) == first


@given(data=st.data())
def test_deciding_changes_nothing_that_it_was_given(drawn, data):
    compiled, attributes, facts = drawn_case(drawn, data)
    given_facts = {field.name: getattr(facts, field.name) for field in fields(facts)}
    before = repr((compiled.source, compiled.providers, attributes, given_facts))
    decide(compiled, attributes, facts)
    assert repr((compiled.source, compiled.providers, attributes, given_facts)) == before


@given(data=st.data())
def test_every_candidate_of_the_rule_is_considered_once_and_none_that_was_dropped_is_chosen(drawn, data):
    compiled, attributes, facts = drawn_case(drawn, data)
    decision = decide(compiled, attributes, facts)
    rule = compiled.rule_for(attributes)
    considered = [c.candidate for c in decision.considered]
    assert sorted(considered) == sorted(option.candidate for option in (rule.options if rule else ()))
    assert len(set(considered)) == len(considered)
    assert list(decision.candidates) == [c.candidate for c in decision.considered if c.dropped == ""]
    assert not any(c.dropped and c.despite for c in decision.considered)


def faults(compiled, option, attributes, facts):
    """What speaks against a candidate, in the order in which it is named; and what does while there are others."""
    profile, candidate, capable = option.profile, option.candidate, option.profile.capabilities
    window = facts.windows.get(candidate, profile.context_window)
    domains = compiled.source.domains
    about = [g for g in compiled.source.guarantees if compile_predicate(g.when, domains)(attributes)]
    rule = compiled.rule_for(attributes).name
    final = {
        "disabled": not profile.enabled,
        "guarantee": any(guarantee.forbids(profile) for guarantee in about),
        "cannot call tools": attributes.needs_tools and not capable.tools,
        "cannot see images": attributes.needs_vision and not capable.vision,
        "cannot reason": attributes.needs_reasoning and not capable.reasoning,
        OVERFLOW: window is not None and attributes.total_tokens * 4 > window * 5,
        "asked for a pause": candidate in facts.throttled,
        "budget": any(b.name in facts.spent for b in compiled.source.budgets if b.select.matches(profile)),
        "this run is pinned": rule in facts.pins and facts.pins[rule] != candidate,
    }
    passing = {
        "does not answer": candidate in facts.out,
        "busy": profile.concurrency is not None and facts.load.get(candidate, 0) >= profile.concurrency,
    }
    return [next((name for name, there in some.items() if there), "") for some in (final, passing)]


@given(data=st.data())
def test_a_candidate_is_dropped_for_its_first_fault_and_kept_in_spite_of_a_passing_one_only_in_need(drawn, data):
    compiled, attributes, facts = drawn_case(drawn, data)
    decision = decide(compiled, attributes, facts)
    rule = compiled.rule_for(attributes)
    found = {option.candidate: faults(compiled, option, attributes, facts) for option in (rule.options if rule else ())}
    somebody = any(final == passing == "" for final, passing in found.values())
    assert decision.is_answered is somebody
    for considered in decision.considered:
        final, passing = found[considered.candidate]
        expected = (final or passing, "") if final or somebody else ("", passing)
        for said, reason in zip((considered.dropped, considered.despite), expected, strict=True):
            assert said.startswith(reason) if reason else said == ""


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
            "context window too small: 4096 tokens (more than 5120 are asked for)",
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


def test_one_that_is_out_is_passed_over_and_asked_in_need():
    assert asked(of_three(out={A: "down", B: "down"})) == "c"
    panicking = of_three(out={A: "down", B: "down", C: "breaker open"})
    assert asked(panicking) == "abc"
    assert [c.despite for c in panicking.considered] == ["down", "down", "breaker open"]
    assert not panicking.is_answered


def test_need_does_not_bring_back_who_is_throttled():
    decision = of_three(out={A: "down"}, throttled={B: "for 3 s", C: "for 9 s"})
    assert [(c.dropped, c.despite) for c in decision.considered] == [("", "down"), ("for 3 s", ""), ("for 9 s", "")]


def test_a_candidate_whose_budget_is_used_up_is_passed_over_even_in_need():
    budget = Budget("day", Period.DAY, Traits(providers=frozenset("ab")), tokens=10)
    policy = replace(ALL, budgets=(budget,))
    assert asked(of_three(policy, spent=frozenset({"other"}))) == "abc"
    spent = of_three(policy, spent=frozenset({"day"}), out={C: "down"})
    assert [c.dropped for c in spent.considered] == ["budget 'day' is used up", "budget 'day' is used up", ""]
    assert asked(spent) == "c"


def test_slots_are_counted_at_every_decision():
    providers = {**THREE, "a": replace(THREE["a"], concurrency=2)}
    compiled, load = compile_policy(ALL, providers), {A: 1}
    facts = Facts(load=load)
    assert asked(decide(compiled, Attributes(), facts)) == "abc"
    load[A] = 2
    busy = decide(compiled, Attributes(), facts)
    assert busy.considered[0].dropped == "busy: its limit is 2 at once"
    assert asked(busy) == "bc"
    load[A] = 1
    assert asked(decide(compiled, Attributes(), facts)) == "abc"


def test_a_run_that_is_pinned_asks_nobody_else():
    policy = Policy("p", (Rule("all", (Selector(),), pin=True),))
    bound = of_three(policy, pins={"all": B})
    assert asked(bound) == "b"
    assert [c.dropped for c in bound.considered] == ["this run is pinned to b/auto", "", "this run is pinned to b/auto"]
    assert asked(of_three(policy, pins={"other": B})) == "abc"


def test_a_pinned_candidate_that_is_out_or_busy_is_asked_all_the_same():
    """The others are no alternative, so nobody else is left."""
    policy = Policy("p", (Rule("all", (Selector(),), pin=True),))
    out = of_three(policy, pins={"all": B}, out={B: "down"})
    assert (asked(out), out.considered[1].despite) == ("b", "down")
    providers = {**THREE, "b": replace(THREE["b"], concurrency=1)}
    busy = decide(compile_policy(policy, providers), Attributes(), Facts(pins={"all": B}, load={B: 1}))
    assert (asked(busy), busy.considered[1].despite) == ("b", "busy: its limit is 1 at once")


def test_a_pin_does_not_make_anybody_able():
    decision = of_three(attributes=Attributes(needs_tools=True), pins={"all": B})
    assert [c.dropped for c in decision.considered] == ["cannot call tools"] * 3


def test_a_decision_carries_its_rules_fallback():
    rule = Rule("r", (Named("a"),), fallback_on=frozenset({Failure.TIMEOUT}))
    assert of_three(Policy("p", (rule,))).fallback_on == {Failure.TIMEOUT}


def test_no_rule_for_a_request_is_a_decision_too():
    rule = Rule("r", (Named("a"),), when=AllOf((Test("task", Operator.EQ, "qa"),)))
    decision = of_three(Policy("p", (rule,)), attributes=Attributes(task="other"))
    assert (decision.rule, decision.considered, decision.fallback_on) == ("", (), None)


def test_a_default_is_for_whom_no_rule_is_and_an_empty_one_refuses_on_purpose():
    rule = Rule("r", (Named("a"),), when=Test("task", Operator.EQ, "qa"), priority=10**9)
    policy = Policy("p", (rule,), default=(Named("b"),))
    assert asked(of_three(policy, attributes=Attributes(task="qa"))) == "a"
    other = of_three(policy, attributes=Attributes(task="other"))
    assert (other.rule, asked(other)) == (DEFAULT, "b")
    refused = of_three(replace(policy, default=()), attributes=Attributes(task="other"))
    assert (refused.rule, refused.considered) == (DEFAULT, ())


def routing_modules(name, seen=None):
    """The modules of the room that a module of it imports, itself included."""
    seen = {} if seen is None else seen
    path = Path(lmroute.routing.__file__).parent.joinpath(*name.split(".")).with_suffix(".py")
    if name in seen or not path.exists():
        return seen
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    seen[name] = imported
    for other in imported:
        if other.startswith("lmroute.routing."):
            routing_modules(other.removeprefix("lmroute.routing."), seen)
    return seen


@pytest.mark.parametrize("name", ["decide", "attempts", "simulate"])
def test_a_decision_asks_neither_clock_nor_chance_nor_the_world(name):
    """Purity is by what can be called at all: none of these modules is imported."""
    impure = {"time", "datetime", "random", "os", "socket", "pathlib", "threading", "subprocess", "secrets", "uuid"}
    imported = routing_modules(name)
    assert {name: found & impure for name, found in imported.items() if found & impure} == {}
    assert name == "attempts" or {"memo", "ordering", "policy", "eligibility"} <= set(imported)


def test_the_strategy_draws_every_attribute_that_a_request_has(drawn):
    """So that a new attribute is not forgotten by the properties of this room."""
    assert set(drawn.by_field) == {field.name for field in fields(Attributes)}


@pytest.mark.parametrize(
    ("use", "told"),
    [
        ("lcl", "the selected providers have no such one; did you mean 'local'? Selected: local, cloud"),
        ("moon/m", "the selected providers have no such one. Selected: local, cloud"),
        ("local/smal", "the selected providers have no such one; did you mean 'local/small'? Selected: local/small"),
        ("cloud/", "no model stands after its '/'; did you mean 'cloud'? Selected: local, cloud"),
        ("clo/", "no model stands after its '/'; did you mean 'cloud'? Selected: local, cloud"),
    ],
)
def test_a_choice_that_nobody_can_mean_is_told_what_there_is(use, told):
    policy = replace(ALL, caller_choice=CallerChoice((Selector(),)))
    providers = {"local": Profile("local", "openai", models=("small",)), "cloud": Profile("cloud", "openai")}
    decision = decide(compile_policy(policy, providers), Attributes(use=use))
    assert decision.refused == f"the caller chose '{use}', and {told}"
    assert decision.considered == ()
