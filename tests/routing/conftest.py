"""Profiles, requests, policies and facts to draw from."""

import math
from types import SimpleNamespace

import pytest
from hypothesis import strategies as st

from lmroute.model import (
    BUILT_IN,
    LOTS,
    AllOf,
    AnyOf,
    Attributes,
    Budget,
    CallerChoice,
    Candidate,
    Capabilities,
    Cost,
    Domain,
    Facts,
    Failure,
    Guarantee,
    Kind,
    Locality,
    Named,
    Not,
    Operator,
    Order,
    Period,
    Policy,
    Privacy,
    Profile,
    Rule,
    Selector,
    Test,
    Traits,
)

# One attribute of each kind that a policy can declare; no default is the one that an undeclared one would have.
OWN = {
    "tier": Domain(Kind.ENUM, "pro", ("free", "pro", "team")),
    "score": Domain(Kind.FLOAT, 0.5, low=0.0, high=1.0),
    "rank": Domain(Kind.INT, 1, low=-2, high=6),
    "audited": Domain(Kind.BOOL, True),
    "regions": Domain(Kind.SET, frozenset({"eu"}), ("eu", "us", "asia")),
}
DOMAINS = {**BUILT_IN, **OWN}

WORDS = st.sampled_from(["", "qa", "sentiment", "Predict"])
PATTERNS = st.sampled_from(["", "q.*", "[A-Z].*", "sent|qa", ".*t"])
TAGS = st.sampled_from(["nightly", "fast", "eu"])
REGIONS = st.sampled_from(OWN["regions"].values)
TIERS = st.sampled_from(OWN["tier"].values)
COUNTS = st.integers(0, 40)
RANKS = st.integers(-2, 6)
CORNERS = (0.0, 0.25, 0.5, 0.75, 1.0)
SCORES = st.sampled_from(CORNERS)
TEXT_FIELDS = ("task", "module", "signature", "predictor")
COUNT_FIELDS = ("prompt_tokens", "max_output_tokens", "total_tokens")
FLAG_FIELDS = ("needs_tools", "needs.response_schema", "needs.vision", "needs_reasoning", "stream", "audited")
EQUALITY = (Operator.EQ, Operator.NE)
COMPARING = (*EQUALITY, Operator.GT, Operator.GTE, Operator.LT, Operator.LTE)
MEMBERSHIP = (Operator.IN, Operator.NOT_IN)

IDS = ("alder", "birch", "cedar", "dogwood")
MODELS = st.sampled_from(["auto", "m1", "m2"])
CANDIDATES = st.builds(Candidate, st.sampled_from(IDS), MODELS)
RULES = "abcdef"
BUDGETS = ("small", "large")

# Scores lie at the constants that policies compare them with, next to them, and anywhere.
close_scores = st.builds(lambda corner, to: min(1.0, math.nextafter(corner, to)), SCORES, st.sampled_from([0.0, 2.0]))
OWN_VALUES = {
    "tier": TIERS,
    "score": SCORES | close_scores | st.floats(0, 1),
    "rank": RANKS,
    "audited": st.booleans(),
    "regions": st.frozensets(REGIONS),
}
BY_FIELD = {
    "task": WORDS,
    "module": WORDS,
    "signature": WORDS,
    "predictor": WORDS,
    "tags": st.frozensets(TAGS),
    "privacy": st.sampled_from(Privacy),
    "needs_tools": st.booleans(),
    "needs_response_schema": st.booleans(),
    "needs_vision": st.booleans(),
    "needs_reasoning": st.booleans(),
    "prompt_tokens": COUNTS,
    "max_output_tokens": COUNTS,
    "stream": st.booleans(),
    "own": st.fixed_dictionaries({}, optional=OWN_VALUES),
    "use": st.just(""),
    "lot": st.integers(0, LOTS - 1),
}
CHOICES = st.sampled_from(["alder", "birch", "cedar/m1", "dogwood/auto", "alder/m9", "elm", "elm/m1"])
attributes = st.builds(Attributes, **BY_FIELD)
choosing = st.builds(Attributes, **{**BY_FIELD, "use": CHOICES})


def _tests(fields, operators, operands):
    return st.builds(Test, st.sampled_from(fields), st.sampled_from(operators), operands)


def _few(values):
    return st.lists(values, min_size=1, max_size=3).map(tuple)


# The operators and operands that the schema allows for each kind of attribute; privacies are plain strings there.
PRIVACIES = st.sampled_from(Privacy).map(str)
STATABLE = (*TEXT_FIELDS, *COUNT_FIELDS, "tags", *OWN)
tests = st.one_of(
    _tests(TEXT_FIELDS, EQUALITY, WORDS),
    _tests(TEXT_FIELDS, MEMBERSHIP, _few(WORDS)),
    _tests(TEXT_FIELDS, [Operator.MATCHES], PATTERNS),
    _tests(["privacy"], EQUALITY, PRIVACIES),
    _tests(["privacy"], MEMBERSHIP, _few(PRIVACIES)),
    _tests(FLAG_FIELDS, EQUALITY, st.booleans()),
    _tests(COUNT_FIELDS, COMPARING, COUNTS),
    _tests(COUNT_FIELDS, MEMBERSHIP, _few(COUNTS)),
    _tests(COUNT_FIELDS, [Operator.BETWEEN], st.tuples(COUNTS, COUNTS)),
    _tests(["tags"], [Operator.CONTAINS], TAGS),
    _tests(["tags"], [Operator.CONTAINS_ANY, Operator.CONTAINS_ALL], _few(TAGS)),
    _tests(["tier"], EQUALITY, TIERS),
    _tests(["tier"], MEMBERSHIP, _few(TIERS)),
    _tests(["score"], COMPARING, SCORES),
    _tests(["score"], MEMBERSHIP, _few(SCORES)),
    _tests(["score"], [Operator.BETWEEN], st.tuples(SCORES, SCORES)),
    _tests(["rank"], COMPARING, RANKS | st.sampled_from([0.5, 2.5])),
    _tests(["rank"], [Operator.BETWEEN], st.tuples(RANKS, RANKS)),
    _tests(["regions"], [Operator.CONTAINS], REGIONS),
    _tests(["regions"], [Operator.CONTAINS_ANY, Operator.CONTAINS_ALL], _few(REGIONS)),
    _tests(STATABLE, [Operator.EXISTS], st.booleans()),
)
predicates = st.recursive(
    tests,
    lambda parts: st.one_of(
        st.lists(parts, max_size=3).map(tuple).map(AllOf),
        st.lists(parts, max_size=3).map(tuple).map(AnyOf),
        parts.map(Not),
    ),
    max_leaves=4,
)

profiles = st.builds(
    Profile,
    id=st.sampled_from(IDS),
    type=st.sampled_from(["lmstudio", "ollama", "openai"]),
    models=st.lists(MODELS, min_size=1, max_size=3, unique=True).map(tuple),
    enabled=st.sampled_from([True, True, True, False]),
    locality=st.sampled_from(Locality),
    tags=st.frozensets(TAGS),
    cost=st.none() | st.builds(Cost, st.sampled_from([0.0, 1.0, 2.5]), st.sampled_from([0.0, 1.0, 2.5])),
    capabilities=st.builds(Capabilities, tools=st.booleans(), vision=st.booleans(), reasoning=st.booleans()),
    context_window=st.none() | COUNTS,
    concurrency=st.none() | st.integers(1, 3),
)
providers = st.lists(profiles, min_size=1, max_size=4, unique_by=lambda profile: profile.id).map(
    lambda found: {profile.id: profile for profile in found}
)
TRAITS = {
    "locality": st.frozensets(st.sampled_from(Locality), max_size=2),
    "types": st.frozensets(st.sampled_from(["lmstudio", "ollama"])),
    "tags": st.frozensets(TAGS),
    "providers": st.just(frozenset()) | st.frozensets(st.sampled_from(IDS)),
}
traits = st.builds(Traits, **TRAITS)
weights = st.dictionaries(CANDIDATES.map(str) | st.sampled_from(IDS), st.sampled_from([0.5, 1.0, 3.0]), max_size=3)
selectors = st.builds(Selector, **TRAITS, order=st.sampled_from(Order), weights=weights.map(lambda w: (*w.items(),)))
uses = _few(st.one_of(st.builds(Named, st.sampled_from(IDS), st.none() | MODELS), selectors))
rules = st.builds(
    Rule,
    name=st.sampled_from(RULES),
    use=uses,
    when=predicates,
    priority=st.integers(0, 3),
    fallback_on=st.none() | st.frozensets(st.sampled_from(Failure)),
    fallback=st.none() | st.sampled_from([*RULES, "default", "nowhere"]),  # circles and loose ends included
    pin=st.booleans(),
)
guarantees = st.builds(Guarantee, st.sampled_from(["g1", "g2", "g3"]), predicates, only=traits) | st.builds(
    Guarantee, st.sampled_from(["g1", "g2", "g3"]), predicates, never=traits
)
budgets = st.builds(Budget, st.sampled_from(BUDGETS), st.sampled_from(Period), traits, tokens=st.just(1))


def _named_once(values, **size):
    return st.lists(values, unique_by=lambda value: value.name, **size).map(tuple)


policies = st.builds(
    Policy,
    name=st.just("drawn"),
    rules=_named_once(rules, max_size=3),
    attributes=st.just(OWN),
    default=st.none() | st.just(()) | uses,
    guarantees=_named_once(guarantees, max_size=2),
    budgets=_named_once(budgets, max_size=2),
    caller_choice=st.none() | st.builds(CallerChoice, uses, predicates | st.just(AllOf(()))),
)
facts = st.builds(
    Facts,
    out=st.dictionaries(CANDIDATES, st.just("does not answer")),
    throttled=st.dictionaries(CANDIDATES, st.just("asked for a pause"), max_size=2),
    windows=st.dictionaries(CANDIDATES, COUNTS, max_size=3),
    spent=st.frozensets(st.sampled_from(BUDGETS)),
    pins=st.just({}) | st.dictionaries(st.sampled_from(RULES), CANDIDATES, max_size=2),
    load=st.dictionaries(CANDIDATES, st.integers(0, 3)),
    latency_ms=st.dictionaries(CANDIDATES, st.sampled_from([0.0, 5.0, 80.0])),
)


@pytest.fixture(scope="session")
def drawn():
    """The strategies, by name; and the attributes that drawn policies know."""
    return SimpleNamespace(
        by_field=BY_FIELD,
        own=OWN,
        domains=DOMAINS,
        attributes=attributes,
        choosing=choosing,
        predicates=predicates,
        providers=providers,
        selectors=selectors,
        uses=uses,
        rules=rules,
        policies=policies,
        facts=facts,
        candidates=CANDIDATES,
    )
