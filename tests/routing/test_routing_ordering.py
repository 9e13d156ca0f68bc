"""Orders that are made anew at each decision: shares by weight, latency, load."""

import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import LOTS, Attributes, Candidate, Facts, Order, Policy, Profile, Rule, Selector
from lmroute.routing.decide import decide
from lmroute.routing.ordering import places
from lmroute.routing.policy import compile_policy
from lmroute.routing.selectors import Group, groups

CANDIDATES = tuple(Candidate(name, "auto") for name in "abcd")
WEIGHTS = (1.0, 2.0, 5.0)


def order(group, lot=0, *, rule="r", seed=0, facts=None):
    return tuple(group.candidates[place] for place in places(group, rule, lot, facts or Facts(), seed))


def shared(candidates, weights):
    return Group(tuple(candidates), Order.WEIGHTED, tuple(weights))


def is_share(count, share, of=LOTS):
    """Within 4.5 standard deviations. Which lots a seed draws is fixed, so this holds always or never."""
    return abs(count - share * of) <= 4.5 * math.sqrt(share * (1 - share) * of)


def test_over_all_lots_each_comes_first_in_proportion_to_its_weight_and_so_does_the_next_of_the_others():
    counts = Counter(order(shared(CANDIDATES[:3], WEIGHTS), lot)[:2] for lot in range(LOTS))
    for first, weight in zip(CANDIDATES[:3], WEIGHTS, strict=True):
        assert is_share(sum(counts[first, other] for other in CANDIDATES), weight / 8)
        for second, other in zip(CANDIDATES[:3], WEIGHTS, strict=True):
            if first != second:
                assert is_share(counts[first, second], weight / 8 * other / (8 - weight))


@pytest.mark.parametrize(("rule", "seed"), [("r", 1), ("s", 0), ("r", 10)])
def test_another_seed_or_rule_shares_out_independently(rule, seed):
    group, lots = shared(CANDIDATES[:2], (1.0, 1.0)), range(10_000)
    same = sum(order(group, lot)[0] == order(group, lot, rule=rule, seed=seed)[0] for lot in lots)
    assert is_share(same, 0.5, of=len(lots))


def test_these_lots_went_this_way_and_always_will():
    """A rerun with another release has to go the same way; a change here breaks reproducibility for everybody."""
    group = shared(CANDIDATES[:3], WEIGHTS)
    assert "".join(order(group, lot, seed=7)[0].provider for lot in range(24)) == "ccbccacbbbcbcbcbbcccccbc"


numbers = st.sampled_from([0.25, 1.0, 3.0])
weighted = st.lists(st.sampled_from(CANDIDATES), min_size=2, unique=True).flatmap(
    lambda found: st.lists(numbers, min_size=len(found), max_size=len(found)).map(lambda w: shared(found, w))
)


@given(group=weighted, lot=st.integers(0, LOTS - 1), seed=st.integers(0, 9), data=st.data())
def test_whoever_leaves_moves_no_request_between_the_others(group, lot, seed, data):
    gone = data.draw(st.sampled_from(group.candidates))
    left = [(c, w) for c, w in zip(group.candidates, group.weights, strict=True) if c != gone]
    before = [candidate for candidate in order(group, lot, seed=seed) if candidate != gone]
    assert list(order(shared(*zip(*left, strict=True)), lot, seed=seed)) == before


@given(group=weighted, lot=st.integers(0, LOTS - 1), data=st.data())
def test_how_they_are_declared_decides_nothing(group, lot, data):
    turned = data.draw(st.permutations(list(zip(group.candidates, group.weights, strict=True))))
    assert order(shared(*zip(*turned, strict=True)), lot) == order(group, lot)


@given(group=weighted, lot=st.integers(0, LOTS - 1), data=st.data())
def test_a_greater_weight_never_takes_a_request_away(group, lot, data):
    at = data.draw(st.integers(0, len(group.candidates) - 1))
    heavier = replace(group, weights=tuple(w * 4 if n == at else w for n, w in enumerate(group.weights)))
    one = group.candidates[at]
    assert order(heavier, lot).index(one) <= order(group, lot).index(one)


@given(lot=st.integers(0, LOTS - 1), seed=st.integers(0, 9))
def test_the_lot_and_the_stacks_seed_decide_a_request(lot, seed):
    providers = {c.provider: Profile(c.provider, "openai") for c in CANDIDATES}
    selector = Selector(order=Order.WEIGHTED, weights=(("a", 3.0), ("b/auto", 0.5)))
    compiled = compile_policy(Policy("p", (Rule("r", (selector,)),)), providers, seed)
    expected = order(shared(CANDIDATES, (3.0, 0.5, 1.0, 1.0)), lot, seed=seed)
    assert decide(compiled, Attributes(lot=lot)).candidates == expected
    assert compiled.draws_lots


@given(
    sorting=st.sampled_from([(Order.LATENCY, "latency_ms"), (Order.LOAD, "load")]),
    known=st.dictionaries(st.sampled_from(CANDIDATES), st.integers(0, 3)),
    declared=st.permutations(CANDIDATES),
)
def test_the_least_comes_first_unknown_counts_as_nothing_and_ties_stay_as_declared(sorting, known, declared):
    group = Group(tuple(declared), sorting[0])
    found = order(group, facts=Facts(**{sorting[1]: known}))
    assert list(found) == sorted(declared, key=lambda c: (known.get(c, 0), declared.index(c)))


@given(data=st.data(), lot=st.integers(0, LOTS - 1))
def test_an_order_moves_nobody_out_of_its_entry_of_use(drawn, data, lot):
    """Each entry of ``use`` is exhausted before the next one begins."""
    uses, providers, facts = data.draw(drawn.uses), data.draw(drawn.providers), data.draw(drawn.facts)
    compiled = compile_policy(Policy("p", (Rule("r", uses),)), providers)
    considered = [c.candidate for c in decide(compiled, Attributes(lot=lot), replace(facts, pins={})).considered]
    for group in groups(uses, providers):
        there, considered = considered[: len(group.candidates)], considered[len(group.candidates) :]
        assert sorted(there) == sorted(group.candidates)
        assert tuple(there) == order(group, lot, facts=facts)
    assert considered == []


@pytest.mark.parametrize("kind", [Order.DECLARED, Order.COST])
def test_settled_orders_are_what_compiling_made_them(kind):
    facts = Facts(load={CANDIDATES[0]: 9}, latency_ms={CANDIDATES[0]: 9.0})
    assert order(Group(CANDIDATES, kind), 17, facts=facts) == CANDIDATES
