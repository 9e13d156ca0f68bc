"""Compiled predicates against an interpreter that takes every word of the model's docstrings literally."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import ALWAYS, AllOf, AnyOf, Attributes, Not, Operator, Privacy, Test
from lmroute.routing.conditions import compile_predicate, field_of


def naive(predicate, attributes):
    if isinstance(predicate, AllOf):
        result = True
        for part in predicate.parts:
            result = naive(part, attributes) and result
        return result
    if isinstance(predicate, AnyOf):
        return [part for part in predicate.parts if naive(part, attributes)] != []
    if isinstance(predicate, Not):
        return naive(predicate.part, attributes) is False
    return naive_test(
        predicate.operator.value, getattr(attributes, predicate.attribute.replace(".", "_")), predicate.operand
    )


def naive_test(operator, value, operand):  # noqa: C901, PLR0911 - one line for each operator, on purpose
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
        return value in range(operand[0], operand[1] + 1)
    if operator == "contains":
        return operand in list(value)
    if operator == "contains_any":
        return bool(set(value) & set(operand))
    if operator == "contains_all":
        return set(value) | set(operand) == set(value)
    assert operator == "exists"
    is_stated = isinstance(value, bool | Privacy) or bool(value)
    return is_stated == operand


@given(data=st.data())
def test_a_compiled_predicate_says_what_the_predicate_says(drawn, data):
    predicate, attributes = data.draw(drawn.predicates), data.draw(drawn.attributes)
    assert compile_predicate(predicate)(attributes) is naive(predicate, attributes)


@given(data=st.data())
def test_negation_and_the_two_lists_are_dual(drawn, data):
    parts = tuple(data.draw(st.lists(drawn.predicates, max_size=3)))
    attributes = data.draw(drawn.attributes)
    neither = compile_predicate(Not(AnyOf(parts)))
    each_not = compile_predicate(AllOf(tuple(map(Not, parts))))
    assert neither(attributes) is each_not(attributes)


def test_nothing_asked_is_always_true_and_no_alternative_never():
    assert compile_predicate(ALWAYS)(Attributes()) is True
    assert compile_predicate(AnyOf(()))(Attributes()) is False


@pytest.mark.parametrize("operator", Operator)
def test_every_operator_compiles(operator):
    operand = {"between": (0, 1), "contains": "x"}.get(operator, ("x",))
    attribute = "tags" if operator.startswith("contains") else "prompt_tokens"
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


def test_an_unknown_task_does_not_exist_and_a_false_flag_does():
    exists = Operator.EXISTS
    assert not compile_predicate(Test("task", exists, True))(Attributes())
    assert compile_predicate(Test("task", exists, False))(Attributes())
    assert compile_predicate(Test("task", exists, True))(Attributes(task="qa"))
    assert compile_predicate(Test("stream", exists, True))(Attributes(stream=False))
    assert compile_predicate(Test("privacy", exists, True))(Attributes())
    assert not compile_predicate(Test("tags", exists, True))(Attributes())


def test_a_privacy_is_compared_with_the_word_of_the_file():
    condition = compile_predicate(Test("privacy", Operator.IN, ("private", "internal")))
    assert condition(Attributes(privacy=Privacy.PRIVATE))
    assert not condition(Attributes(privacy=Privacy.PUBLIC))


def test_dots_in_attribute_names_are_fields():
    assert field_of("needs.tools") == "needs_tools"
    assert field_of("prompt_tokens") == "prompt_tokens"
    assert compile_predicate(Test("needs.tools", Operator.EQ, True))(Attributes(needs_tools=True))


def test_an_attribute_that_requests_do_not_have_is_an_error_not_a_no():
    with pytest.raises(AttributeError):
        compile_predicate(Test("colour", Operator.EQ, "red"))(Attributes())
