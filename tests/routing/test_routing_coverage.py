"""What one call shows of a policy, and circumstances that a call is made under."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import (
    AllOf,
    Attributes,
    Budget,
    CallerChoice,
    Candidate,
    Capabilities,
    Failure,
    Guarantee,
    Locality,
    Named,
    Not,
    Operator,
    Order,
    Period,
    Policy,
    Privacy,
    Profile,
    Rule,
    Selector,
    Test,
    Traits,
)
from lmroute.routing import conditions
from lmroute.routing.coverage import Coverage, Goal, Kind, goals, seen
from lmroute.routing.policy import CALLER_CHOICE, compile_policy
from lmroute.routing.scenario import Scenario, candidates_of, is_meant, play

A, B, C = (Candidate(name, "auto") for name in "abc")
PROVIDERS = {
    "a": Profile("a", "lmstudio", locality=Locality.LOOPBACK),
    "b": Profile("b", "embedded", locality=Locality.EMBEDDED, concurrency=2),
    "c": Profile("c", "openai", locality=Locality.CLOUD, capabilities=Capabilities(tools=True)),
}
PRIVATE = Test("privacy", Operator.EQ, "private")
LONG = Test("prompt_tokens", Operator.GT, 8000)


def policy(*rules, **more):
    return compile_policy(Policy("p", rules, **more), PROVIDERS)


def named(*providers):
    return tuple(Named(provider) for provider in providers)


def shown(compiled, scenario=Scenario(), **request):  # noqa: B008  frozen
    attributes = Attributes(**request)
    return seen(compiled, attributes, play(compiled, attributes, scenario))


def fallbacks(found):
    return {goal.what for goal in found if goal.kind is Kind.FALLBACK}


def outcomes(found, owner="x"):
    return {goal.what for goal in found if goal.kind is Kind.PREDICATE and goal.owner == owner}


ONE_RULE = policy(Rule("x", named("a", "b", "c")))
A_TO_B, B_TO_C = "a/auto -> b/auto", "b/auto -> c/auto"


@pytest.mark.parametrize(
    ("scenario", "steps", "answered"),
    [
        (Scenario(), set(), A),
        (Scenario(fails={"a": Failure.TIMEOUT}), {A_TO_B}, B),
        (Scenario(down=frozenset("a")), {A_TO_B}, B),
        (Scenario(throttled=frozenset("a")), {A_TO_B}, B),
        (Scenario(fails={"a": Failure.SERVER, "b": Failure.SERVER}), {A_TO_B, B_TO_C}, C),
        (Scenario(down=frozenset("ab")), {B_TO_C}, C),  # b was never asked
        (Scenario(fails={"a": Failure.INVALID_REQUEST}), set(), None),
        (Scenario(load={"b": 2}, fails={"a": Failure.SERVER}), {B_TO_C}, C),
        (Scenario(down=frozenset("abc")), {A_TO_B, B_TO_C}, None),  # all are asked for want of others, in vain
    ],
)
def test_a_step_is_taken_when_somebody_is_asked_because_the_one_before_failed_or_was_out(scenario, steps, answered):
    call = play(ONE_RULE, Attributes(), scenario)
    assert call.answered == answered
    assert fallbacks(seen(ONE_RULE, Attributes(), call)) == steps
    assert fallbacks(goals(ONE_RULE)) == {A_TO_B, B_TO_C}


def test_a_chain_is_a_way_of_its_own_from_each_rule_that_leads_into_it():
    compiled = policy(Rule("x", named("a"), PRIVATE, fallback="y"), Rule("y", named("b", "c")))
    steps = [(goal.owner, goal.what) for goal in goals(compiled) if goal.kind is Kind.FALLBACK]
    assert steps == [("x", A_TO_B), ("x", B_TO_C), ("y", B_TO_C)]
    found = shown(compiled, Scenario(down=frozenset("ab")), privacy=Privacy.PRIVATE)
    assert [(goal.owner, goal.what) for goal in found if goal.kind is Kind.FALLBACK] == [("x", B_TO_C)]


def test_a_group_whose_order_changes_is_one_stop_with_a_step_inside():
    idlest = Selector(providers=frozenset("ab"), order=Order.LOAD)
    compiled = policy(Rule("x", (idlest, Named("c"))))
    group = "(a/auto, b/auto by load)"
    inside, out = f"{group} -> another of them", f"{group} -> c/auto"
    assert fallbacks(goals(compiled)) == {inside, out}
    for load, first in (({"a": 1}, B), ({"b": 1}, A)):
        call = play(compiled, Attributes(), Scenario(load=load, fails={first.provider: Failure.SERVER}))
        assert call.asked[0] == first
        assert fallbacks(seen(compiled, Attributes(), call)) == {inside}
    assert fallbacks(shown(compiled, Scenario(down=frozenset("ab")))) == {out}


def test_a_comparison_is_seen_by_itself_and_only_where_its_rule_was_asked():
    compiled = policy(Rule("x", named("a"), AllOf((PRIVATE, Not(LONG)))), Rule("y", named("b"), LONG), default=())
    true, false = "privacy eq private is {}".format, "prompt_tokens gt 8000 is {}".format
    assert outcomes(goals(compiled)) == {true("true"), true("false"), false("true"), false("false")}
    assert outcomes(shown(compiled, prompt_tokens=9000)) == {true("false"), false("true")}
    assert outcomes(shown(compiled, prompt_tokens=9000), "y") == {false("true")}
    assert outcomes(shown(compiled, privacy=Privacy.PRIVATE), "y") == set()  # x came first


def test_two_comparisons_of_one_wording_are_two():
    compiled = policy(Rule("x", named("a"), AllOf((LONG, LONG))))
    assert len([goal for goal in goals(compiled) if goal.kind is Kind.PREDICATE]) == 4


def test_the_default_and_the_callers_choice_count_as_rules():
    choice = CallerChoice(named("c"), LONG)
    compiled = policy(Rule("x", named("a"), PRIVATE), default=named("b"), caller_choice=choice)
    rules = [goal.owner for goal in goals(compiled) if goal.kind is Kind.RULE]
    assert rules == ["x", "default", CALLER_CHOICE]
    assert Goal(Kind.RULE, "default") in shown(compiled)
    refused = shown(compiled, use="c")
    assert Goal(Kind.RULE, CALLER_CHOICE) not in refused
    assert outcomes(refused, CALLER_CHOICE) == {"prompt_tokens gt 8000 is false"}
    assert outcomes(refused) == set()  # no rule was asked
    assert Goal(Kind.RULE, CALLER_CHOICE) in shown(compiled, use="c", prompt_tokens=9000)


def test_a_guarantee_is_at_stake_when_it_is_about_a_request_and_forbids_somebody_who_is_selected():
    never_cloud = Guarantee("x", PRIVATE, never=Traits(locality=frozenset({Locality.CLOUD})))
    never_network = Guarantee("vacuous", PRIVATE, never=Traits(locality=frozenset({Locality.PRIVATE})))
    compiled = policy(Rule("x", named("a")), guarantees=(never_cloud, never_network))
    at_stake = Goal(Kind.GUARANTEE, "x", of_guarantee=True)
    assert next(goal for goal in goals(compiled) if goal.kind is Kind.GUARANTEE) == at_stake
    assert [goal for goal in shown(compiled) if goal.kind is Kind.GUARANTEE] == []
    private = shown(compiled, privacy=Privacy.PRIVATE)
    assert [goal for goal in private if goal.kind is Kind.GUARANTEE] == [at_stake]
    assert Goal(Kind.PREDICATE, "x", True, 0, "privacy eq private is true") in private  # not to be taken for rule x's


def test_coverage_adds_up():
    found = goals(ONE_RULE)
    one = Coverage(found, shown(ONE_RULE))
    other = Coverage(found, shown(ONE_RULE, Scenario(fails=dict.fromkeys("ab", Failure.SERVER))))
    assert (one.of(Kind.RULE), one.of(Kind.FALLBACK), round(one.percent)) == ((1, 1), (0, 2), 33)
    assert (one | other).percent == 100
    assert (one | other).missing == ()
    assert [goal.what for goal in one.missing] == [A_TO_B, B_TO_C]
    assert Coverage().percent == 100


def test_what_is_said_of_a_model_counts_more_than_what_is_said_of_its_provider():
    many = {"a": Profile("a", "lmstudio", models=("m1", "m2", "m3")), "b": PROVIDERS["b"]}
    compiled = compile_policy(Policy("p", (Rule("x", named("a", "b")),)), many)
    call = play(compiled, Attributes(), Scenario(fails={"a": Failure.TIMEOUT, "a/m2": Failure.INVALID_REQUEST}))
    assert call.failed == ((Candidate("a", "m1"), Failure.TIMEOUT), (Candidate("a", "m2"), Failure.INVALID_REQUEST))
    assert play(compiled, Attributes(), Scenario(down=frozenset({"a/m1"}))).answered == Candidate("a", "m2")


def test_a_used_up_budget_and_latencies_take_part():
    day = Budget("day", Period.DAY, Traits(providers=frozenset("a")), usd=1)
    assert play(policy(Rule("x", named("a", "b")), budgets=(day,)), Attributes(), Scenario()).answered == A
    spent = Scenario(budgets_used=frozenset({"day"}))
    assert play(policy(Rule("x", named("a", "b")), budgets=(day,)), Attributes(), spent).answered == B
    quickest = policy(Rule("x", (Selector(order=Order.LATENCY),)))
    call = play(quickest, Attributes(), Scenario(latency_ms={"a": 30, "b": 10, "c": 20}))
    assert call.decision.candidates == (B, C, A)


def test_whom_only_the_caller_means_may_be_down_too():
    choice = CallerChoice((Named("c", "auto"),))
    compiled = policy(Rule("x", named("a")), caller_choice=choice)
    call = play(compiled, Attributes(use="c/gpt"), Scenario(fails={"c": Failure.AUTH}))
    assert call.failed == ((Candidate("c", "gpt"), Failure.AUTH),)


scenarios = st.builds(
    Scenario,
    down=st.frozensets(st.sampled_from(["alder", "birch", "cedar/m1"])),
    throttled=st.frozensets(st.sampled_from(["alder/auto", "dogwood"])),
    fails=st.dictionaries(st.sampled_from(["alder", "birch/m1", "cedar", "dogwood"]), st.sampled_from(Failure)),
    budgets_used=st.frozensets(st.sampled_from(["small", "large"])),
    load=st.dictionaries(st.sampled_from(["alder", "birch/m1"]), st.integers(0, 3)),
)


@given(st.data())
def test_nothing_is_seen_that_is_no_goal(drawn, data):
    compiled = compile_policy(data.draw(drawn.policies), data.draw(drawn.providers))
    attributes, scenario = data.draw(st.one_of(drawn.attributes, drawn.choosing)), data.draw(scenarios)
    call = play(compiled, attributes, scenario)
    wanted, found = goals(compiled), seen(compiled, attributes, call)
    assert len(wanted) == len(set(wanted))
    assert found <= set(wanted)
    decided = {goal.owner for goal in found if goal.kind is Kind.RULE}
    assert decided == ({call.decision.rule} - {""} if not call.decision.refused else set())
    assert set(call.asked) <= set(candidates_of(compiled, attributes))
    for candidate in call.asked:
        assert not any(is_meant(candidate, word) for word in scenario.throttled)
    if call.answered:
        assert not any(is_meant(call.answered, word) for word in scenario.down)


@given(st.data())
def test_of_each_comparison_that_is_looked_at_one_outcome_is_seen(drawn, data):
    compiled = compile_policy(data.draw(drawn.policies), data.draw(drawn.providers))
    attributes = data.draw(drawn.attributes)
    found = seen(compiled, attributes, play(compiled, attributes, Scenario()))
    for guarantee, _ in compiled.guarantees:
        of_this = [goal for goal in found if goal.of_guarantee and goal.owner == guarantee.name]
        numbers = sorted(goal.test for goal in of_this if goal.kind is Kind.PREDICATE)
        assert numbers == list(range(len(list(conditions.tests_of(guarantee.when)))))
