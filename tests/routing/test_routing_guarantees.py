"""What can never happen, whatever rules, callers and servers do; and what callers may choose by themselves."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import (
    Attributes,
    Budget,
    CallerChoice,
    Candidate,
    Facts,
    Failure,
    Guarantee,
    Locality,
    Named,
    Operator,
    Period,
    Policy,
    Privacy,
    Profile,
    Rule,
    Selector,
    Test,
    Traits,
)
from lmroute.routing.conditions import compile_predicate
from lmroute.routing.decide import decide
from lmroute.routing.policy import CALLER_CHOICE, compile_policy
from lmroute.routing.simulate import simulate

PRIVATE = Test("privacy", Operator.EQ, "private")
HERE, CLOUD = frozenset({Locality.LOOPBACK}), frozenset({Locality.CLOUD})
PROVIDERS = {
    "local": Profile("local", "lmstudio", locality=Locality.LOOPBACK, models=("small", "large")),
    "cloud": Profile("cloud", "openai", models=("auto",)),
}
LOCAL = tuple(Candidate("local", model) for model in ("small", "large"))
STAYS = Guarantee("stays", PRIVATE, never=Traits(locality=CLOUD))
CHOOSE_CLOUD = CallerChoice((Named("cloud"),))
OPEN = Policy("open", (Rule("all", (Selector(),)),), caller_choice=CallerChoice((Selector(),)))


def forbidden(policy, providers, candidate, attributes):
    """By the words of the model: by name, whether one of the guarantees about a request forbids a provider."""
    profile = providers[candidate.provider]
    for guarantee in policy.guarantees:
        if compile_predicate(guarantee.when, policy.domains)(attributes):
            for traits, matching in ((guarantee.only, False), (guarantee.never, True)):
                if traits is not None and traits.matches(profile) is matching:
                    return guarantee.name
    return ""


def chosen(use, policy=OPEN, providers=PROVIDERS, facts=None, **attributes):
    return decide(compile_policy(policy, providers), Attributes(use=use, **attributes), facts or Facts())


@given(data=st.data())
def test_nobody_is_ever_asked_whom_a_guarantee_forbids(drawn, data):
    policy, providers = data.draw(drawn.policies), data.draw(drawn.providers)
    compiled, facts = compile_policy(policy, providers), data.draw(drawn.facts)
    for attributes in data.draw(st.lists(drawn.attributes | drawn.choosing, min_size=1, max_size=5)):
        decision = decide(compiled, attributes, facts)
        assert [forbidden(policy, providers, candidate, attributes) for candidate in decision.candidates] == [""] * len(
            decision.candidates
        )
        failures = dict.fromkeys(decision.candidates[:-1], Failure.TIMEOUT)
        asked = simulate(compiled, attributes, failures, facts).asked
        assert not any(compiled.forbids(candidate.provider, attributes) for candidate in asked)


@given(data=st.data())
def test_who_is_about_to_dial_is_told_the_same(drawn, data):
    policy, providers = data.draw(drawn.policies), data.draw(drawn.providers)
    attributes = data.draw(drawn.attributes | drawn.choosing)
    compiled = compile_policy(policy, providers)
    for provider in providers:
        named = forbidden(policy, providers, Candidate(provider, "any"), attributes)
        assert compiled.forbids(provider, attributes) == named


@given(data=st.data())
def test_a_callers_choice_asks_nobody_else_and_nobody_that_callers_may_not_choose(drawn, data):
    policy, providers = data.draw(drawn.policies), data.draw(drawn.providers)
    attributes, facts = data.draw(drawn.choosing), data.draw(drawn.facts)
    decision = decide(compile_policy(policy, providers), attributes, facts)
    assert decision.rule == CALLER_CHOICE
    assert bool(decision.refused) is not bool(decision.considered)
    if decision.considered:
        assert compile_predicate(policy.caller_choice.when, policy.domains)(attributes)
    for considered in decision.considered:
        name = str(considered.candidate)
        assert attributes.use in {name, considered.candidate.provider}
        profile = providers[considered.candidate.provider]
        for use in policy.caller_choice.use:
            if isinstance(use, Named) and use.provider == profile.id:
                break
            if isinstance(use, Selector) and use.matches(profile):
                break
        else:
            pytest.fail(f"{name} is none of {policy.caller_choice.use}")


@given(data=st.data())
def test_what_speaks_against_a_candidate_speaks_against_a_chosen_one(drawn, data):
    """A choice is decided like a rule that uses nobody else."""
    policy, providers = data.draw(drawn.policies), data.draw(drawn.providers)
    attributes, facts = data.draw(drawn.choosing), data.draw(drawn.facts)
    provider, _, model = attributes.use.partition("/")
    alone = replace(policy, rules=(Rule("alone", (Named(provider, model or None),)),), caller_choice=OPEN.caller_choice)
    facts = replace(facts, pins={})
    decision = decide(compile_policy(alone, providers), attributes, facts)
    if not decision.refused:
        by_rule = decide(compile_policy(alone, providers), replace(attributes, use=""), facts)
        assert decision.considered == by_rule.considered


def test_by_default_nobody_chooses():
    decision = chosen("cloud", replace(OPEN, caller_choice=None))
    assert decision.refused == "the caller chose 'cloud', and policy 'open' does not let callers choose (caller_choice)"
    assert (decision.rule, decision.considered) == (CALLER_CHOICE, ())


@pytest.mark.parametrize("use", ["moon", "moon/small", "local/huge", "local/", "/small", "LOCAL", " "])
def test_a_choice_of_nobody_is_refused(use):
    decision = chosen(use)
    why = "no model stands after its '/'" if use == "local/" else "the selected providers have no such one"
    assert decision.refused.startswith(f"the caller chose '{use}', and {why}")
    assert decision.considered == ()


def test_a_choice_of_others_than_those_offered_is_refused():
    few = replace(OPEN, caller_choice=CallerChoice((Named("local", "small"),)))
    why = "lets callers choose others only (caller_choice)"
    assert chosen("cloud", few).refused == f"the caller chose 'cloud', and policy 'open' {why}"
    assert chosen("local/large", few).refused == f"the caller chose 'local/large', and policy 'open' {why}"
    assert chosen("local", few).refused == f"the caller chose 'local', and policy 'open' {why}"
    assert chosen("local/small", few).candidates == LOCAL[:1]


def test_a_choice_for_other_requests_than_those_it_is_offered_for_is_refused():
    public = replace(OPEN, caller_choice=replace(CHOOSE_CLOUD, when=Test("privacy", Operator.EQ, "public")))
    assert chosen("cloud", public, privacy=Privacy.PUBLIC).candidates == (Candidate("cloud", "auto"),)
    decision = chosen("cloud", public, privacy=Privacy.INTERNAL)
    assert decision.refused.endswith("policy 'open' does not let callers choose for such a request (caller_choice)")


def test_a_provider_that_offers_any_model_offers_each_and_one_that_does_not_none_but_its_own():
    assert chosen("cloud/gpt-x").candidates == (Candidate("cloud", "gpt-x"),)
    assert chosen("local/gpt-x").refused
    narrow = replace(OPEN, caller_choice=CallerChoice((Named("cloud", "gpt-x"),)))
    assert chosen("cloud/gpt-x", narrow).candidates == (Candidate("cloud", "gpt-x"),)
    assert chosen("cloud/gpt-y", narrow).refused
    assert chosen("cloud", narrow).refused


def test_a_guarantee_refuses_a_choice_by_its_name_before_anything_else_does():
    for choice in (OPEN.caller_choice, None, replace(CHOOSE_CLOUD, when=Test("task", Operator.EQ, "qa"))):
        policy = replace(OPEN, guarantees=(STAYS,), caller_choice=choice)
        decision = chosen("cloud", policy, privacy=Privacy.PRIVATE)
        assert decision.refused == "the caller chose 'cloud', and guarantee 'stays' forbids it"
        assert decision.candidates == ()
    assert chosen("cloud", replace(OPEN, guarantees=(STAYS,)), privacy=Privacy.PUBLIC).candidates


def test_a_choice_is_not_asked_when_it_cannot_serve():
    assert [c.dropped for c in chosen("local", needs_tools=True).considered] == ["cannot call tools"] * 2
    budget = Budget("day", Period.DAY, tokens=1)
    policy = replace(OPEN, budgets=(budget,))
    assert chosen("cloud", policy, facts=Facts(spent=frozenset({"day"}))).candidates == ()
    down = chosen("cloud", facts=Facts(out={Candidate("cloud", "auto"): "down"}))
    assert [c.despite for c in down.considered] == ["down"]
    disabled = {**PROVIDERS, "cloud": replace(PROVIDERS["cloud"], enabled=False)}
    assert [c.dropped for c in chosen("cloud", providers=disabled).considered] == ["disabled"]


@pytest.mark.parametrize(
    "guarantee", [STAYS, Guarantee("stays", PRIVATE, only=Traits(locality=HERE))], ids=["never", "only"]
)
def test_need_does_not_get_round_a_guarantee(guarantee):
    """Nor does a default, a fallback, a pin, or that everybody else is out."""
    rules = (Rule("all", (Named("local"),), PRIVATE, fallback="cloudy"), Rule("cloudy", (Named("cloud"),)))
    policy = Policy("p", rules, default=(Named("cloud"),), guarantees=(guarantee,))
    private, cloud = Attributes(privacy=Privacy.PRIVATE), Candidate("cloud", "auto")
    facts = Facts(out=dict.fromkeys(LOCAL, "down"), pins={"all": cloud})
    for known in (facts, replace(facts, pins={}), replace(facts, out={}, throttled=dict.fromkeys(LOCAL, "wait"))):
        decision = decide(compile_policy(policy, PROVIDERS), private, known)
        assert decision.considered[-1].candidate == cloud
        assert decision.considered[-1].dropped == "guarantee 'stays' forbids it"
    assert decide(compile_policy(replace(policy, rules=rules[1:]), PROVIDERS), private).candidates == ()
