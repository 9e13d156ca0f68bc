"""What a changed server means for the rules: every request that is lost is told of, and none that is not."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.lock import Instance, Lock, LockedModel, LockedProvider, Weight, effects
from lmroute.lock.drift import compare
from lmroute.model import (
    NOTHING_KNOWN,
    Attributes,
    Candidate,
    Capabilities,
    Guarantee,
    Locality,
    Named,
    Operator,
    Policy,
    Privacy,
    Profile,
    Rule,
    Selector,
    Stack,
    TaskSpec,
    Test,
    Traits,
)
from lmroute.routing.classes import overflow_at
from lmroute.routing.eligibility import forbidden, too_small, unable
from lmroute.routing.policy import compile_policy

MORE = "more than was locked, or not told any more:"
TAKEN = "2026-03-01T09:30:00Z"
LONG = Test("prompt_tokens", Operator.GT, 8000)
PRIVATE = Test("privacy", Operator.EQ, "private")
STAYS = Guarantee("stays", PRIVATE, only=Traits(locality=frozenset({Locality.LOOPBACK})))


def box(window=None, *, name="auto", answer="tern", **told):
    """A server with one model, loaded with a window."""
    loaded = (Instance("tern", "tern", window),) if window else ()
    return LockedProvider(
        "lmstudio", TAKEN, models=(LockedModel("tern", **told),), answers={name: answer}, loaded=loaded
    )


def stack(*rules, guarantees=(STAYS,), **profiles):
    made = {"box": {"locality": Locality.LOOPBACK}, "cloud": {}, **profiles}
    providers = {name: Profile(name, "openai_compatible", **fields) for name, fields in made.items()}
    return Stack(providers, Policy("p", tuple(rules), guarantees=guarantees), TaskSpec("ask"))


OURS = (Rule("private", (Named("box"),), PRIVATE), Rule("rest", (Named("box"), Named("cloud"))))


def told(*arguments):
    return [str(effect) for effect in effects(*arguments)]


def test_nothing_changed_and_nothing_is_told():
    assert told(stack(*OURS), {"box": box(4096)}, {"box": box(4096)}) == []


def test_a_smaller_window_takes_the_long_requests():
    assert told(stack(*OURS), {"box": box(16384)}, {"box": box(4096)}) == [
        (
            "rule p/private: no candidate is left for privacy=private, prompt_tokens=5121 "
            "(box/auto: context window too small: 4096 tokens (more than 5120 are asked for), "
            "with the window that the server has now)"
        ),
        (
            "rule p/rest: box/auto no longer serves prompt_tokens=5121 "
            "(context window too small: 4096 tokens (more than 5120 are asked for), "
            "with the window that the server has now); cloud/auto does"
        ),
    ]


def test_a_guarantee_that_forbids_the_others_is_named():
    ours = stack(Rule("all", (Named("box"), Named("cloud"))))
    first, second = told(ours, {"box": box(4096)}, {"box": None})
    assert first == (
        "rule p/all: no candidate is left for privacy=private "
        "(box/auto: its server does not answer; cloud/auto: guarantee 'stays' forbids it)"
    )
    assert second.startswith("rule p/all: box/auto no longer serves a request that states nothing")


def test_a_window_of_the_profile_is_not_called_the_server_s():
    ours = stack(OURS[0], box={"locality": Locality.LOOPBACK, "context_window": 4096})
    (line,) = told(ours, {"box": box(16384)}, {"box": box()})
    assert line.endswith("(box/auto: context window too small: 4096 tokens (more than 5120 are asked for))")


def test_a_model_that_is_gone():
    (line,) = told(stack(OURS[0]), {"box": box(4096)}, {"box": box(answer=None)})
    assert "box/auto: its server does not have it any more" in line


def test_a_capability_that_the_server_denies_is_a_drift_and_changes_no_route():
    able = {"box": {"locality": Locality.LOOPBACK, "capabilities": Capabilities(tools=True)}}
    ours = stack(OURS[1], guarantees=(), **able)
    assert told(ours, {"box": box(tools=True)}, {"box": box(tools=False)}) == []
    drift = compare(ours, Lock({"box": box(tools=True)}), {"box": box(tools=False)}, {})
    (line,) = [str(each) for each in drift.differences if each.weight is Weight.DRIFT]
    assert line == (
        "box: 'tern' calls tools yes -> no, the server says; "
        "lmroute still sends them there, for the profile says tools: true"
    )


@pytest.mark.parametrize(
    ("locked", "now", "promised"),
    [
        (box(16384), box(), None),  # a model that just-in-time loading took out again
        (box(4096), box(16384), None),
        (box(), box(4096), None),  # nobody had promised more
        (box(), box(4096), 4096),
        (box(answer=None), box(answer=None), None),  # was not there then either
    ],
)
def test_what_comes_and_goes_by_itself_has_no_effect(locked, now, promised):
    ours = stack(*OURS, box={"locality": Locality.LOOPBACK, "context_window": promised})
    assert told(ours, {"box": locked}, {"box": now}) == []


def test_what_the_profile_promised_and_the_server_does_not_keep_has_one():
    ours = stack(OURS[0], box={"locality": Locality.LOOPBACK, "context_window": 32768})
    assert "prompt_tokens=5121" in told(ours, {"box": box()}, {"box": box(4096)})[0]


def test_who_was_not_asked_or_never_locked_has_not_changed():
    assert told(stack(*OURS), {"box": box(4096)}, {}) == []
    assert told(stack(*OURS), {}, {"box": box(4096)}) == []
    assert told(stack(*OURS), {"box": box(4096, name="other")}, {"box": box(64)}) == []  # auto was not asked for


def test_a_model_that_the_profile_names_since_is_compared_if_the_server_had_it():
    ours = stack(OURS[0], box={"locality": Locality.LOOPBACK, "models": ("tern",)})
    (line,) = told(ours, {"box": box(4096)}, {"box": box(64, name="tern")})
    assert "box/tern: context window too small: 64 tokens" in line


def test_the_model_of_one_candidate_says_nothing_of_the_other():
    ours = stack(Rule("all", (Named("box", "a"), Named("box", "b"))), box={"models": ("a", "b")})
    both = (LockedModel("a"), LockedModel("b"))
    then = LockedProvider(
        "lmstudio", TAKEN, models=both, answers={"a": "a", "b": "b"}, loaded=(Instance("a", "a", 9000),)
    )
    now = replace(then, loaded=(Instance("a", "a", 100),))
    (effect,) = effects(ours, {"box": then}, {"box": now})
    assert (effect.lost, effect.instead) == ((Candidate("box", "a"),), Candidate("box", "b"))


WINDOWS = st.sampled_from([None, 100, 1000, 8000])
FLAGS = st.sampled_from([None, True, False])
NAMES = ("one", "two", "three")
SERVERS = st.builds(
    lambda window, tools, vision, there: box(window, answer="tern" if there else None, tools=tools, vision=vision),
    WINDOWS,
    FLAGS,
    FLAGS,
    st.sampled_from([True, True, True, False]),
)
PROFILES = st.builds(
    lambda window, tools, vision, locality: {
        "context_window": window,
        "capabilities": Capabilities(tools, vision),
        "locality": locality,
    },
    WINDOWS,
    st.booleans(),
    st.booleans(),
    st.sampled_from([Locality.LOOPBACK, Locality.CLOUD]),
)
USES = st.lists(st.sampled_from([*map(Named, NAMES), Selector()]), min_size=1, max_size=3, unique=True).map(tuple)
RULES = st.lists(st.builds(Rule, st.just(""), USES, st.sampled_from([LONG, PRIVATE, Rule("", ()).when])), max_size=3)
SIZES = sorted({0, 8000, 8001, *(overflow_at(w) - 1 for w in (100, 1000, 8000)), *map(overflow_at, (100, 1000, 8000))})
REQUESTS = [
    Attributes(prompt_tokens=size, needs_tools=tools, needs_vision=vision, privacy=privacy)
    for size, tools, vision, privacy in product(SIZES, (False, True), (False, True), (Privacy.PUBLIC, Privacy.PRIVATE))
]
"""One of each class that these policies and servers can tell apart."""


@given(RULES, st.lists(PROFILES, min_size=3, max_size=3), *[st.lists(SERVERS, min_size=3, max_size=3)] * 2)
def test_every_lost_request_is_told_of_and_every_witness_is_one(rules, profiles, then, now):
    named = [replace(rule, name=f"r{at}") for at, rule in enumerate(rules)]
    ours = stack(*named, **dict(zip(NAMES, profiles, strict=True)))
    locked, found = dict(zip(NAMES, then, strict=True)), dict(zip(NAMES, now, strict=True))
    policy = compile_policy(ours.policy, ours.providers)
    expected = {
        (policy.rule_for(request).name, bool(after))
        for request in REQUESTS
        if policy.rule_for(request)
        for before, after in [served(policy.rule_for(request), request, locked, found)]
        if set(before) - set(after)
    }
    told = list(effects(ours, locked, found))
    assert {(effect.rule, effect.instead is not None) for effect in told} == expected
    for effect in told:
        rule = policy.rule_for(effect.witness.attributes)
        before, after = served(rule, effect.witness.attributes, locked, found)
        assert rule.name == effect.rule
        assert set(effect.lost) & set(before) - set(after)
        assert effect.instead == next(iter(after), None)
        assert {each.candidate for each in effect.considered if not each.dropped} == set(after)


def served(rule, request, locked, found):
    """The candidates of a rule that serve a request, then and now."""
    return [
        [option.candidate for option in rule.options if serves(option, request, servers, locked, found)]
        for servers in (locked, found)
    ]


def serves(option, request, servers, locked, found):
    server = servers.get(option.profile.id)
    if server is None:
        return not (forbidden(option, request) or unable(option.profile, request))
    window = option.profile.context_window
    if server.answers["auto"] is None:
        return False
    if server.loaded:
        window = server.loaded[0].context_window
    elif servers is locked and window is None and found[option.profile.id].answers["auto"]:
        window = next((each.context_window for each in found[option.profile.id].loaded), None)
    told = replace(option, profile=replace(option.profile, context_window=window))
    return not (forbidden(told, request) or unable(told.profile, request) or too_small(told, request, NOTHING_KNOWN))


def test_a_drift_says_who_fails_and_why():
    ours, lock = stack(*OURS), Lock({"box": box(16384)})
    drift = compare(ours, lock, {"box": box(4096)}, {})
    assert (drift.fails(strict=False), len(drift.effects), drift.same) == (True, 2, ())
    more = compare(ours, lock, {"box": replace(box(16384), models=(*box().models, LockedModel("owl")))}, {})
    assert (more.fails(strict=False), more.fails(strict=True)) == (False, True)
    assert list(more.lines(strict=False)) == [
        "as locked: box",
        "more than was locked, or not told any more:",
        "  box: 'owl' is new",
    ]


def test_what_is_loaded_fails_only_where_a_rule_loses_by_it():
    other = replace(box(16384), models=(LockedModel("tern"), LockedModel("owl")))
    small = replace(other, answers={"auto": "owl"}, loaded=(Instance("owl", "owl", 2048),))
    large = replace(other, answers={"auto": "owl"}, loaded=(Instance("owl", "owl", 65536),))
    lock = Lock({"box": other})
    assert compare(stack(*OURS), lock, {"box": small}, {}).fails(strict=False)
    drift = compare(stack(*OURS), lock, {"box": large}, {})
    assert (drift.fails(strict=True), drift.same) == (False, ("box",))
    lines = list(drift.lines(strict=True))
    assert (lines[0], "loaded otherwise, which is no drift:" in lines) == ("as locked: box", True)
    losing = list(compare(stack(*OURS), lock, {"box": small}, {}).lines(strict=False))
    assert losing[0] == "loaded otherwise, which counts because rules lose requests now:"
    assert not any("no drift" in line for line in losing)


def test_who_answers_now_and_cannot_what_the_profile_promises_is_a_drift():
    two = (LockedModel("tern", tools=True), LockedModel("owl", tools=False))
    then = replace(box(), models=two)
    now = replace(then, answers={"auto": "owl"})
    able = {"locality": Locality.LOOPBACK, "capabilities": Capabilities(tools=True)}
    drift = compare(stack(*OURS, box=able), Lock({"box": then}), {"box": now}, {})
    told = [str(each) for each in drift.differences if each.weight is Weight.DRIFT]
    assert (told, drift.effects, drift.fails(strict=False)) == (
        [
            (
                "box: 'auto' calls tools yes -> no, the server says; "
                "lmroute still sends them there, for the profile says tools: true"
            )
        ],
        (),
        True,
    )
    assert not compare(stack(*OURS), Lock({"box": then}), {"box": now}, {}).fails(strict=True)  # nobody promised it
    assert not compare(stack(*OURS, box=able), Lock({"box": now}), {"box": then}, {}).fails(strict=True)


def test_a_server_that_is_silent_fails_and_is_not_advised_to_be_locked():
    at = "http://127.0.0.1:1234"
    ours = stack(*OURS, box={"locality": Locality.LOOPBACK, "endpoint": at})
    for locked_at, moved in ((at, []), ("http://127.0.0.1:1", [f"  box: endpoint http://127.0.0.1:1 -> {at}"])):
        lock = Lock({"box": replace(box(16384), endpoint=locked_at)})
        drift = compare(ours, lock, {}, {"box": "connection refused"})
        lines = list(drift.lines(strict=False))
        end = 2 + len(moved)
        assert drift.fails(strict=False)
        assert lines[:end] == ["not as locked:", *moved, "  box: does not answer: connection refused"]
        assert not any("lmroute lock" in line for line in lines)


def test_a_server_whose_list_cannot_be_read_fails_and_still_serves():
    drift = compare(stack(*OURS), Lock({"box": box(16384)}), {}, {}, {"box": "HTTP 500"})
    assert (drift.fails(strict=False), drift.effects, drift.same) == (True, (), ())
    assert list(drift.lines(strict=False)) == ["not as locked:", "  box: cannot be compared: HTTP 500"]


def test_what_was_never_locked_fails_and_what_was_not_asked_is_named():
    drift = compare(stack(*OURS), Lock({"old": box()}), {"box": box()}, {})
    assert (drift.fails(strict=False), drift.unlocked, drift.unasked) == (True, ("box",), ("old",))
    assert list(drift.lines(strict=False)) == [
        "box: was never locked: lmroute lock",
        "not looked at, since not selected or out of every rule's reach: old",
    ]
