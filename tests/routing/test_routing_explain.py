"""What is told of a decision is what the router does, and says why."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import (
    BUILT_IN,
    Attributes,
    Budget,
    CallerChoice,
    Candidate,
    Cost,
    Facts,
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
from lmroute.routing.conditions import compile_predicate
from lmroute.routing.decide import decide
from lmroute.routing.explain import explain
from lmroute.routing.outcomes import Combined, Compared, outcome
from lmroute.routing.policy import compile_policy

HERE, CLOUD = Candidate("here", "auto"), Candidate("cloud", "auto")
PROVIDERS = {
    "here": Profile("here", "lmstudio", locality=Locality.LOOPBACK, cost=Cost()),
    "cloud": Profile("cloud", "openai", locality=Locality.CLOUD, cost=Cost(1.5, 0.5)),
    "third": Profile("third", "ollama", locality=Locality.PRIVATE),
}
PRIVATE = Test("privacy", Operator.EQ, "private")
EVERYBODY = (Selector(),)


def told(policy, attributes=None, facts=None):
    return explain(compile_policy(policy, PROVIDERS), attributes or Attributes(), facts or Facts())


def one_rule(*use, **known):
    return Policy("p", (Rule("only", use, **known),))


@given(data=st.data())
def test_every_test_comes_out_as_the_router_has_it(drawn, data):
    predicate, attributes = data.draw(drawn.predicates), data.draw(drawn.attributes)

    found = outcome(predicate, attributes, drawn.domains)

    assert found.holds == compile_predicate(predicate, drawn.domains)(attributes)


def explained(drawn, data, attributes):
    """A drawn policy's explanation, and the decision that it is to be of."""
    compiled = compile_policy(data.draw(drawn.policies), data.draw(drawn.providers))
    facts, request = data.draw(drawn.facts), data.draw(attributes)
    return compiled, request, explain(compiled, request, facts), decide(compiled, request, facts)


@given(data=st.data())
def test_the_explanation_is_of_the_decision_itself(drawn, data):
    compiled, attributes, explanation, decision = explained(drawn, data, drawn.attributes)

    assert explanation.decision == decision
    assert [asked.holds for asked in explanation.rules] == [rule.holds(attributes) for rule in compiled.rules]
    assert [asked.name for asked in explanation.rules if asked.says == "decides"] == [decision.rule] * bool(
        decision.rule
    )
    looked_at = [asked.when is not None for asked in explanation.rules]
    until = next((at for at, rule in enumerate(compiled.rules, 1) if rule.holds(attributes)), len(looked_at))
    assert looked_at == [True] * until + [False] * (len(looked_at) - until)
    ordered = [placed.candidate for group in explanation.orders for placed in group.candidates]
    assert ordered == [considered.candidate for considered in decision.considered]


@given(data=st.data())
def test_candidates_have_the_places_in_which_they_are_asked(drawn, data):
    _, _, explanation, decision = explained(drawn, data, drawn.attributes | drawn.choosing)

    kept = [told for told in explanation.candidates if told.place]
    assert [told.candidate for told in kept] == list(decision.candidates)
    assert [told.place for told in kept] == list(range(1, len(kept) + 1))
    assert [(told.candidate, told.dropped, told.despite) for told in explanation.candidates] == [
        (considered.candidate, considered.dropped, considered.despite) for considered in decision.considered
    ]


@given(data=st.data())
def test_it_is_json(drawn, data):
    _, _, explanation, decision = explained(drawn, data, drawn.attributes | drawn.choosing)

    read = json.loads(json.dumps(explanation.as_data()))

    assert (read["rule"], read["is_answered"]) == (decision.rule or None, decision.is_answered)


def test_the_tests_of_the_winner_and_of_those_before_it():
    policy = Policy(
        "p",
        (
            Rule("last", EVERYBODY, priority=300),
            Rule("second", EVERYBODY, Not(PRIVATE), 200),
            Rule("first", EVERYBODY, PRIVATE),
        ),
    )
    first, second, last = told(policy).rules
    assert first.when == Compared("privacy", "eq", "private", "internal", holds=False)
    assert second.when == Combined("not", (first.when,), holds=True)
    assert (first.position, second.position, last.position) == (2, 1, 0)
    assert (last.when, last.holds, last.says) == (None, True, "holds too, but 'second' comes first")


def test_an_attribute_is_named_as_a_policy_writes_it_and_a_set_can_be_read():
    needs = outcome(Test("needs_tools", Operator.EQ, operand=True), Attributes(), BUILT_IN)
    tags = outcome(Test("tags", Operator.CONTAINS, "b"), Attributes(tags=frozenset("ba")), BUILT_IN)
    assert (needs.attribute, tags.value) == ("needs.tools", ("a", "b"))


def test_the_default_is_asked_last_and_stands_in_no_list():
    policy = Policy("p", (Rule("only", EVERYBODY, PRIVATE),), default=(Named("here"),))
    default = told(policy).rules[-1]
    assert (default.name, default.position, default.priority, default.says) == ("default", None, None, "decides")


@pytest.mark.parametrize(
    ("order", "weights", "numbers"),
    [
        (Order.DECLARED, (), ["", "", ""]),
        (Order.COST, (), ["$0 per million tokens, in + out", "$2 per million tokens, in + out", "no price known"]),
        (Order.LATENCY, (), ["no latency known yet, so it comes first", "20 ms", "80 ms"]),
        (Order.LOAD, (), ["0 under way", "1 under way", "7 under way"]),
    ],
)
def test_what_an_order_went_by(order, weights, numbers):
    policy = one_rule(Selector(order=order, weights=weights))
    facts = Facts(latency_ms={HERE: 80.0, CLOUD: 20.0}, load={HERE: 7, CLOUD: 1})

    [ordered] = told(policy, facts=facts).orders

    assert [placed.by for placed in ordered.candidates] == numbers


def test_the_numbers_of_a_weighted_order_rise():
    policy = one_rule(Selector(order=Order.WEIGHTED, weights=(("here", 3.0), ("third", 4.0))))
    explanation = told(policy, Attributes(lot=4711))
    [ordered] = explanation.orders

    drawn = [float(placed.by.rpartition(" ")[2]) for placed in ordered.candidates]
    assert drawn == sorted(drawn)
    assert explanation.lot == 4711
    assert {placed.candidate.provider: placed.share for placed in ordered.candidates} == {
        "here": 3 / 8, "cloud": 1 / 8, "third": 4 / 8,
    }  # fmt: skip


def test_no_lot_where_none_was_drawn():
    assert told(one_rule(Named("here")), Attributes(lot=3)).lot is None


def test_a_candidate_of_a_fallback_is_of_the_rule_that_names_it():
    policy = Policy("p", (Rule("first", (Named("here"),), fallback="second"), Rule("second", (Named("cloud"),))))
    explanation = told(policy)
    assert [(c.candidate, c.rule, c.place) for c in explanation.candidates] == [
        (HERE, "first", 1), (CLOUD, "second", 2),
    ]  # fmt: skip
    assert [ordered.rule for ordered in explanation.orders] == ["first", "second"]


def test_dropped_candidates_have_no_place_and_a_reason():
    budget = Budget("day", Period.DAY, Traits(providers=frozenset({"cloud"})), usd=1.0)
    policy = Policy("p", (Rule("only", (Named("cloud"), Named("here"), Named("third"))),), budgets=(budget,))
    explanation = told(policy, facts=Facts(spent=frozenset({"day"}), out={HERE: "down"}))
    assert [(c.place, c.dropped) for c in explanation.candidates] == [
        (0, "budget 'day' is used up"), (0, "down"), (1, ""),
    ]  # fmt: skip


def test_a_guarantee_tells_whether_it_is_about_the_request_and_whom_it_forbids():
    guarantee = Guarantee("home", PRIVATE, only=Traits(locality=frozenset({Locality.LOOPBACK})))
    policy = Policy("p", (Rule("only", EVERYBODY),), guarantees=(guarantee,))

    [about] = told(policy, Attributes(privacy=Privacy.PRIVATE)).guarantees
    [not_about] = told(policy).guarantees

    assert (about.holds, about.says) == (True, "forbids cloud, third")
    assert (not_about.holds, not_about.says) == (False, "is not about this request")


def test_the_choice_of_a_caller_takes_the_place_of_the_rules():
    choice = CallerChoice((Named("cloud"),), Not(PRIVATE))
    policy = Policy("p", (Rule("only", (Named("here"),)),), caller_choice=choice)

    allowed = told(policy, Attributes(use="cloud"))
    refused = told(policy, Attributes(use="cloud", privacy=Privacy.PRIVATE))

    assert (allowed.rules, allowed.verdict, allowed.choice.holds) == ((), "cloud/auto", True)
    assert allowed.candidates[0].rule == "caller_choice"
    assert (refused.choice.holds, refused.choice.when.holds) == (False, False)
    assert refused.verdict.startswith("refused: the caller chose 'cloud'")
    assert not refused.decision.is_answered


def test_a_policy_without_a_choice_says_so():
    assert told(one_rule(Named("here")), Attributes(use="here")).choice.says == "the policy lets no caller choose"


@pytest.mark.parametrize(
    ("policy", "facts", "verdict"),
    [
        (one_rule(Named("here"), Named("cloud")), Facts(), "here/auto, then cloud/auto"),
        (one_rule(Named("here"), when=PRIVATE), Facts(), "nobody: no rule is for this request, and the policy has no"),
        (Policy("p", (Rule("only", EVERYBODY, PRIVATE),), default=()), Facts(), "nobody: 'default' names nobody on"),
        (
            Policy("p", (Rule("only", EVERYBODY, PRIVATE),), default=(Named("gone"),)),
            Facts(),
            "nobody: 'default' has no",
        ),
        (one_rule(Named("gone")), Facts(), "nobody: 'only' has no candidates among the selected providers"),
        (one_rule(Named("here")), Facts(throttled={HERE: "paused"}), "nobody: every candidate is dropped"),
        (one_rule(Named("here")), Facts(out={HERE: "down"}), "here/auto: asked all the same, because nobody else"),
    ],
)
def test_the_verdict(policy, facts, verdict):
    assert told(policy, facts=facts).verdict.startswith(verdict)


def test_no_condition_is_an_empty_all():
    [only] = told(one_rule(Named("here"))).rules
    assert only.when == Combined("all", (), holds=True)
