"""What callers may state: a word that the policy does not know is told, with the one that was probably meant."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import ALWAYS, AllOf, Attributes, Domain, Guarantee, Kind, Not, Operator, Policy, Rule, Test
from lmroute.routing.vocabulary import Vocabulary

DECLARED = {
    "region": Domain(Kind.ENUM, "eu", ("eu", "us")),
    "size": Domain(Kind.INT, 0, low=0, high=10),
    "risk": Domain(Kind.FLOAT, 0.0, low=0.0, high=1.0),
    "urgent": Domain(Kind.BOOL, False),
    "labels": Domain(Kind.SET, frozenset(), ("x", "y")),
    "anything": Domain(Kind.SET, frozenset()),
}


def policy(when=ALWAYS, *, guarantee=None, **attributes):
    guarantees = (Guarantee("g", guarantee),) if guarantee else ()
    return Policy("p", (Rule("r", (), when),), attributes=attributes, guarantees=guarantees)


def problem(made, **said):
    return Vocabulary.of(made).problem(Attributes(**{"tags": frozenset(said.pop("tags", ())), **said}))


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"region": "eu"}, ""),
        ({"region": "eu ", "size": 1}, "attribute 'region' is 'eu '; did you mean 'eu'? Known: eu, us"),
        ({"region": 3}, "attribute 'region' is 3; it is a word"),
        ({"size": 10}, ""),
        ({"size": 11}, "attribute 'size' is 11; it is a whole number from 0 up to 10"),
        ({"size": 1.0}, "attribute 'size' is 1.0; it is a whole number from 0 up to 10"),
        ({"size": True}, "attribute 'size' is True; it is a whole number from 0 up to 10"),
        ({"size": 10**400}, "attribute 'size' is a number too large to reckon with; it is a whole number from 0 up to"),
        ({"risk": -(10**5000)}, "attribute 'risk' is a number too large to reckon with; it is a number from 0 up to 1"),
        ({"risk": 1}, ""),
        ({"risk": float("nan")}, "attribute 'risk' is nan; it is a number from 0 up to 1"),
        ({"urgent": True}, ""),
        ({"urgent": "yes"}, "attribute 'urgent' is 'yes'; it is true or false"),
        ({"urgent": 1}, "attribute 'urgent' is 1; it is true or false"),
        ({"labels": frozenset("x")}, ""),
        ({"labels": "x"}, "attribute 'labels' is 'x'; it is a set of words"),
        ({"anything": frozenset({"at", "all"})}, ""),
        (
            {"regoin": "eu"},
            "attribute 'regoin' is none that policy 'p' declares; did you mean 'region'? Known: anything",
        ),
        ({"needs_tools": True}, "attribute 'needs.tools' is built in, so it is not stated as one of the policy's own"),
    ],
)
def test_own_attributes(own, told):
    found = problem(policy(**DECLARED), own=own)
    assert found == told or (told and found.startswith(told))


def test_a_member_that_a_set_does_not_know():
    found = problem(policy(**DECLARED), own={"labels": frozenset({"x", "z"})})
    assert found.endswith("and 'z' is none of its words. Known: x, y")


def test_a_set_is_shown_in_order():
    found = problem(policy(**DECLARED), own={"labels": frozenset({"z", "x", "y"})})
    assert found.startswith("attribute 'labels' is [x, y, z], and 'z' is none")
    assert problem(policy(**DECLARED), own={"region": frozenset("b")}).startswith("attribute 'region' is [b]; ")


@pytest.mark.parametrize("name", ["task", "module", "signature", "predictor"])
def test_a_text_that_is_too_long_for_patterns_is_refused(name):
    assert problem(policy(), **{name: "a" * 1000}) == ""
    assert problem(policy(), **{name: "a" * 1001}) == f"{name} has 1001 characters; it may have up to 1000"


def test_all_that_is_wrong_is_told_at_once():
    found = problem(policy(**DECLARED), own={"size": -1, "region": "cn"})
    assert "'size' is -1" in found
    assert "'region' is 'cn'" in found


def test_a_policy_without_attributes_says_that_it_knows_none():
    assert problem(policy(), own={"x": 1}) == "attribute 'x' is none that policy 'p' declares. It knows none."


PII = Test("tags", Operator.CONTAINS, "pii")
OTHERS = Test("tags", Operator.CONTAINS_ANY, ("bulk", "night"))


def test_tags_are_those_that_predicates_mention_wherever_they_stand():
    made = policy(AllOf((Not(PII), Test("stream", Operator.EQ, True))), guarantee=OTHERS)
    assert problem(made, tags=["pii", "night", "bulk"]) == ""
    assert problem(made, tags=["pil"]) == (
        "tag 'pil' is none that policy 'p' knows; did you mean 'pii'? Known: bulk, night, pii"
    )


def test_a_policy_that_reads_no_tags_takes_any():
    assert problem(policy(), tags=["whatever"]) == ""
    assert problem(policy(Test("tags", Operator.EXISTS, True)), tags=["whatever"]) == ""


def test_declared_words_beat_mentioned_ones():
    made = policy(PII, tags=Domain(Kind.SET, frozenset(), ("pii", "more")), task=Domain(Kind.TEXT, "", ("qa", "sum")))
    assert problem(made, tags=["more"], task="qa") == ""
    assert problem(made, tags=["bulk"]).startswith("tag 'bulk' is none")
    assert problem(made, task="summ").startswith("task 'summ' is none that policy 'p' knows; did you mean 'sum'?")
    assert problem(made) == ""


def test_tasks_are_free_unless_they_are_declared():
    assert problem(policy(Test("task", Operator.EQ, "qa")), task="another") == ""


VALUES = st.one_of(
    st.sampled_from(["eu", "us", "x", "y", ""]),
    st.integers(-2, 12),
    st.floats(),
    st.booleans(),
    st.frozensets(st.sampled_from("xyz")),
    st.lists(st.text(max_size=2), max_size=2),
)


def test_equal_values_of_other_types_are_not_mixed_up():
    vocabulary = Vocabulary.of(policy(**DECLARED))
    assert [bool(vocabulary.problem(Attributes(own={"size": size}))) for size in (1, True, 1.0, 1)] == [0, 1, 1, 0]


@given(st.dictionaries(st.sampled_from([*DECLARED, "other"]), VALUES, max_size=3), st.randoms())
def test_remembering_changes_no_answer(own, random):
    vocabulary, fresh = Vocabulary.of(policy(**DECLARED)), Vocabulary.of(policy(**DECLARED))
    said = Attributes(own=own)
    for again in (said, replace(said, own=dict(random.sample([*own.items()], len(own)))), said):
        assert vocabulary.problem(again) == fresh._find(again)
