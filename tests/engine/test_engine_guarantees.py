"""Guarantees at run time: kept by every decision, and guarded once more by whoever dials."""

import pytest
from dspy import lm15

from lmroute import task
from lmroute.engine.verdicts import GuaranteeError
from lmroute.model import (
    Candidate,
    Considered,
    Decision,
    Failure,
    Guarantee,
    Locality,
    Named,
    Operator,
    Rule,
    Selector,
    Test,
    Traits,
)

PRIVATE = Test("privacy", Operator.EQ, "private")
NO_CLOUD = Guarantee("stays-here", PRIVATE, never=Traits(locality=frozenset({Locality.CLOUD})))


@pytest.fixture
def leaky(make, route):
    """A policy whose rule sends everything to the cloud first, and whose guarantee keeps private work from it."""

    def build(*guarantees, rules=None, **scripts):
        profiles = make.profile("cloud", locality=Locality.CLOUD), make.profile("local")
        stack = make.stack(*profiles, rules=rules, policy={"guarantees": guarantees or (NO_CLOUD,)})
        return route(stack, **{"cloud": "from the cloud", "local": "from here", **scripts})

    return build


def test_a_decision_keeps_it(mode, make, leaky):
    engine, children, _ = leaky()
    assert mode.complete(engine, make.ask()).text == "from the cloud"
    with task(privacy="private"):
        response = mode.complete(engine, make.ask())
    assert response.text == "from here"
    assert response.provider_data["lmroute"]["dropped"] == {"cloud/m": "guarantee 'stays-here' forbids it"}
    assert len(children["cloud"].asked) == 1


@pytest.mark.parametrize("privacy", ["public", "internal", "private"])
def test_what_a_broken_decision_lets_through_is_stopped_where_it_dials(mode, make, leaky, monkeypatch, privacy):
    def sabotaged(policy, attributes, facts):
        kept = tuple(Considered(o.candidate) for rule in policy.rules for o in rule.options)
        return Decision("sabotaged", kept, frozenset(Failure))  # falls back on everything

    monkeypatch.setattr("lmroute.engine.choice.decide", sabotaged)
    engine, children, sink = leaky()
    for ask in (mode.complete, mode.stream):
        with task(privacy=privacy):
            if privacy == "private":
                message = r"policy test: guarantee 'stays-here' forbids to ask cloud"
                with pytest.raises(GuaranteeError, match=message):
                    ask(engine, make.ask())
            else:
                ask(engine, make.ask())
    assert len(children["cloud"].asked) == (0 if privacy == "private" else 2)
    assert not children["local"].asked
    if privacy == "private":
        assert [(line["kind"], line["errorCode"]) for line in sink.lines] == [
            ("attempt", "guarantee"),
            ("call", "guarantee"),
        ] * 2


def test_a_stop_by_the_guard_says_nothing_of_the_server(mode, make, leaky, monkeypatch):
    cloud = Candidate("cloud", "m")
    decide = Decision("sabotaged", (Considered(cloud),))
    monkeypatch.setattr("lmroute.engine.choice.decide", lambda *_: decide)
    engine, _, _ = leaky()
    for _ in range(10):
        with task(privacy="private"), pytest.raises(GuaranteeError):
            mode.complete(engine, make.ask())
    assert engine.routing.live.admits(cloud, engine.stack.providers["cloud"], 0.0)


def test_when_it_leaves_nobody_the_error_names_it(mode, make, leaky):
    engine, children, sink = leaky(rules=(Rule("cloud-only", use=(Named("cloud"),)),))
    with task(privacy="private"), pytest.raises(GuaranteeError, match=r"rule cloud-only.*guarantee 'stays-here'"):
        mode.complete(engine, make.ask())
    assert not children["cloud"].asked
    assert [(line["kind"], line["errorCode"]) for line in sink.lines] == [("call", "guarantee")]


def test_it_holds_for_fallbacks_too(mode, make, leaky):
    rules = (Rule("first", use=(Named("local"),), fallback="more"), Rule("more", use=(Selector(),), priority=200))
    engine, children, _ = leaky(rules=rules, local=lm15.TransportError("gone"))
    with task(privacy="private"), pytest.raises(lm15.TransportError):
        mode.complete(engine, make.ask())
    assert not children["cloud"].asked


def test_it_is_an_invalid_request_to_those_who_know_no_better():
    assert issubclass(GuaranteeError, lm15.InvalidRequestError)
