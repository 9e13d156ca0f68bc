"""What people read of predicates, boxes and requests."""

from __future__ import annotations

import pytest

from lmroute.model import (
    ALWAYS,
    AllOf,
    AnyOf,
    Attributes,
    Domain,
    Kind,
    Named,
    Not,
    Operator,
    Policy,
    Privacy,
    Rule,
    Test,
)
from lmroute.routing.proofs import words
from lmroute.routing.proofs.space import Space

OWN = {
    "tier": Domain(Kind.ENUM, "free", ("free", "pro", "team")),
    "risk": Domain(Kind.FLOAT, 0.0, low=0.0, high=1.0),
    "depth": Domain(Kind.INT, 0),
    "fast": Domain(Kind.BOOL, True),
    "sources": Domain(Kind.SET, frozenset({"web"}), ("web", "mail", "crm")),
}
PRIVATE = Test("privacy", Operator.EQ, "private")
LONG = Test("prompt_tokens", Operator.GT, 8000)
TOOLS = Test("needs_tools", Operator.EQ, True)

CONDITIONS = (
    (ALWAYS, "always"),
    (AnyOf(()), "never"),
    (PRIVATE, "privacy = private"),
    (TOOLS, "needs.tools = true"),
    (Test("task", Operator.EQ, ""), "task = ''"),
    (Test("task", Operator.IN, ("qa", "extract")), "task in [extract, qa]"),
    (Test("tags", Operator.CONTAINS, "eu"), "tags has eu"),
    (Test("tags", Operator.CONTAINS_ANY, ("us", "eu")), "tags has any of [eu, us]"),
    (Test("tags", Operator.EXISTS, False), "tags is not stated"),
    (Test("prompt_tokens", Operator.BETWEEN, (1, 5)), "prompt_tokens from 1 to 5"),
    (Test("predictor", Operator.MATCHES, "rag.*"), "predictor matches 'rag.*'"),
    (AllOf((PRIVATE, LONG)), "privacy = private and prompt_tokens > 8000"),
    (AnyOf((PRIVATE, AllOf((LONG, TOOLS)))), "privacy = private or (prompt_tokens > 8000 and needs.tools = true)"),
    (Not(AnyOf((PRIVATE, LONG))), "not (privacy = private or prompt_tokens > 8000)"),
    (AllOf((AnyOf((PRIVATE,)), LONG)), "privacy = private and prompt_tokens > 8000"),
    (Not(AllOf((PRIVATE,))), "not privacy = private"),
)


@pytest.mark.parametrize(("predicate", "text"), CONDITIONS, ids=[text for _, text in CONDITIONS])
def test_a_condition_in_words(predicate, text):
    assert words.condition(predicate) == text


BOXES = (
    (PRIVATE, "privacy private"),
    (Not(PRIVATE), "privacy public or internal"),
    (LONG, "prompt_tokens from 8001"),
    (Not(LONG), "prompt_tokens up to 8000"),
    (Test("prompt_tokens", Operator.NE, 5), "prompt_tokens up to 4 or from 6"),
    (Test("prompt_tokens", Operator.EQ, 0), "prompt_tokens 0"),
    (Test("prompt_tokens", Operator.EQ, 5.0), "prompt_tokens 5"),
    (Test("prompt_tokens", Operator.GT, 5.0), "prompt_tokens from 6"),
    (Test("prompt_tokens", Operator.GT, 5.5), "prompt_tokens from 6"),
    (Test("depth", Operator.IN, (2.0, 4)), "depth 2 or 4"),
    (Test("risk", Operator.GTE, 0.0), "all requests"),
    (Test("risk", Operator.GT, 0.0), "risk above 0.0"),
    (Test("prompt_tokens", Operator.BETWEEN, (2, 5)), "prompt_tokens 2 to 5"),
    (Test("depth", Operator.LT, 3), "depth up to 2"),
    (Test("risk", Operator.GT, 0.8), "risk above 0.8"),
    (Test("risk", Operator.LT, 0.8), "risk below 0.8"),
    (Test("risk", Operator.GTE, 0.8), "risk from 0.8"),
    (AllOf((Test("risk", Operator.GT, 0.2), Test("risk", Operator.LTE, 0.8))), "risk above 0.2 and up to 0.8"),
    (TOOLS, "needs.tools=true"),
    (Test("fast", Operator.NE, True), "fast=false"),
    (Test("tier", Operator.NE, "pro"), "tier free or team"),
    (Test("task", Operator.EQ, "qa"), "task qa"),
    (Test("task", Operator.NOT_IN, ("qa", "sum")), "task other than qa or sum"),
    (AllOf((Test("task", Operator.NOT_IN, ("qa", "")),)), "task other than '' or qa"),
    (Test("task", Operator.EXISTS, False), "task not stated"),
    (Test("task", Operator.NE, ""), "task stated"),
    (Test("task", Operator.EQ, "other"), "task other"),
    (Test("task", Operator.NE, "other"), "task other than other"),
    (Test("tags", Operator.EXISTS, True), "tags stated"),
    (Not(Test("tags", Operator.EXISTS, True)), "tags not stated"),
    (Test("tags", Operator.CONTAINS, "eu"), "tags with eu"),
    (Not(Test("tags", Operator.CONTAINS, "eu")), "tags without eu"),
    (Test("predictor", Operator.MATCHES, "rag.*"), "predictor matching 'rag.*'"),
    (AllOf((PRIVATE, LONG)), "privacy private, prompt_tokens from 8001"),
    (ALWAYS, "all requests"),
)


@pytest.mark.parametrize(("predicate", "text"), BOXES, ids=[words.condition(predicate) for predicate, _ in BOXES])
def test_the_requests_of_a_box_in_words(predicate, text):
    space = Space.of([Policy("p", (Rule("r", (Named("p"),), predicate),), attributes=OWN)], ())
    (box,) = space.boxes(predicate)
    assert words.box(space, box) == text


REQUESTS = (
    (Attributes(), "a request that states nothing", {}),
    (
        Attributes(privacy=Privacy.PRIVATE, prompt_tokens=9000),
        "privacy=private, prompt_tokens=9000",
        {"privacy": "private", "prompt_tokens": 9000},
    ),
    (Attributes(needs_tools=True, stream=True), "needs.tools=true, stream=true", {"needs.tools": True, "stream": True}),
    (Attributes(tags=frozenset({"us", "eu"})), "tags=[eu, us]", {"tags": ["eu", "us"]}),
    (Attributes(own={"sources": frozenset()}), "sources=[]", {"sources": []}),
    (Attributes(own={"tier": "free", "risk": 0.5}), "risk=0.5", {"risk": 0.5}),
    (Attributes(use="openai/gpt-x"), "use=openai/gpt-x", {"use": "openai/gpt-x"}),
)


@pytest.mark.parametrize(("attributes", "text", "stated"), REQUESTS, ids=[text for _, text, _ in REQUESTS])
def test_a_request_in_words_is_what_it_states_beyond_the_defaults(attributes, text, stated):
    domains = Policy("p", (), attributes=OWN).domains
    assert words.request(attributes, domains) == text
    assert words.stated(attributes, domains) == stated
