"""Profiles, requests and policies to draw from."""

from types import SimpleNamespace

import pytest
from hypothesis import strategies as st

from lmroute.model import (
    AllOf,
    AnyOf,
    Attributes,
    Capabilities,
    Cost,
    Failure,
    Locality,
    Named,
    Not,
    Operator,
    Order,
    Policy,
    Privacy,
    Profile,
    Rule,
    Selector,
    Test,
)

WORDS = st.sampled_from(["", "qa", "sentiment", "Predict"])
TAGS = st.sampled_from(["nightly", "fast", "eu"])
COUNTS = st.integers(0, 40)
TEXT_FIELDS = ("task", "module", "signature")
COUNT_FIELDS = ("prompt_tokens", "max_output_tokens")
FLAG_FIELDS = ("needs_tools", "needs.response_schema", "needs.vision", "needs_reasoning", "stream")
EQUALITY = (Operator.EQ, Operator.NE)
MEMBERSHIP = (Operator.IN, Operator.NOT_IN)

BY_FIELD = {
    "task": WORDS,
    "module": WORDS,
    "signature": WORDS,
    "tags": st.frozensets(TAGS),
    "privacy": st.sampled_from(Privacy),
    "needs_tools": st.booleans(),
    "needs_response_schema": st.booleans(),
    "needs_vision": st.booleans(),
    "needs_reasoning": st.booleans(),
    "prompt_tokens": COUNTS,
    "max_output_tokens": COUNTS,
    "stream": st.booleans(),
}
attributes = st.builds(Attributes, **BY_FIELD)


def _tests(fields, operators, operands):
    return st.builds(Test, st.sampled_from(fields), st.sampled_from(operators), operands)


def _few(values):
    return st.lists(values, min_size=1, max_size=3).map(tuple)


# The operators and operands that the schema allows for each kind of attribute; privacies are plain strings there.
PRIVACIES = st.sampled_from(Privacy).map(str)
tests = st.one_of(
    _tests(TEXT_FIELDS, EQUALITY, WORDS),
    _tests(TEXT_FIELDS, MEMBERSHIP, _few(WORDS)),
    _tests(["privacy"], EQUALITY, PRIVACIES),
    _tests(["privacy"], MEMBERSHIP, _few(PRIVACIES)),
    _tests(FLAG_FIELDS, EQUALITY, st.booleans()),
    _tests(COUNT_FIELDS, (*EQUALITY, Operator.GT, Operator.GTE, Operator.LT, Operator.LTE), COUNTS),
    _tests(COUNT_FIELDS, MEMBERSHIP, _few(COUNTS)),
    _tests(COUNT_FIELDS, [Operator.BETWEEN], st.tuples(COUNTS, COUNTS)),
    _tests(["tags"], [Operator.CONTAINS], TAGS),
    _tests(["tags"], [Operator.CONTAINS_ANY, Operator.CONTAINS_ALL], _few(TAGS)),
    _tests((*TEXT_FIELDS, *COUNT_FIELDS, *FLAG_FIELDS, "tags", "privacy"), [Operator.EXISTS], st.booleans()),
)
predicates = st.recursive(
    tests,
    lambda parts: st.one_of(
        st.lists(parts, max_size=3).map(tuple).map(AllOf),
        st.lists(parts, max_size=3).map(tuple).map(AnyOf),
        parts.map(Not),
    ),
    max_leaves=5,
)

IDS = ("alder", "birch", "cedar", "dogwood")
MODELS = st.sampled_from(["auto", "m1", "m2"])


profiles = st.builds(
    Profile,
    id=st.sampled_from(IDS),
    type=st.sampled_from(["lmstudio", "ollama", "openai"]),
    models=_few(MODELS),
    enabled=st.booleans(),
    locality=st.sampled_from(Locality),
    tags=st.frozensets(TAGS),
    cost=st.none() | st.builds(Cost, st.sampled_from([0.0, 1.0, 2.5]), st.sampled_from([0.0, 1.0, 2.5])),
    capabilities=st.builds(Capabilities, tools=st.booleans(), vision=st.booleans(), reasoning=st.booleans()),
    context_window=st.none() | COUNTS,
)
providers = st.lists(profiles, min_size=1, max_size=4, unique_by=lambda profile: profile.id).map(
    lambda found: {profile.id: profile for profile in found}
)
selectors = st.builds(
    Selector,
    locality=st.frozensets(st.sampled_from(Locality), max_size=2),
    types=st.frozensets(st.sampled_from(["lmstudio", "ollama"])),
    tags=st.frozensets(TAGS),
    order=st.sampled_from(Order),
)
uses = _few(st.one_of(st.builds(Named, st.sampled_from(IDS), st.none() | MODELS), selectors))
rules = st.builds(
    Rule,
    name=st.sampled_from("abcdef"),
    use=uses,
    when=predicates,
    priority=st.integers(0, 3),
    fallback_on=st.none() | st.frozensets(st.sampled_from(Failure)),
)
policies = st.builds(Policy, name=st.just("drawn"), rules=st.lists(rules, max_size=4).map(tuple))


@pytest.fixture(scope="session")
def drawn():
    """The strategies, by name."""
    return SimpleNamespace(
        by_field=BY_FIELD,
        attributes=attributes,
        predicates=predicates,
        providers=providers,
        selectors=selectors,
        uses=uses,
        policies=policies,
    )
