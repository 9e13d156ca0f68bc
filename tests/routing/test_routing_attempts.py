"""Whom to ask next after which failures, and calls that are simulated by it."""

from dataclasses import replace
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import (
    FALLBACK,
    Attributes,
    Candidate,
    Considered,
    Decision,
    Facts,
    Failure,
    Policy,
    Profile,
    Rule,
    Selector,
)
from lmroute.routing.attempts import following, may_fall_back, remaining
from lmroute.routing.decide import cut_short, decide
from lmroute.routing.eligibility import window_of
from lmroute.routing.policy import compile_policy
from lmroute.routing.simulate import simulate

A, B, C, D = CANDIDATES = tuple(Candidate(name, "auto") for name in "abcd")
failures = st.sampled_from(Failure)
allowed = st.none() | st.frozensets(failures)
windows = st.dictionaries(st.sampled_from(CANDIDATES), st.integers(1, 5))


def decision(*candidates, fallback_on=None, dropped=()):
    considered = [Considered(candidate) for candidate in candidates]
    return Decision("r", (*considered, *(Considered(c, "no") for c in dropped)), fallback_on)


def walk(made, fails, window):
    """Everybody who is asked and how it failed, until somebody answers or nobody is left."""
    failed = []
    while candidate := following(made, failed, window):
        assert candidate == next(remaining(made, failed, window))
        if candidate not in fails:
            return failed, candidate
        failed.append((candidate, fails[candidate]))
        assert len(failed) <= len(made.candidates), "somebody is asked again and again"
    return failed, None


@given(
    order=st.permutations(CANDIDATES),
    fails=st.dictionaries(st.sampled_from(CANDIDATES), failures),
    fallback_on=allowed,
    known=windows,
)
def test_a_call_walks_down_the_candidates_as_far_as_failures_let_it(order, fails, fallback_on, known):
    *kept, dropped = order
    made = decision(*kept, fallback_on=fallback_on, dropped=[dropped])
    failed, answered = walk(made, fails, known.get)
    asked = [candidate for candidate, _ in failed] + ([answered] if answered else [])
    goes_on = FALLBACK if fallback_on is None else fallback_on - {Failure.GUARANTEE}
    assert len(set(asked)) == len(asked), "nobody is asked twice"
    assert dropped not in asked
    assert asked == [candidate for candidate in kept if candidate in asked], "in the order of the decision"
    assert all(failure in goes_on for _, failure in failed[:-1]), "a failure that ends a call ends it"
    for number, candidate in enumerate(asked):
        overflowed = [known.get(c, 0) for c, failure in failed[:number] if failure is Failure.CONTEXT_LENGTH]
        assert not overflowed or known.get(candidate, 99) > max(overflowed), "where it does not fit either"
    if answered is None and (not failed or failed[-1][1] in goes_on):
        overflowed = [known.get(c, 0) for c, failure in failed if failure is Failure.CONTEXT_LENGTH]
        for candidate in set(kept) - set(asked):
            assert overflowed, f"{candidate} was never asked"
            assert known[candidate] <= max(overflowed), f"{candidate} was never asked"


@pytest.mark.parametrize("failure", Failure)
def test_unless_the_rule_says_otherwise_all_failures_fall_back_but_those_that_any_server_would_repeat(failure):
    assert may_fall_back(decision(A), failure) is (failure not in {Failure.INVALID_REQUEST, Failure.GUARANTEE})
    assert may_fall_back(decision(A, fallback_on=frozenset()), failure) is False
    stated = decision(A, fallback_on=frozenset({failure}))
    assert may_fall_back(stated, failure) is (failure is not Failure.GUARANTEE)


def test_after_an_overflow_only_a_window_that_may_be_larger_is_tried():
    made, known = decision(A, B, C, D), {A: 8, B: 8, C: 4, D: 9}
    overflow = Failure.CONTEXT_LENGTH
    assert following(made, [(A, overflow)], known.get) == D
    assert following(made, [(A, overflow)], {A: 8, B: 8}.get) == C, "an unknown window may be larger"
    assert following(made, [(A, overflow)], {B: 1}.get) == B, "nothing is known of the one that overflowed"
    assert following(made, [(A, Failure.TIMEOUT)], known.get) == B
    assert following(made, [(A, overflow), (D, Failure.TIMEOUT)], known.get) is None


def test_nobody_follows_nobody():
    assert following(decision(), [], {}.get) is None
    assert following(decision(dropped=[A]), [], {}.get) is None


@given(data=st.data())
def test_a_simulation_asks_whom_a_call_would_ask(drawn, data):
    policy, providers = data.draw(drawn.policies), data.draw(drawn.providers)
    attributes, facts = data.draw(drawn.attributes | drawn.choosing), data.draw(drawn.facts)
    compiled = compile_policy(policy, providers)
    fails = data.draw(st.dictionaries(drawn.candidates, failures))
    simulated = simulate(compiled, attributes, fails, facts)
    assert simulated.decision == decide(compiled, attributes, facts)

    def window(candidate):
        return window_of(candidate, providers[candidate.provider], facts)

    # The last resort comes after all others, by the same rules.
    late = cut_short(compiled, simulated.decision, attributes, facts)
    every = Decision("", (*simulated.decision.considered, *late.considered), simulated.decision.fallback_on)
    failed, answered = walk(every, fails, window)
    assert (list(simulated.failed), simulated.answered) == (failed, answered)
    assert list(simulated.asked) == [c for c, _ in failed] + ([answered] if answered else [])
    assert set(simulated.asked) <= {*simulated.decision.candidates, *late.candidates}
    assert not set(simulated.decision.candidates) & set(late.candidates)


def test_a_whole_server_may_fail_in_a_simulation_and_one_model_of_it_otherwise():
    providers = {"a": Profile("a", "openai", models=("m1", "m2", "m3")), "b": Profile("b", "openai")}
    compiled = compile_policy(Policy("p", (Rule("r", (Selector(),)),)), providers)
    models = [Candidate("a", model) for model in ("m1", "m2", "m3")]
    fails = {"a": Failure.TRANSPORT, models[1]: Failure.TIMEOUT}
    found = simulate(compiled, Attributes(), fails)
    kinds = [Failure.TRANSPORT, Failure.TIMEOUT, Failure.TRANSPORT]
    assert found.failed == tuple(zip(models, kinds, strict=True))
    assert found.answered == Candidate("b", "auto")
    assert simulate(compiled, Attributes(), {**fails, "b": Failure.SERVER}).answered is None
    ended = simulate(compiled, Attributes(), {"a": Failure.INVALID_REQUEST})
    assert (ended.asked, ended.answered) == (tuple(models[:1]), None)


def test_a_simulation_knows_what_was_learned():
    providers = {name: Profile(name, "openai", context_window=1000) for name in "abc"}
    compiled = compile_policy(Policy("p", (Rule("r", (Selector(),)),)), providers)
    fails = {A: Failure.CONTEXT_LENGTH}
    assert simulate(compiled, Attributes(), fails).asked == (A,)
    assert simulate(compiled, Attributes(), fails, Facts(windows={C: 2000})).asked == (A, C)
    assert simulate(compiled, Attributes(prompt_tokens=1500), {}, Facts(windows={C: 2000})).asked == (C,)
    down = simulate(compiled, Attributes(), {}, Facts(out=dict.fromkeys((A, B), "down")))
    assert list(takewhile(lambda candidate: candidate != C, down.asked)) == []


def test_who_has_room_for_the_prompt_only_is_asked_in_need_but_for_nothing_else_that_speaks_against_it():
    """As the engine does, so that a replay tells the same."""
    compiled = compile_policy(
        Policy("p", (Rule("r", (Selector(),)),)), {"a": Profile("a", "openai", context_window=1000)}
    )
    wanted, (only,) = Attributes(prompt_tokens=100, max_output_tokens=5000), compiled.rules[0].options
    assert decide(compiled, wanted).candidates == ()
    assert simulate(compiled, wanted, {}).asked == (only.candidate,)
    for worse, facts in (
        (replace(wanted, prompt_tokens=1251), {}),
        (replace(wanted, needs_tools=True), {}),
        (wanted, {"throttled": {only.candidate: "asked for a pause"}}),
        (wanted, {"pins": {"r": Candidate("b", "m")}}),
    ):
        assert simulate(compiled, worse, {}, Facts(**facts)).asked == ()


def test_and_only_after_those_who_have_room_for_all():
    providers = {"a": Profile("a", "openai", context_window=1000), "b": Profile("b", "openai")}
    compiled = compile_policy(Policy("p", (Rule("r", (Selector(),)),)), providers)
    wanted = Attributes(max_output_tokens=5000)
    assert [c.provider for c in simulate(compiled, wanted, {}).asked] == ["b"]
    assert [c.provider for c in simulate(compiled, wanted, {"b": Failure.TRANSPORT}).asked] == ["b", "a"]
