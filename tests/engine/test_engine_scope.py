"""What callers say: with ``lmroute.task``, and in DSPy's metadata for one request alone."""

import dspy
import pytest
from dspy import lm15
from hypothesis import given
from hypothesis import strategies as st

import lmroute
from lmroute import task
from lmroute.engine.request.attributes import ambient, attributes_of
from lmroute.engine.request.scope import current, of_request
from lmroute.model import (
    LOTS,
    CallerChoice,
    Domain,
    Guarantee,
    Kind,
    Locality,
    Named,
    Operator,
    Order,
    Privacy,
    Rule,
    Selector,
    Test,
    Traits,
)

RISING = [Privacy.PUBLIC, Privacy.INTERNAL, Privacy.PRIVATE]


def with_hints(make, hints, **more):
    return make.ask(extensions={"metadata": {"lmroute": hints, **more}})


def hinted(make, hints):
    return attributes_of(make.ask(), of_request(with_hints(make, hints), current()))


def test_own_attributes_and_the_choice_nest():
    with task(use="a", size=1, labels=["x"]):
        assert ambient().own == {"size": 1, "labels": frozenset("x")}
        with task(use="b/m", size=2):
            assert (ambient().own, ambient().use) == ({"size": 2, "labels": frozenset("x")}, "b/m")
        with task("named"):
            assert (ambient().own, ambient().use) == ({"size": 1, "labels": frozenset("x")}, "a")
    assert ambient().own == {}


@pytest.mark.parametrize("value", [None, {"a": 1}, [1], object()])
def test_what_no_policy_can_declare_is_refused_at_once(value):
    with pytest.raises(TypeError, match="attribute size takes"), task(size=value):
        pytest.fail("the block must not run")


def test_a_request_can_say_it_for_itself(make):
    hints = {
        "task": "inner",
        "privacy": "private",
        "tags": ["b"],
        "use": "x/y",
        "attributes": {"size": 2, "set": ["z"]},
    }
    with task("outer", tags="a", use="w", size=1, kept=True):
        said = hinted(make, hints)
    assert (said.task, said.privacy, said.tags, said.use) == ("inner", Privacy.PRIVATE, {"a", "b"}, "x/y")
    assert said.own == {"size": 2, "kept": True, "set": frozenset("z")}


@given(st.sampled_from([None, *RISING]), st.sampled_from(RISING))
def test_metadata_can_only_make_it_more_private_than_a_task_said(make, outer, inner):
    with task(privacy=outer):
        stated = [level for level in (outer, inner) if level]
        assert hinted(make, {"privacy": inner.value}).privacy is max(stated, key=RISING.index)
        assert hinted(make, {"tags": "a"}).privacy is (outer or Privacy.INTERNAL)


def test_it_goes_through_dspy_and_never_onto_the_wire(make, server, mode):
    server.answers(server.http(server.chat("[[ ## answer ## ]]\nyes\n\n[[ ## completed ## ]]")))
    lm = lmroute.build(make.stack(server.profile(id="a")), sink=(sink := make.sink()), cache=False)
    predict = dspy.Predict("question -> answer", metadata={"lmroute": {"privacy": "private", "tags": ["pii"]}})
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        if mode.name == "sync":
            assert predict(question="?").answer == "yes"
        else:
            assert mode.run(predict.acall(question="?")).answer == "yes"
    lm.engine.routing.sink.flush()
    call = sink.lines[-1]
    assert (call["attributes"]["privacy"], call["attributes"]["tags"]) == ("private", ["pii"])
    (received,) = server.received
    assert b"lmroute" not in received.body
    assert b"metadata" not in received.body


@pytest.mark.parametrize(
    ("hints", "told"),
    [
        ({"privcy": "private"}, "'privcy' is nothing it takes; did you mean 'privacy'?"),
        ({"privacy": "secret"}, "privacy is public, internal, private; not 'secret'"),
        ({"tags": 7}, "strings for its name, use and tags, not 7"),
        ({"attributes": ["size"]}, "attributes are a mapping"),
        ({"attributes": {"size": None}}, "attribute size takes"),
        ({"attributes": 0}, "attributes are a mapping of names to values, not 0"),
        ({"tags": 0}, "strings for its name, use and tags, not 0"),
        ({"tags": None}, "'tags' is None; leave it out"),
        ({"tags": {"pii": True}}, "strings for its name, use and tags, not {'pii': True}"),
        ({"use": 0}, "strings for its name, use and tags, not 0"),
        ({"use": None}, "'use' is None; leave it out"),
        ({"privacy": None}, "'privacy' is None; leave it out"),
        ("private", "it is 'private'"),
        (None, "it is None, and takes a mapping of task"),
    ],
)
def test_hints_that_nobody_understands_refuse_the_call(mode, make, route, hints, told):
    engine, children, sink = route(a="hi")
    with pytest.raises(lm15.InvalidRequestError) as caught:
        mode.complete(engine, with_hints(make, hints))
    assert told in str(caught.value)
    assert "metadata 'lmroute'" in str(caught.value)
    assert not children["a"].asked
    assert [(line["kind"], line["errorCode"]) for line in sink.lines] == [("call", "invalid_request")]


PII = Rule("pii", use=(Named("a"),), when=Test("tags", Operator.CONTAINS, "pii"))
REST = Rule("rest", use=(Selector(),))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"tags": "pil"}, "tag 'pil' is none that policy 'test' knows; did you mean 'pii'?"),
        ({"siez": 3}, "attribute 'siez' is none that policy 'test' declares; did you mean 'size'?"),
        ({"size": "big"}, "attribute 'size' is 'big'; it is a whole number from 0"),
        ({"name": "qaa"}, "task 'qaa' is none that policy 'test' knows; did you mean 'qa'?"),
    ],
)
def test_words_that_the_policy_does_not_know_refuse_the_call(mode, make, route, said, told):
    attributes = {"size": Domain(Kind.INT, 0, low=0), "task": Domain(Kind.TEXT, "", ("qa",))}
    stack = make.stack(make.profile("a"), make.profile("b"), rules=(PII, REST), policy={"attributes": attributes})
    engine, children, sink = route(stack, a="hi", b="hi")
    name = said.pop("name", None) if (said := dict(said)) else None
    with task(name, **said):
        assert not engine.supports_function_calling
        for ask in (mode.complete, mode.stream):
            with pytest.raises(lm15.InvalidRequestError) as caught:
                ask(engine, make.ask())
            assert told in str(caught.value)
    assert not children["a"].asked
    assert not children["b"].asked
    assert sink.lines[-1]["refused"] in str(caught.value)


def test_own_attributes_decide(mode, make, route):
    big = Rule("big", use=(Named("b"),), when=Test("size", Operator.GT, 5))
    attributes = {"size": Domain(Kind.INT, 0, low=0)}
    stack = make.stack(make.profile("a"), make.profile("b"), rules=(big, REST), policy={"attributes": attributes})
    engine, _, sink = route(stack, a="from a", b="from b")
    assert mode.complete(engine, make.ask()).text == "from a"
    with task(size=6):
        assert mode.complete(engine, make.ask()).text == "from b"
        assert mode.complete(engine, with_hints(make, {"attributes": {"size": 5}})).text == "from a"
    assert [line["attributes"].get("own") for line in sink.lines if line["kind"] == "call"] == [
        None,
        {"size": 6},
        {"size": 5},
    ]


class TestCallerChoice:
    @pytest.fixture
    def choosing(self, make, route):
        """An engine that lets callers choose b, and keeps private work off the cloud."""
        only = Guarantee("no-leak", Test("privacy", Operator.EQ, "private"), never=Traits(locality={Locality.CLOUD}))
        choice = CallerChoice((Named("b"), Named("cloud")))
        profiles = [*map(make.profile, "abc"), make.profile("cloud", locality=Locality.CLOUD)]
        stack = make.stack(*profiles, policy={"guarantees": (only,), "caller_choice": choice})
        return route(stack, **{name: f"from {name}" for name in ("a", "b", "c", "cloud")})

    def test_what_the_policy_allows_is_asked(self, mode, make, choosing):
        engine, _, sink = choosing
        with task(use="b"):
            assert mode.complete(engine, make.ask()).text == "from b"
        assert mode.complete(engine, with_hints(make, {"use": "cloud/m"})).text == "from cloud"
        assert [line["attributes"].get("use") for line in sink.lines if line["kind"] == "call"] == ["b", "cloud/m"]

    @pytest.mark.parametrize("use", ["c", "nobody", "b/other"])
    def test_what_it_does_not_allow_is_refused(self, mode, make, choosing, use):
        engine, children, sink = choosing
        with task(use=use), pytest.raises(lm15.ConfigurationError, match=f"the caller chose '{use}'"):
            mode.complete(engine, make.ask())
        assert not any(child.asked for child in children.values())
        assert sink.lines[-1]["errorCode"] == "no_candidate"

    def test_a_guarantee_cannot_be_got_round(self, mode, make, choosing):
        engine, children, sink = choosing
        with (
            task(use="cloud", privacy="private"),
            pytest.raises(lm15.InvalidRequestError, match="'no-leak' forbids it"),
        ):
            mode.complete(engine, make.ask())
        with task(privacy="private"), pytest.raises(lm15.InvalidRequestError, match="'no-leak' forbids it"):
            mode.complete(engine, with_hints(make, {"use": "cloud", "privacy": "public"}))
        assert not any(child.asked for child in children.values())
        assert {line["errorCode"] for line in sink.lines} == {"guarantee"}


def test_the_same_prompt_draws_the_same_lot_in_every_process(make):
    """Fixed numbers: a reinstall, another machine or another process must not move requests."""
    asked = make.ask("Which one?", system="Be brief.")
    assert attributes_of(asked, draw=True).lot == 7423
    assert attributes_of(asked).lot == 0
    call = lm15.ToolCallPart(id="made up", name="search", input={"query": "x"})
    again = lm15.ToolCallPart(id="another", name="search", input={"query": "x"})
    lots = {
        attributes_of(lm15.Request(model="m", messages=(lm15.Message.assistant((part,)),)), draw=True).lot
        for part in (call, again)
    }
    assert len(lots) == 1


def test_lots_are_spread_evenly(make):
    lots = [attributes_of(make.ask(f"question {n}"), draw=True).lot for n in range(2000)]
    assert all(0 <= lot < LOTS for lot in lots)
    quarters = [sum(lot * 4 // LOTS == quarter for lot in lots) for quarter in range(4)]
    assert min(quarters) > 400


def test_weighted_orders_share_out_by_lot_and_repeat_themselves(mode, make, route):
    shared = Rule("shared", use=(Selector(order=Order.WEIGHTED, weights=(("a", 3.0), ("b", 1.0))),))
    stack = make.stack(make.profile("a"), make.profile("b"), rules=(shared,))
    engine, _, sink = route(stack, a="from a", b="from b")

    def answers():
        return [mode.complete(engine, make.ask(f"question {n}")).text for n in range(40)]

    first = answers()
    assert {"from a", "from b"} == set(first)
    assert answers() == first
    assert len({line["attributes"]["lot"] for line in sink.lines if line["kind"] == "call"}) > 30
