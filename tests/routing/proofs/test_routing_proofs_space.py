"""Predicates as boxes: they hold just the requests that satisfy them. Patterns are told of as far as they are known."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmroute.model import (
    ALWAYS,
    BUILT_IN,
    AllOf,
    AnyOf,
    Attributes,
    Domain,
    Kind,
    Named,
    Not,
    Operator,
    Policy,
    Profile,
    Rule,
    Test,
)
from lmroute.routing.conditions import compile_predicate
from lmroute.routing.proofs.boxes import bits
from lmroute.routing.proofs.findings import Flaw, Witness
from lmroute.routing.proofs.space import MOST_BOXES, Space, TooComplex
from lmroute.routing.proofs.verify import verify

SOME = settings(max_examples=60)
WORDS, MEMBERS = ("", "qa", "sum"), ("a", "b", "c")
DOMAINS = {
    "level": Domain(Kind.ENUM, "mid", ("lo", "mid", "hi")),
    "depth": Domain(Kind.INT, 2, low=-1, high=5),
    "share": Domain(Kind.FLOAT, 0.5),
    "flag": Domain(Kind.BOOL, True),
    "parts": Domain(Kind.SET, frozenset("a"), MEMBERS),
    "tags": replace(BUILT_IN["tags"], values=("x", "y")),
}
VALUES = {
    "task": st.sampled_from((*WORDS, "something else")),
    "privacy": st.sampled_from(("public", "internal", "private")),
    "tags": st.frozensets(st.sampled_from(("x", "y"))),
    "needs_tools": st.booleans(),
    "prompt_tokens": st.integers(0, 7),
    "max_output_tokens": st.integers(0, 7),
}
OWN = {
    "level": st.sampled_from(("lo", "mid", "hi")),
    "depth": st.integers(-1, 5),
    "share": st.sampled_from((-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0)),
    "flag": st.booleans(),
    "parts": st.frozensets(st.sampled_from(MEMBERS)),
}
EQUAL, AMONG = (Operator.EQ, Operator.NE), (Operator.IN, Operator.NOT_IN)
COMPARED = (*EQUAL, Operator.GT, Operator.GTE, Operator.LT, Operator.LTE)


def drawn_tests(name, operators, operands):
    return st.builds(Test, st.just(name), st.sampled_from(operators), operands)


def some(values):
    return st.lists(values, min_size=1, max_size=2).map(tuple)


def of_words(name, words):
    return drawn_tests(name, EQUAL, st.sampled_from(words)) | drawn_tests(name, AMONG, some(st.sampled_from(words)))


def of_numbers(name, numbers):
    pairs = st.tuples(numbers, numbers)
    return drawn_tests(name, COMPARED, numbers) | drawn_tests(name, (*AMONG, Operator.BETWEEN), pairs)


def of_members(name, members):
    several = (Operator.CONTAINS_ANY, Operator.CONTAINS_ALL)
    one = drawn_tests(name, (Operator.CONTAINS,), st.sampled_from(members))
    return one | drawn_tests(name, several, some(st.sampled_from(members)))


TESTS = st.one_of(
    of_words("task", WORDS),
    of_words("privacy", ("public", "internal", "private")),
    of_words("level", ("lo", "mid", "hi")),
    of_numbers("prompt_tokens", st.integers(0, 6)),
    of_numbers("total_tokens", st.integers(0, 9)),
    of_numbers("depth", st.integers(-2, 6)),
    of_numbers("share", st.sampled_from((0.0, 0.5, 1.0))),
    of_members("tags", ("x", "y")),
    of_members("parts", MEMBERS),
    drawn_tests("needs.tools", EQUAL, st.booleans()),
    drawn_tests("flag", EQUAL, st.booleans()),
    st.builds(
        Test,
        st.sampled_from(("task", "tags", "total_tokens", *OWN)),
        st.just(Operator.EXISTS),
        st.booleans(),
    ),
)
PREDICATES = st.recursive(
    TESTS,
    lambda parts: st.one_of(
        st.lists(parts, max_size=3).map(tuple).map(AllOf),
        st.lists(parts, max_size=3).map(tuple).map(AnyOf),
        parts.map(Not),
    ),
    max_leaves=6,
)
REQUESTS = st.builds(
    lambda own, built_in: Attributes(**built_in, own=own),
    st.fixed_dictionaries({}, optional=OWN),
    st.fixed_dictionaries(VALUES),
)


def space_of(*predicates):
    rules = tuple(Rule(f"r{number}", (Named("p"),), when) for number, when in enumerate(predicates))
    return Space.of([Policy("p", rules, attributes=DOMAINS)], [Profile("p", "openai", context_window=4)])


def points(space):
    """Every point, as a box of one class a field."""
    found = [0]
    for span in space.layout.spans:
        found = [point | bit for point in found for bit in bits(span)]
    return [point for point in found if space.layout.inhabited(point)]


@SOME
@given(predicate=PREDICATES)
def test_boxes_hold_just_the_points_whose_requests_satisfy_the_predicate(predicate):
    space = space_of(predicate)
    holds, boxes = compile_predicate(predicate, space.domains), space.boxes(predicate)
    rest = space.boxes(predicate, wanted=False)
    for point in points(space)[:150]:
        inside = any(box & point == point for box in boxes)
        assert inside is holds(space.request(point))
        assert inside is not any(box & point == point for box in rest)


@SOME
@given(predicate=PREDICATES, attributes=REQUESTS)
def test_what_a_point_of_the_same_classes_says_every_request_says(predicate, attributes):
    space = space_of(predicate)
    holds = compile_predicate(predicate, space.domains)
    point = sum(bit for number in range(len(space.axes)) for bit in bits(one_class(space, number, attributes)))
    assert space.layout.inhabited(point)
    assert holds(space.request(point)) is holds(attributes)


def one_class(space, number, attributes):
    """The bit of the class that a request is in, by what its attribute is."""
    axis = space.axes[number]
    value = getattr(attributes, axis.attribute, attributes.own.get(axis.attribute, axis.domain.default))
    if axis.member is not None:
        others = {other.member for other in space.axes if other.attribute == axis.attribute}
        at = int(axis.member in value if axis.member else not value <= others)
    elif axis.domain.kind in {Kind.INT, Kind.FLOAT}:
        (at,) = [
            at
            for at, class_ in enumerate(axis.classes)
            if (class_.low is None or class_.low <= value) and (class_.high is None or value <= class_.high)
        ]
    else:
        words = [class_.value for class_ in axis.classes]
        at = words.index(value) if value in words else len(words) - 1
    return 1 << (space.layout.offsets[number] + at)


PATTERNS = ("rag.*", "rag\\.gen", ".+", "[a-c]+", "q(a|b)?", "\\d{2}", "(?=x)y")


@SOME
@given(
    st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3),
    st.lists(st.sampled_from(("", "rag.gen", "qa")), max_size=2),
)
def test_a_found_example_matches_what_its_class_says_and_an_assumed_one_says_so(patterns, words):
    tests = [Test("predictor", Operator.MATCHES, pattern) for pattern in patterns]
    tests += [Test("predictor", Operator.EQ, word) for word in words]
    space = space_of(AnyOf(tuple(tests)))
    for point in points(space):
        witness = Witness.of(space, point)
        inside = {test: any(box & point == point for box in space.boxes(test)) for test in tests}
        if not witness.assumes:
            for test in tests:
                assert inside[test] is compile_predicate(test)(witness.attributes)
            continue
        for test in tests:
            if test.operator is Operator.EQ:
                assert not inside[test]
            else:
                does = "matches" if inside[test] else "does not match"
                assert f"predictor {does} '{test.operand}'" in witness.assumes


def test_every_combination_of_patterns_has_a_class():
    space = space_of(*(Test("predictor", Operator.MATCHES, pattern) for pattern in PATTERNS[:4]))
    (axis,) = [axis for axis in space.axes if axis.attribute == "predictor"]
    shown = {tuple(re.fullmatch(p, c.value) is not None for p in PATTERNS[:4]) for c in axis.classes if c.value}
    assumed = {
        tuple(does for _, does in sorted(c.matches, key=lambda m: PATTERNS.index(m[0])))
        for c in axis.classes
        if c.matches
    }
    assert len(shown | assumed) == 2**4
    assert not shown & assumed


def choices(number):
    pairs = (
        (Test("tags", Operator.CONTAINS, f"a{at}"), Test("tags", Operator.CONTAINS, f"b{at}")) for at in range(number)
    )
    return AllOf(tuple(map(AnyOf, pairs)))


@pytest.mark.parametrize("when", [choices(20), Not(AnyOf(tuple(map(Not, choices(20).parts))))])
def test_choices_that_multiply_without_end_are_given_up_soon(when):
    policy = Policy(
        "p", (Rule("rest", (Named("p"),), Test("stream", Operator.EQ, True)), Rule("many", (Named("p"),), when))
    )
    with pytest.raises(TooComplex):
        Space.of([policy], []).boxes(when)
    verdict = verify(policy, {"p": Profile("p", "openai")})
    (finding,) = verdict.findings
    assert (finding.flaw, finding.key, finding.name) == (Flaw.TOO_COMPLEX, ("rules", "1", "when"), "many")
    assert f"more than {MOST_BOXES} cases" in finding.message
    assert not verdict.proved


def test_choices_that_people_write_are_not():
    policy = Policy("p", (Rule("many", (Named("p"),), choices(6)), Rule("rest", (Named("p"),), ALWAYS)))
    assert Flaw.TOO_COMPLEX not in {finding.flaw for finding in verify(policy, {"p": Profile("p", "openai")}).findings}
