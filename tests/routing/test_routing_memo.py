"""Decisions out of the memo against decisions that nothing was remembered for."""

import math
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import (
    AllOf,
    AnyOf,
    Attributes,
    Budget,
    Candidate,
    Facts,
    Guarantee,
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
from lmroute.routing import memo
from lmroute.routing.decide import decide
from lmroute.routing.policy import compile_policy

A, B = Candidate("a", "auto"), Candidate("b", "auto")
TWO = {name: Profile(name, "openai") for name in "ab"}


def afresh(compiled, attributes, facts):
    """The decision of a policy that was never asked before."""
    return decide(compile_policy(compiled.source, compiled.providers, compiled.seed), attributes, facts)


def check(compiled, requests, facts):
    """Each request gets the decision that it would get as the first one."""
    for attributes in requests:
        assert decide(compiled, attributes, facts) == afresh(compiled, attributes, facts)


@st.composite
def alike(draw, drawn):
    """Requests that differ from the first one in a single attribute each."""
    first = draw(drawn.attributes)
    changes = [st.just(name).flatmap(_changed(drawn.by_field[name])) for name in drawn.by_field if name != "own"]
    own = drawn.by_field["own"].map(lambda own: {"own": {**first.own, **own}})
    changed = draw(st.lists(st.one_of(*changes, own, own), min_size=3, max_size=12))
    return [first, *(replace(first, **change) for change in changed), first]


def _changed(values):
    return lambda name: values.map(lambda value: {name: value})


@given(data=st.data())
def test_what_was_decided_before_changes_no_decision(drawn, data):
    compiled = compile_policy(data.draw(drawn.policies), data.draw(drawn.providers), data.draw(st.integers(0, 3)))
    check(compiled, data.draw(alike(drawn)), data.draw(drawn.facts))


@given(data=st.data())
def test_changing_facts_are_taken_into_account_at_once(drawn, data):
    compiled = compile_policy(data.draw(drawn.policies), data.draw(drawn.providers))
    requests = data.draw(st.lists(drawn.attributes, min_size=1, max_size=3))
    known = data.draw(st.lists(drawn.facts, min_size=2, max_size=3))
    for facts in (*known, *reversed(known), replace(known[0]), known[0]):
        check(compiled, requests, facts)


def values_of(attribute, drawn):
    """All values around those that the tests below compare an attribute with."""
    corners = (0.0, 0.25, 0.5, 0.75, 1.0)
    scores = {math.nextafter(corner, to) for corner in corners for to in (0.0, corner, 1.0)} | {0.1, 0.6}
    words = (["", "qa", "rag.a", "rag.b", "other"], ["task", "module", "signature", "predictor"])
    members = [frozenset(some) for count in range(4) for some in permutations(("eu", "us", "asia"), count)]
    found = {
        **dict.fromkeys(words[1], words[0]),
        "tags": dict.fromkeys(members),
        "regions": dict.fromkeys(members),
        "privacy": Privacy,
        "tier": ("free", "pro", "team"),
        "score": sorted(scores),
        "rank": range(-2, 7),
        "audited": (True, False),
    }.get(attribute, (False, True) if attribute.startswith(("needs", "stream")) else range(45))
    if attribute == "total_tokens":
        return [Attributes(prompt_tokens=half, max_output_tokens=n - half) for n in found for half in {0, n // 2, n}]
    if attribute in drawn.own:
        return [Attributes(), *(Attributes(own={attribute: value}) for value in found)]
    return [Attributes(**{attribute: value}) for value in found]


TESTS = [
    *(
        Test(name, op, 20)
        for name in ("prompt_tokens", "max_output_tokens", "total_tokens")
        for op in ["gt", "gte", "lt", "lte", "eq", "ne"]
    ),
    *(Test(name, "between", (8, 20)) for name in ("prompt_tokens", "total_tokens")),
    *(Test(name, "in", (0, 7, 44)) for name in ("prompt_tokens", "total_tokens")),
    *(Test("score", op, number) for number in (0.25, 0.5) for op in ("gt", "gte", "lt", "lte", "eq", "ne")),
    *(Test("rank", op, number) for number in (-1, 2) for op in ("gt", "gte", "lt", "lte", "eq", "ne")),
    *(Test("score", op, number) for op, number in (("gt", 0.0), ("lte", 0.0), ("gte", 1.0), ("lt", 1.0), ("eq", 1.0))),
    *(Test("rank", op, number) for op, number in (("gt", -2), ("lt", 2.5), ("gte", 2.5), ("gte", 6), ("ne", 6))),
    Test("score", "between", (0.25, 0.75)),
    Test("score", "not_in", (0.25, 1.0)),
    Test("rank", "in", (-1, 3)),
    *(Test(name, op, word) for name in ("task", "predictor") for op in ("eq", "ne") for word in ("", "qa")),
    *(Test(name, "in", ("qa", "rag.a")) for name in ("task", "module", "signature")),
    *(Test(name, "matches", "rag.*") for name in ("signature", "predictor")),
    *(Test(name, "contains", "us") for name in ("tags", "regions")),
    *(Test(name, op, ("us", "eu")) for name in ("tags", "regions") for op in ("contains_any", "contains_all")),
    *(Test("privacy", op, "private") for op in ("eq", "ne")),
    Test("privacy", "in", ("public", "private")),
    *(Test("tier", op, word) for op in ("eq", "ne") for word in ("free", "team")),
    *(Test(name, "eq", True) for name in ("needs_tools", "needs.response_schema", "needs.vision", "stream", "audited")),
    *(
        Test(name, "exists", True)
        for name in ["task", "tags", "prompt_tokens", "total_tokens", "tier", "score", "rank", "audited", "regions"]
    ),
]


@pytest.mark.parametrize("test", [replace(test, operator=Operator(test.operator)) for test in TESTS], ids=str)
@pytest.mark.parametrize("place", ["rule", "guarantee", "inside"])
def test_no_two_values_that_a_test_tells_apart_are_one_to_the_memo(drawn, test, place):
    """One policy is asked about every value in turn, so a value that another one stands for would be found out."""
    when = {"inside": AnyOf((AllOf((Not(test),)), Not(AllOf(()))))}.get(place, test)
    guarded = Guarantee("g", test, never=Traits(providers=frozenset("a")))
    policy = Policy(
        "p",
        (Rule("some", (Named("a"),), when) if place != "guarantee" else Rule("all", (Selector(),)),),
        attributes=drawn.own,
        default=(Named("b"),),
        guarantees=(guarded,) if place == "guarantee" else (),
    )
    requests = values_of(test.attribute.replace(".", "_"), drawn)
    facts = Facts()
    decided = {decide(compile_policy(policy, TWO), request, facts).candidates for request in requests}
    assert len(decided) == 2, "the test holds for some of these values and not for others"
    for order in (requests, requests[::-1]):
        check(compile_policy(policy, TWO), order, facts)


def test_windows_cut_by_what_overflows_them_and_learned_ones_do_too():
    providers = {"a": Profile("a", "openai", context_window=16), "b": Profile("b", "openai", context_window=100)}
    compiled = compile_policy(Policy("p", (Rule("all", (Selector(),)),)), providers)
    requests = [Attributes(prompt_tokens=half, max_output_tokens=n - half) for n in range(150) for half in (n // 2, n)]
    for windows in ({}, {A: 24}, {A: 24, B: 8}, {B: 99}, {}):
        facts = Facts(windows=windows)
        check(compiled, requests, facts)
        kept = [len(decide(compiled, request, facts).candidates) for request in requests]
        assert set(kept) == {0, 1, 2}


@pytest.mark.parametrize("need", ["needs_tools", "needs_vision", "needs_reasoning"])
def test_needs_are_told_apart_though_no_rule_reads_them(need):
    compiled = compile_policy(Policy("p", (Rule("all", (Selector(),)),)), TWO)
    for needed in (False, True, False, True):
        assert bool(decide(compiled, Attributes(**{need: needed})).candidates) is not needed


def test_budgets_pins_and_pauses_are_those_of_the_moment():
    budget = Budget("day", Period.DAY, Traits(providers=frozenset("a")), tokens=1)
    compiled = compile_policy(Policy("p", (Rule("all", (Selector(),), pin=True),), budgets=(budget,)), TWO)
    moments = {
        (A, B): Facts(),
        (B,): Facts(spent=frozenset({"day"})),
        (A,): Facts(pins={"all": A}),
        (): Facts(throttled={A: "wait", B: "wait"}),
    }
    for candidates, facts in (*moments.items(), *moments.items()):
        assert decide(compiled, Attributes(), facts).candidates == candidates


def test_live_facts_are_read_at_every_decision():
    load, latency = {}, {}
    facts = Facts(load=load, latency_ms=latency)
    for order, live in ((Order.LOAD, load), (Order.LATENCY, latency)):
        compiled = compile_policy(Policy("p", (Rule("all", (Selector(order=order),)),)), TWO)
        for mapping in ({}, {A: 1}, {A: 1, B: 2}, {B: 2}, {A: 9, B: 1}):
            live.clear()
            live.update(mapping)
            expected = sorted((A, B), key=lambda candidate: mapping.get(candidate, 0))
            assert list(decide(compiled, Attributes(), facts).candidates) == expected


def test_lots_are_told_apart_where_an_order_draws_them():
    compiled = compile_policy(Policy("p", (Rule("all", (Selector(order=Order.WEIGHTED),)),)), TWO)
    first = [decide(compiled, Attributes(lot=lot)).candidates[0] for lot in range(100)]
    assert set(first) == {A, B}
    assert first == [afresh(compiled, Attributes(lot=lot), Facts()).candidates[0] for lot in range(100)]


def test_what_is_remembered_is_bounded(monkeypatch):
    """A policy that compares free text has as many classes as there are texts."""
    monkeypatch.setattr(memo, "_MOST", 10)
    compiled = compile_policy(Policy("p", (Rule("qa", (Named("a"),), Test("task", Operator.EQ, "qa")),)), TWO)
    facts = Facts()
    check(compiled, [Attributes(task=task) for number in range(50) for task in (f"task{number}", "qa")], facts)
    assert len(compiled.memo._known.decisions) <= 10


def test_the_same_class_is_decided_once():
    """Otherwise it would be a memo of nothing."""
    compiled = compile_policy(Policy("p", (Rule("long", (Named("a"),), Test("prompt_tokens", Operator.GT, 100)),)), TWO)
    facts = Facts()
    assert decide(compiled, Attributes(prompt_tokens=101), facts) is decide(
        compiled, Attributes(prompt_tokens=9000, task="another", lot=7), facts
    )
    assert decide(compiled, Attributes(prompt_tokens=101), facts) is not decide(
        compiled, Attributes(prompt_tokens=101), replace(facts)
    )
