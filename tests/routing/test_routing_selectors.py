"""From what a rule says it uses to candidates."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import Candidate, Cost, Locality, Named, Order, Profile, Selector
from lmroute.routing.selectors import expand


def profile(id_, **known):
    return Profile(id_, "openai", **known)


def ids(candidates):
    return [candidate.provider for candidate in candidates]


def has_the_traits(selector, found):
    asked = [
        (selector.locality, {found.locality}),
        (selector.types, {found.type}),
        (selector.tags, set(found.tags)),
        (selector.providers, {found.id}),
    ]
    return all(not wanted or wanted & there for wanted, there in asked)


@given(data=st.data())
def test_candidates_are_unique_and_their_providers_known(drawn, data):
    uses, providers = data.draw(drawn.uses), data.draw(drawn.providers)
    candidates = expand(uses, providers)
    assert len(set(candidates)) == len(candidates)
    assert {c.provider for c in candidates} <= set(providers)


@given(data=st.data())
def test_uses_are_tried_in_their_order(drawn, data):
    """Expanding a longer list only ever appends to what a shorter one gives."""
    uses, providers = data.draw(drawn.uses), data.draw(drawn.providers)
    for cut in range(len(uses)):
        shorter = expand(uses[:cut], providers)
        assert expand(uses, providers)[: len(shorter)] == shorter


@given(data=st.data())
def test_a_selector_selects_every_model_of_those_with_the_traits_and_no_other(drawn, data):
    selector, providers = data.draw(drawn.selectors), data.draw(drawn.providers)
    wanted = {Candidate(p.id, m) for p in providers.values() if has_the_traits(selector, p) for m in p.models}
    assert set(expand([selector], providers)) == wanted


@given(data=st.data())
def test_declared_order_is_the_order_of_the_providers(drawn, data):
    selector, providers = data.draw(drawn.selectors), data.draw(drawn.providers)
    found = dict.fromkeys(ids(expand([replace(selector, order=Order.DECLARED)], providers)))
    assert list(found) == [id_ for id_ in providers if id_ in found]


@given(data=st.data())
def test_cost_order_is_cheapest_first_unknown_last_and_ties_as_declared(drawn, data):
    selector, providers = data.draw(drawn.selectors), data.draw(drawn.providers)
    found = list(dict.fromkeys(ids(expand([replace(selector, order=Order.COST)], providers))))

    def rank(id_):
        cost = providers[id_].cost
        price = (1, 0.0) if cost is None else (0, cost.input_per_mtok + cost.output_per_mtok)
        return (*price, list(providers).index(id_))

    assert found == sorted(found, key=rank)


def test_cost_order_by_example():
    providers = {
        "unknown": profile("unknown"),
        "dear": profile("dear", cost=Cost(3, 15)),
        "free": profile("free", cost=Cost()),
        "fair": profile("fair", cost=Cost(1, 1)),
        "fair_too": profile("fair_too", cost=Cost(0, 2)),
    }
    assert ids(expand([Selector(order=Order.COST)], providers)) == ["free", "fair", "fair_too", "dear", "unknown"]


def test_a_name_alone_means_all_models_in_order_and_a_model_only_that_one():
    providers = {"a": profile("a", models=("m2", "m1"))}
    assert expand([Named("a")], providers) == (Candidate("a", "m2"), Candidate("a", "m1"))
    assert expand([Named("a", "m9")], providers) == (Candidate("a", "m9"),)


def test_a_candidate_stands_where_it_is_mentioned_first():
    providers = {"a": profile("a"), "b": profile("b", locality=Locality.LOOPBACK)}
    assert ids(expand([Named("b"), Selector()], providers)) == ["b", "a"]
    assert ids(expand([Selector(locality=frozenset({Locality.CLOUD})), Named("b")], providers)) == ["a", "b"]


def test_a_provider_that_was_not_selected_gives_none():
    assert expand([Named("absent"), Named("a")], {"a": profile("a")}) == (Candidate("a", "auto"),)
