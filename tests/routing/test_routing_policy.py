"""What compiling makes of a policy: the order of its rules, its fallback chains, its errors."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import (
    ALWAYS,
    Attributes,
    CallerChoice,
    Failure,
    Guarantee,
    Named,
    Not,
    Operator,
    Order,
    Policy,
    Profile,
    Rule,
    Selector,
    Test,
    Traits,
)
from lmroute.routing.decide import decide
from lmroute.routing.policy import DEFAULT, compile_policy, fallbacks, in_order
from lmroute.routing.selectors import expand

PROVIDERS = {name: Profile(name, "openai") for name in "abcdef"}
NEVER = Test("task", Operator.EQ, "nobody says this")


def chained(*links, default=None):
    """Rules ``a`` to ``f``, each with the candidate of its name, and what some of them fall back on."""
    to = dict(links)
    rules = (Rule(name, (Named(name),), NEVER if name != "a" else ALWAYS, fallback=to.get(name)) for name in "abcdef")
    return Policy("p", tuple(rules), default=default)


def route(policy):
    return "".join(c.provider for c in decide(compile_policy(policy, PROVIDERS), Attributes()).candidates)


def test_equal_priorities_keep_the_order_of_the_file_lower_ones_come_first_and_default_last():
    use = (Named("a"),)
    rules = (Rule("late", use, priority=10**9), Rule("first", use), Rule("second", use), Rule("zero", use, priority=-1))
    compiled = compile_policy(Policy("p", rules, default=use), {})
    assert [rule.name for rule in compiled.rules] == ["zero", "first", "second", "late", DEFAULT]
    assert [rule.name for rule in in_order(Policy("p", rules))] == ["zero", "first", "second", "late"]


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ((), "a"),
        (("ab",), "ab"),
        (("ad", "db", "bf"), "adbf"),
        (("aa",), "a"),
        (("ab", "ba"), "ab"),
        (("ab", "bc", "cb"), "abc"),
        (("ab", ("b", "nowhere")), "ab"),
        ((("a", "nowhere"),), "a"),
    ],
    ids=str,
)
def test_a_rules_candidates_are_followed_by_those_of_the_rules_that_it_falls_back_on(links, expected):
    """Whatever these say in ``when``. A circle ends where it closes, and what falls back on nothing ends there."""
    assert route(chained(*map(tuple, links))) == expected


def test_a_rule_may_fall_back_on_the_default():
    assert route(chained(("a", DEFAULT), default=(Named("e"), Named("a")))) == "ae"
    assert route(chained(("a", DEFAULT), default=())) == "a"
    assert route(chained(("a", DEFAULT))) == "a"


@given(data=st.data())
def test_a_chain_is_all_its_rules_candidates_each_where_it_is_mentioned_first(drawn, data):
    policy, providers = data.draw(drawn.policies), data.draw(drawn.providers)
    named = {rule.name: rule for rule in in_order(policy)}
    for compiled in compile_policy(policy, providers).rules:
        path = [compiled.name]
        while (following := named[path[-1]].fallback) in named and following not in path:
            path.append(following)
        assert [rule.name for rule in fallbacks(named[path[0]], policy)] == path[1:]
        expected = dict.fromkeys(chain.from_iterable(expand(named[name].use, providers) for name in path))
        assert [option.candidate for option in compiled.options] == list(expected)
        for option in compiled.options:
            first = next(name for name in path if option.candidate in expand(named[name].use, providers))
            assert option.rule == first
        assert [c for group in compiled.groups for c in group.candidates] == list(expected)


def test_the_deciding_rule_says_after_which_failures_its_whole_chain_goes_on():
    rules = (
        Rule("a", (Named("a"),), fallback_on=frozenset({Failure.TIMEOUT}), fallback="b"),
        Rule("b", (Named("b"),), fallback_on=frozenset()),
    )
    assert decide(compile_policy(Policy("p", rules), PROVIDERS), Attributes()).fallback_on == {Failure.TIMEOUT}


UNKNOWN = Test("colour", Operator.EQ, "red")
USE = (Named("a"),)


@pytest.mark.parametrize(
    "policy",
    [
        Policy("p", (Rule("a", USE, UNKNOWN),)),
        Policy("p", (Rule("a", USE), Rule("b", USE, Not(UNKNOWN)))),
        Policy("p", (Rule("a", USE),), guarantees=(Guarantee("g", UNKNOWN, never=Traits()),)),
        Policy("p", (Rule("a", USE),), caller_choice=CallerChoice(USE, UNKNOWN)),
    ],
    ids=["rule", "later rule", "guarantee", "caller choice"],
)
def test_an_attribute_that_requests_do_not_have_is_an_error_when_compiling(policy):
    with pytest.raises(AttributeError, match="requests have no attribute 'colour'; declare it"):
        compile_policy(policy, PROVIDERS)


@given(data=st.data())
def test_providers_in_use_are_those_of_all_rules_each_once(drawn, data):
    policy, providers = data.draw(drawn.policies), data.draw(drawn.providers)
    used = compile_policy(policy, providers).providers_in_use()
    assert len(set(used)) == len(used)
    assert set(used) == {c.provider for rule in in_order(policy) for c in expand(rule.use, providers)}


@given(data=st.data())
def test_lots_are_drawn_where_some_weighted_order_may_need_them(drawn, data):
    policy, providers = data.draw(drawn.policies), data.draw(drawn.providers)
    compiled, attributes = compile_policy(policy, providers), data.draw(drawn.attributes)
    lots = data.draw(st.tuples(st.integers(0, 99), st.integers(0, 99)))
    one, other = (decide(compiled, Attributes(**{**_fields(attributes), "lot": lot})) for lot in lots)
    if not compiled.draws_lots:
        assert one == other
    weighted = [use for rule in in_order(policy) for use in rule.use if isinstance(use, Selector)]
    assert not compiled.draws_lots or any(selector.order is Order.WEIGHTED for selector in weighted)


def _fields(attributes):
    return {name: getattr(attributes, name) for name in Attributes.__dataclass_fields__}
