"""Compiled predicates against an interpreter that takes every word of the model's docstrings literally."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import ALWAYS, AllOf, AnyOf, Attributes, Not, Operator, Privacy, Test
from lmroute.routing.conditions import compare, compile_predicate, field_of, reader
from lmroute.routing.conditions import tests_of as comparisons_of


def naive(predicate, attributes, domains):
    if isinstance(predicate, AllOf):
        result = True
        for part in predicate.parts:
            result = naive(part, attributes, domains) and result
        return result
    if isinstance(predicate, AnyOf):
        return [part for part in predicate.parts if naive(part, attributes, domains)] != []
    if isinstance(predicate, Not):
        return naive(predicate.part, attributes, domains) is False
    name = predicate.attribute.replace(".", "_")
    default = domains[name].default
    value = getattr(attributes, name) if hasattr(attributes, name) else attributes.own.get(name, default)
    return naive_test(predicate.operator.value, value, predicate.operand, default)


def naive_test(operator, value, operand, default):  # noqa: C901, PLR0911, PLR0912 - one line for each operator, on purpose
    if operator == "eq":
        return value == operand
    if operator == "ne":
        return not value == operand  # noqa: SIM201
    if operator == "in":
        return any(value == option for option in operand)
    if operator == "not_in":
        return all(value != option for option in operand)
    if operator == "gt":
        return value > operand
    if operator == "gte":
        return not value < operand
    if operator == "lt":
        return value < operand
    if operator == "lte":
        return not value > operand
    if operator == "between":
        return sorted([operand[0], value, operand[1]])[1] == value and operand[0] <= operand[1]
    if operator == "contains":
        return operand in list(value)
    if operator == "contains_any":
        return bool(set(value) & set(operand))
    if operator == "contains_all":
        return set(value) | set(operand) == set(value)
    if operator == "matches":
        return re.match(rf"(?:{operand})\Z", value) is not None
    assert operator == "exists"
    return (value == default) != operand


@given(data=st.data())
def test_a_compiled_predicate_says_what_the_predicate_says(drawn, data):
    predicate, attributes = data.draw(drawn.predicates), data.draw(drawn.attributes)
    assert compile_predicate(predicate, drawn.domains)(attributes) is naive(predicate, attributes, drawn.domains)


@given(data=st.data())
def test_a_test_of_a_value_says_what_it_says_of_a_request_that_has_it(drawn, data):
    attributes = data.draw(drawn.attributes)
    for test in comparisons_of(data.draw(drawn.predicates)):
        domain = drawn.domains[field_of(test.attribute)]
        value = reader(field_of(test.attribute), domain)(attributes)
        assert compare(test, value, domain) is compile_predicate(test, drawn.domains)(attributes)


@given(data=st.data())
def test_negation_and_the_two_lists_are_dual(drawn, data):
    parts = tuple(data.draw(st.lists(drawn.predicates, max_size=3)))
    attributes = data.draw(drawn.attributes)
    neither = compile_predicate(Not(AnyOf(parts)), drawn.domains)
    each_not = compile_predicate(AllOf(tuple(map(Not, parts))), drawn.domains)
    assert neither(attributes) is each_not(attributes)


def test_nothing_asked_is_always_true_and_no_alternative_never():
    assert compile_predicate(ALWAYS)(Attributes()) is True
    assert compile_predicate(AnyOf(()))(Attributes()) is False


@pytest.mark.parametrize("operator", Operator)
def test_every_operator_compiles(operator):
    operand = {"between": (0, 1), "contains": "x", "matches": "x"}.get(operator, ("x",))
    attribute = "tags" if operator.startswith("contains") else "task" if operator == "matches" else "prompt_tokens"
    operand = 1 if operator in {"eq", "ne", "gt", "gte", "lt", "lte"} else operand
    assert compile_predicate(Test(attribute, operator, operand))(Attributes()) in {True, False}


@pytest.mark.parametrize(("bounds", "holds"), [((3, 5), True), ((5, 9), True), ((0, 5), True), ((6, 4), False)])
def test_between_includes_both_ends(bounds, holds):
    assert compile_predicate(Test("prompt_tokens", Operator.BETWEEN, bounds))(Attributes(prompt_tokens=5)) is holds


@pytest.mark.parametrize(
    ("operator", "below", "equal", "above"),
    [
        (Operator.EQ, False, True, False),
        (Operator.NE, True, False, True),
        (Operator.GT, False, False, True),
        (Operator.GTE, False, True, True),
        (Operator.LT, True, False, False),
        (Operator.LTE, True, True, False),
    ],
)
def test_numbers_around_a_bound(operator, below, equal, above):
    condition = compile_predicate(Test("prompt_tokens", operator, 5))
    assert [condition(Attributes(prompt_tokens=tokens)) for tokens in (4, 5, 6)] == [below, equal, above]


@pytest.mark.parametrize(
    ("attribute", "stated"),
    [
        ("task", {"task": "qa"}),
        ("tags", {"tags": frozenset({"fast"})}),
        ("prompt_tokens", {"prompt_tokens": 1}),
        ("total_tokens", {"max_output_tokens": 1}),
        ("tier", {"own": {"tier": "free"}}),
        ("score", {"own": {"score": 0.0}}),
        ("rank", {"own": {"rank": 0}}),
        ("audited", {"own": {"audited": False}}),
        ("regions", {"own": {"regions": frozenset()}}),
        ("regions", {"own": {"regions": frozenset({"us"})}}),
    ],
)
def test_an_attribute_exists_when_it_differs_from_its_default(drawn, attribute, stated):
    there = compile_predicate(Test(attribute, Operator.EXISTS, True), drawn.domains)
    missing = compile_predicate(Test(attribute, Operator.EXISTS, False), drawn.domains)
    for request in (Attributes(), Attributes(own={name: domain.default for name, domain in drawn.own.items()})):
        assert (there(request), missing(request)) == (False, True)
    assert (there(Attributes(**stated)), missing(Attributes(**stated))) == (True, False)


@pytest.mark.parametrize(
    ("pattern", "holds"), [("rag.*", True), ("rag", False), ("generate", False), (r"\w+\.\w+", True)]
)
def test_a_pattern_matches_a_text_as_a_whole(pattern, holds):
    test = Test("predictor", Operator.MATCHES, pattern)
    assert compile_predicate(test)(Attributes(predictor="rag.generate")) is holds
    assert not compile_predicate(test)(Attributes(predictor="rag.generate\n"))


def test_an_own_attribute_that_is_not_stated_has_its_default(drawn):
    for name, domain in drawn.own.items():
        assert reader(name, domain)(Attributes()) == domain.default
    assert compile_predicate(Test("rank", Operator.GTE, 1), drawn.domains)(Attributes())
    assert not compile_predicate(Test("rank", Operator.GTE, 1), drawn.domains)(Attributes(own={"rank": 0}))


def test_tokens_in_total_are_those_of_prompt_and_answer():
    condition = compile_predicate(Test("total_tokens", Operator.EQ, 7))
    assert condition(Attributes(prompt_tokens=3, max_output_tokens=4))
    assert not condition(Attributes(prompt_tokens=7, max_output_tokens=1))


def test_a_privacy_is_compared_with_the_word_of_the_file():
    condition = compile_predicate(Test("privacy", Operator.IN, ("private", "internal")))
    assert condition(Attributes(privacy=Privacy.PRIVATE))
    assert not condition(Attributes(privacy=Privacy.PUBLIC))


def test_dots_in_attribute_names_are_fields():
    assert field_of("needs.tools") == "needs_tools"
    assert field_of("prompt_tokens") == "prompt_tokens"
    assert compile_predicate(Test("needs.tools", Operator.EQ, True))(Attributes(needs_tools=True))


def test_an_attribute_that_requests_do_not_have_is_an_error_not_a_no():
    for predicate in (test := Test("colour", Operator.EQ, "red"), Not(AnyOf((ALWAYS, test)))):
        with pytest.raises(AttributeError, match="requests have no attribute 'colour'"):
            compile_predicate(predicate)
