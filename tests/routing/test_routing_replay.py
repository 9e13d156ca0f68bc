"""Recorded calls under another policy: who would answer, and what that would cost and take."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import (
    Attributes,
    Candidate,
    Cost,
    Facts,
    Failure,
    Locality,
    Named,
    Operator,
    Policy,
    Privacy,
    Profile,
    Rule,
    Selector,
    Test,
)
from lmroute.routing.policy import compile_policy
from lmroute.routing.replay import Recorded, replay
from lmroute.routing.simulate import simulate

HERE, CLOUD, THIRD = (Candidate(name, "auto") for name in ("here", "cloud", "third"))
PROVIDERS = {
    "here": Profile("here", "lmstudio", locality=Locality.LOOPBACK, cost=Cost()),
    "cloud": Profile("cloud", "openai", locality=Locality.CLOUD, cost=Cost(1.0, 10.0)),
    "third": Profile("third", "ollama", locality=Locality.PRIVATE),
}
PRIVATE = Attributes(privacy=Privacy.PRIVATE)


def using(*names, **known):
    policy = Policy("b", (Rule("only", tuple(map(Named, names)), **known),))
    return compile_policy(policy, PROVIDERS)


def call(answered, name="c1", attributes=None, **known):
    return Recorded(name, attributes or Attributes(), known.pop("facts", Facts()), answered=answered, **known)


@given(data=st.data())
def test_under_the_policy_that_decided_it_no_call_moves(drawn, data):
    """Whatever the policy, the request, the circumstances and the failures were."""
    policy = compile_policy(data.draw(drawn.policies), data.draw(drawn.providers))
    attributes = data.draw(drawn.attributes.filter(lambda a: not a.tags and not a.own))
    facts = data.draw(drawn.facts)
    failures = data.draw(st.dictionaries(drawn.candidates, st.sampled_from(Failure)))
    went = simulate(policy, attributes, failures, facts)
    recorded = call(
        went.answered, attributes=attributes, facts=facts, rule=went.decision.rule, failed=tuple(went.failed)
    )

    [again] = replay([recorded], policy).calls

    assert (again.moved, again.rule) == (False, went.decision.rule)
    assert bool(again.why) == (went.answered is None)


def test_what_moves_and_from_where_to_where():
    calls = [call(HERE, "1", rule="local"), call(CLOUD, "2", rule="far"), call(HERE, "3", rule="local")]

    replayed = replay(calls, using("cloud"))

    assert [again.call.id for again in replayed.moved] == ["1", "3"]
    assert replayed.by_candidate == [("here/auto", "cloud/auto", 2), ("cloud/auto", "cloud/auto", 1)]
    assert replayed.by_rule == [("local", "only", 2), ("far", "only", 1)]


def test_who_failed_then_fails_again_and_the_next_is_asked():
    failed = ((HERE, Failure.TRANSPORT),)
    [again] = replay([call(CLOUD, failed=failed)], using("here", "third")).calls
    assert again.answered == THIRD


def test_who_may_not_be_followed_leaves_no_answer():
    failed = ((HERE, Failure.TIMEOUT),)
    [again] = replay([call(CLOUD, failed=failed)], using("here", "cloud", fallback_on=frozenset())).unanswered
    assert again.why == "here/auto failed then with timeout, and nobody is to be asked after it"


def test_facts_count_unless_they_are_left_out():
    recorded = call(CLOUD, facts=Facts(out={HERE: "down"}))
    policy = using("here", "cloud")
    assert not replay([recorded], policy).moved
    assert replay([recorded], policy, with_facts=False).moved[0].answered == HERE


def test_somebody_who_was_out_is_no_answer_just_because_nobody_else_is_left():
    [again] = replay([call(CLOUD, facts=Facts(out={HERE: "down"}))], using("here")).unanswered
    assert again.why == "nobody is left but here/auto, and that is out: down"


def test_but_if_it_did_answer_then_it_does_again():
    assert not replay([call(HERE, facts=Facts(out={HERE: "down"}))], using("here")).moved


@pytest.mark.parametrize(
    ("policy", "attributes", "why"),
    [
        (using("cloud", when=Test("privacy", Operator.EQ, "public")), PRIVATE, "no rule is for it"),
        (using("gone"), PRIVATE, "rule 'only' has no candidates"),
        (using("here"), Attributes(needs_tools=True), "cannot call tools"),
        (using("here"), Attributes(use="cloud"), "refused: the caller chose 'cloud'"),
        (using("here", when=Test("tags", Operator.CONTAINS, "nightly")), Attributes(tags=frozenset({"nigtly"})),
         "refused: tag 'nigtly' is none that policy 'b' knows"),
        (using("here"), Attributes(own={"tier": "pro"}), "refused: attribute 'tier' is none that policy 'b' declares"),
    ],
)  # fmt: skip
def test_why_nobody_would_answer(policy, attributes, why):
    [again] = replay([call(CLOUD, attributes=attributes)], policy).unanswered
    assert again.moved
    assert again.why.startswith(why)


def test_an_unanswered_call_that_is_answered_now_has_moved():
    assert replay([call(None)], using("here")).moved[0].as_data()["before"] is None


def test_cost_is_by_the_prices_and_the_recorded_tokens():
    calls = [call(HERE, input_tokens=1_000_000, output_tokens=100_000), call(HERE), call(None)]

    usd = replay(calls, using("cloud")).usd

    assert (usd.before, usd.after, usd.calls) == (0.0, 2.0, 1)
    assert usd.unknown == {"no token counts recorded": 1, "nobody answers, before or after": 1}


@pytest.mark.parametrize(
    ("answered", "reason"),
    [
        (THIRD, "no price: the profile of 'third' states no cost"),
        (Candidate("gone", "m"), "no price: provider 'gone' is not selected"),
    ],
)
def test_what_has_no_price_is_said(answered, reason):
    usd = replay([call(answered, input_tokens=1, output_tokens=1)], using("here")).usd
    assert (usd.calls, usd.unknown) == (0, {reason: 1})
    assert usd.as_data()["before"] is None


def test_latency_is_by_the_median_of_the_candidate():
    slow = [call(CLOUD, str(ms), duration_ms=ms) for ms in (100.0, 900.0, 200.0)]
    quick = [call(HERE, "q", duration_ms=10.0, attributes=PRIVATE)]
    to_here = using("here")

    latency = replay(slow + quick, to_here).latency_ms

    assert (latency.before, latency.after, latency.calls) == (3 * 200.0 + 10.0, 4 * 10.0, 4)


def test_somebody_who_never_answered_has_no_latency():
    latency = replay([call(HERE, duration_ms=5.0)], using("cloud")).latency_ms
    assert latency.unknown == {"no recorded call was answered by cloud/auto": 1}


def test_no_calls_are_no_error_and_all_of_it_is_json():
    everybody = compile_policy(Policy("b", (Rule("only", (Selector(),)),)), PROVIDERS)
    assert replay([], everybody).as_data()["calls"] == 0
    read = json.loads(json.dumps(replay([call(CLOUD, rule="x")], everybody).as_data()))
    assert read["moved"] == [
        {
            "call": "c1",
            "before": "cloud/auto",
            "after": "here/auto",
            "rule_before": "x",
            "rule_after": "only",
            "why": "",
        }
    ]
