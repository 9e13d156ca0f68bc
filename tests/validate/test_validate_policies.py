"""What a policy says of attributes, predicates and names: in a file by itself, and in a composition, said once."""

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lmroute.config import decode, schema
from lmroute.config.compose import compose
from lmroute.diagnostics import Location, Severity
from lmroute.model import Attributes
from lmroute.routing.decide import decide
from lmroute.routing.policy import compile_policy
from lmroute.routing.vocabulary import Vocabulary
from lmroute.validate import selection
from lmroute.validate.context import Context
from lmroute.validate.domains import default_misfit
from lmroute.validate.rules import attributes, fallbacks, predicates
from lmroute.validate.written import Written

HEAD = "name: mine\nrules:\n  - {name: all, use: [embedded]}\n"
OWN = """\
tier: {type: enum, values: [free, pro]}
level: {type: int, min: 1, max: 9}
share: {type: float, min: 0}
urgent: {type: bool}
groups: {type: set, values: [hr, sales]}
"""


def validated(*overrides):
    request = selection.Request(overrides=overrides, files_only=not overrides)
    return [f for f in selection.run(request).diagnostics if f.location.file.startswith(("own/", "<command"))]


def codes(found):
    return [(finding.code, finding.key) for finding in found]


class Held:
    """A policy that stands nowhere."""

    def __init__(self, raw):
        self.written = Written(raw, ("routing",), lambda path, *, key=False: Location("<here>"), frozenset())


def asking(when, own=OWN):
    lines = "".join(f"  {line}\n" for line in own.splitlines())
    rules = f"rules:\n  - name: some\n    when: {when}\n    use: [embedded]\n"
    return f"name: mine\nattributes:\n{lines}{rules}default: [embedded]\n"


@pytest.mark.parametrize("overrides", [(), ("provider=embedded", "routing=mine")])
def test_a_misspelt_attribute_is_said_once_in_a_file_and_in_a_composition(overrides, overlay):
    overlay(routing__mine=asking("{any: [{privcy: {eq: private}}, {not: {teir: {eq: pro}}}]}"))
    first, second = validated(*overrides)
    assert (first.code, first.key) == ("LMR311", "routing.rules.0.when.any.0.privcy")
    assert (str(first.location), first.help) == ("own/routing/mine.yaml:10:19", "did you mean 'privacy'?")
    assert second.help == "did you mean 'tier'?"


def test_every_place_of_a_predicate_is_looked_at(overlay):
    text = (
        "name: mine\nguarantees: [{name: kept, when: {a: {eq: 1}}, never: {locality: [cloud]}}]\n"
        "rules: [{name: all, when: {all: [{b: {eq: 1}}]}, use: [embedded]}]\ndefault: [embedded]\n"
        "caller_choice: {when: {not: {c: {eq: 1}}}, use: [embedded]}\n"
    )
    overlay(routing__mine=text)
    assert [finding.key.rpartition(".")[2] for finding in validated()] == ["a", "b", "c"]
    assert {finding.code for finding in validated()} == {"LMR311"}


@pytest.mark.parametrize(
    ("when", "key"),
    [
        ("{tier: {eq: gold}}", "tier.eq"),
        ("{tier: {in: [free, gold]}}", "tier.in.1"),
        ("{tier: {eq: true}}", "tier.eq"),
        ("{tier: {contains: pro}}", "tier.contains"),
        ("{tier: {exists: true}}", "tier.exists"),
        ("{level: {gt: 10}}", "level.gt"),
        ("{level: {eq: 2.5}}", "level.eq"),
        ("{level: {ne: true}}", "level.ne"),
        ("{level: {between: [0, 3]}}", "level.between.0"),
        ("{level: {contains: a}}", "level.contains"),
        ("{share: {lt: -0.5}}", "share.lt"),
        ("{share: {eq: half}}", "share.eq"),
        ("{urgent: {eq: 'yes'}}", "urgent.eq"),
        ("{urgent: {in: [1]}}", "urgent.in"),
        ("{urgent: {exists: false}}", "urgent.exists"),
        ("{groups: {contains: it}}", "groups.contains"),
        ("{groups: {contains_all: [hr, it]}}", "groups.contains_all.1"),
        ("{groups: {eq: hr}}", "groups.eq"),
        ("{needs_tools: {eq: true}}", "needs_tools"),
        ("{task: {matches: 'a('}}", "task.matches"),
        ("{module: {matches: '[z-a]'}}", "module.matches"),
    ],
)
def test_what_an_attribute_cannot_answer(when, key, overlay):
    overlay(routing__mine=asking(when))
    assert codes(validated()) == [("LMR311", f"routing.rules.0.when.{key}")]


@pytest.mark.parametrize(
    "when",
    [
        "{tier: {eq: pro, ne: free}, urgent: {eq: false}}",
        "{level: {between: [1, 9], gt: 3.0, exists: true}, share: {gte: 0, lt: 1}}",
        "{groups: {contains_any: [hr, sales], exists: true}}",
        "{task: {eq: anything}, tags: {contains: any}, signature: {matches: 'A|B', exists: true}}",
        "{needs.tools: {eq: true}, privacy: {ne: public}, total_tokens: {gt: 10}}",
    ],
)
def test_what_they_can(when, overlay):
    overlay(routing__mine=asking(when))
    assert validated() == []


@pytest.mark.parametrize("attribute", ["tags: {contains: nigthly}", "task: {in: [nigthly]}"])
def test_the_words_of_tags_and_tasks_are_known_where_they_are_listed(attribute, overlay):
    name, _, test = attribute.partition(": ")
    overlay(routing__mine=asking(f"{{{attribute}}}", f"{name}: {{values: [nightly]}}\n"))
    finding = validated()[0]
    assert (finding.code, finding.help) == ("LMR311", "did you mean 'nightly'?")
    overlay(
        routing__mine=asking(f"{{{name}: {test.replace('nigthly', 'nightly')}}}", f"{name}: {{values: [nightly]}}\n")
    )
    assert validated() == []


def test_where_a_regular_expression_goes_wrong(overlay):
    overlay(routing__mine=asking("{predictor: {matches: 'rag.('}}"))
    finding = validated()[0]
    assert finding.message.startswith('"rag.(" is no regular expression: missing )')
    assert finding.message.endswith("at character 5")


@pytest.mark.parametrize("place", ["guarantees.0", "caller_choice"])
def test_a_range_the_wrong_way_round_wherever_it_is_asked_for(place, overlay, findings):
    when = "{prompt_tokens: {between: [9, 3]}}"
    lines = {
        "guarantees.0": f"guarantees: [{{name: kept, when: {when}, never: {{locality: [cloud]}}}}]\n",
        "caller_choice": f"caller_choice: {{when: {when}, use: [embedded]}}\n",
    }
    overlay(routing__mine=HEAD + lines[place])
    assert codes(validated()) == [("LMR103", f"routing.{place}.when.prompt_tokens.between")]
    assert codes(findings("provider=embedded", "routing=mine")) == codes(validated())


@pytest.mark.parametrize(
    ("own", "key"),
    [
        ("tier: {values: [free]}", "tier"),
        ("tier: {type: enum}", "tier"),
        ("tier: {type: set, default: []}", "tier"),
        ("tier: {type: enum, values: [free], default: pro}", "tier.default"),
        ("tier: {type: set, values: [free], default: [pro]}", "tier.default"),
        ("tier: {type: set, values: [free], default: free}", "tier.default"),
        ("tier: {type: bool, values: [a]}", "tier.values"),
        ("tier: {type: enum, values: [a], max: 3}", "tier.max"),
        ("tier: {type: int, min: 3, max: 2}", "tier.min"),
        ("tier: {type: int, min: 0.5}", "tier.min"),
        ("tier: {type: int, min: 3, default: 2}", "tier.default"),
        ("tier: {type: float, default: many}", "tier.default"),
        ("tier: {type: bool, default: 1}", "tier.default"),
        ("needs_tools: {type: bool}", "needs_tools"),
        ("all: {type: bool}", "all"),
        ("use: {type: bool}", "use"),
        ("tags: {values: [a], default: []}", "tags.default"),
        ("task: {description: what it is for}", "task"),
    ],
)
def test_an_attribute_that_cannot_be(own, key, overlay, findings):
    overlay(routing__mine=f"attributes:\n  {own}\n{HEAD}")
    told = [("LMR310", f"routing.attributes.{key}")]
    assert codes(validated()) == told
    assert codes(findings("provider=embedded", "routing=mine")) == told


def test_a_predicate_is_not_blamed_for_an_attribute_that_cannot_be(overlay):
    overlay(routing__mine=asking("{tier: {eq: anything, gt: 3}}", "tier: {type: enum}\n"))
    assert codes(validated()) == [("LMR310", "routing.attributes.tier")]


def test_what_only_a_composition_knows_is_left_to_it(overlay):
    overlay(
        routing__base=asking("{tier: {eq: pro}}"),
        routing__mine="defaults: [base, _self_]\nrules: [{name: a, when: {tier: {eq: gold}}, use: [embedded]}]\n",
        routing__other=asking("{tier: {eq: '${seed}', ne: '???'}, level: {gt: '${task.limit}'}}"),
    )
    assert validated() == []
    assert codes(validated("provider=embedded", "routing=mine")) == [("LMR311", "routing.rules.0.when.tier.eq")]


def test_words_that_may_be_secrets_are_not_shown(overlay):
    secret = "sk-abcdefgh12345678"
    overlay(
        routing__mine=asking(
            f"{{api_token: {{eq: {secret}}}, tier: {{eq: {secret}}}}}",
            f"api_token: {{type: enum, values: [{secret}x, b]}}\ntier: {{type: enum, values: [{secret}x]}}\n",
        )
    )
    found = [finding for finding in validated() if finding.code == "LMR311"]
    assert len(found) == 2
    assert secret not in str(found)


def test_a_half_written_guarantee_does_not_hide_what_it_asks_for(overlay):
    overlay(routing__mine=f"{HEAD}guarantees: [{{name: kept, when: {{privcy: {{eq: private}}}}}}]\n")
    assert codes(validated()) == [
        ("LMR103", "routing.guarantees.0"),
        ("LMR311", "routing.guarantees.0.when.privcy"),
    ]


def test_a_circle_of_fallbacks_is_told_once_with_all_of_its_places():
    rules = [
        {"name": n, "use": ["embedded"], "fallback": f} for n, f in [("a", "b"), ("b", "c"), ("c", "b"), ("d", "d")]
    ]
    first, second = fallbacks.circular(Held({"rules": rules}))
    assert (first.key, first.message) == ("routing.rules.1.fallback", "fallbacks go in a circle: b -> c -> b")
    assert [note.message for note in first.related] == ["'c' falls back on 'b'"]
    assert (second.key, second.message) == ("routing.rules.3.fallback", "fallbacks go in a circle: d -> d")


def test_a_rule_may_fall_back_on_the_default_if_there_is_one(overlay):
    rules = "name: mine\nrules: [{name: a, when: {stream: {eq: true}}, use: [embedded], fallback: default}]\n"
    overlay(routing__mine=rules)
    assert codes(validated()) == [("LMR301", "routing.rules.0.fallback")]
    overlay(routing__mine=f"{rules}default: [embedded]\n")
    assert validated() == []


def test_a_guarantee_may_name_who_is_not_selected_but_nobody_who_is_not_there(overlay, findings):
    guarantee = "guarantees: [{{name: kept, never: {{providers: [{}]}}}}]\n"
    overlay(routing__mine=HEAD + guarantee.format("openai"))
    assert validated("provider=embedded", "routing=mine") == []
    overlay(routing__mine=HEAD + guarantee.format("opnai"))
    finding = findings("provider=embedded", "routing=mine")[0]
    assert (finding.code, finding.key) == ("LMR301", "routing.guarantees.0.never.providers.0")


def test_a_task_may_have_any_tag_where_nobody_asks_for_one(overlay, findings):
    overlay(routing__mine=HEAD)
    assert validated("provider=embedded", "routing=mine", "task.tags=[whatever]") == []
    overlay(routing__mine=f"attributes: {{tags: {{values: [nightly]}}}}\n{HEAD}")
    found = findings("provider=embedded", "routing=mine", "task.tags=[nightly,whatever]")
    assert codes(found) == [("LMR313", "task.tags.1")]
    assert validated("provider=embedded", "routing=mine", "task.tags=[nightly]") == []


def test_a_policy_for_other_tasks_than_the_default_one_is_no_mistake(overlay):
    overlay(routing__mine=f"attributes: {{task: {{values: [extract]}}}}\n{HEAD}")
    sampled, asked = (selection.run(selection.Request(words)).diagnostics for words in [(), ("routing=mine",)])
    assert "LMR313" not in {finding.code for finding in sampled}
    assert ("LMR313", "task.name") in codes(asked)


def test_a_budget_in_dollars_of_providers_with_prices_is_silent(overlay):
    overlay(routing__mine=f"{HEAD}budgets: [{{name: day, per: day, usd: 5}}]\n")
    assert validated("provider=embedded", "routing=mine") == []
    (finding,) = validated("provider=embedded", "routing=mine", "~providers.embedded.cost")
    assert (finding.code, finding.severity) == ("LMR314", Severity.WARNING)
    assert "for embedded" in finding.message


@pytest.mark.parametrize(
    "change",
    [
        "routing.rules.0.use=[nobody]",
        "+routing.rules.0.when={privcy:{eq:x}}",
        "+routing.rules.0.fallback=all",
        "routing.name=3",
        "providers.embedded.models=3",
        "providers.embedded.id=other",
    ],
)
def test_nothing_more_is_said_of_a_policy_that_does_not_mean_what_it_says(change, overlay):
    overlay(routing__mine=HEAD)
    assert context_of("provider=embedded", "routing=mine").policy.name == "mine"
    assert context_of("provider=embedded", "routing=mine", change).policy is None


def context_of(*overrides):
    composition = compose(overrides)
    return Context.of(composition, schema.check(composition.document, composition.locate))


WORDS = st.sampled_from(["a", "b", "c", ""])
WHOLE = st.integers(-3, 12)
NUMBERS = WHOLE | st.sampled_from([0.5, 2.5, 7.25])
SOME = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)
VALUES = WORDS | NUMBERS | st.booleans() | st.lists(WORDS, max_size=2)


def of_type(kind, needed=None, **optional):
    return st.fixed_dictionaries({"type": st.just(kind), **(needed or {})}, optional=optional)


def declarations(default):
    """Attributes of every type, not all of which can be; with a default if there is one to draw."""
    more = {"default": default} if default is not None else {}
    return st.one_of(
        of_type("enum", {"values": SOME}, **more),
        of_type("set", {"values": SOME}, **more),
        of_type("bool", **more),
        of_type("int", min=WHOLE, max=WHOLE, **more),
        of_type("float", min=NUMBERS, max=NUMBERS, **more),
    )


WORD = st.dictionaries(st.sampled_from(["eq", "ne"]), WORDS, min_size=1)
MEMBER = st.dictionaries(st.just("contains"), WORDS, min_size=1) | st.just({"exists": True})
NUMBER = st.dictionaries(st.sampled_from(["eq", "gt", "lte"]), NUMBERS, min_size=1) | st.fixed_dictionaries(
    {"between": st.lists(NUMBERS, min_size=2, max_size=2)}
)
FLAG = st.dictionaries(st.sampled_from(["eq", "ne"]), st.booleans(), min_size=1)
TESTS = {"enum": WORD, "set": MEMBER, "bool": FLAG, "int": NUMBER, "float": NUMBER}
MORE = st.fixed_dictionaries(
    {}, optional={"tags": MEMBER, "task": WORD | st.just({"matches": "a|b"}), "y": FLAG, "prompt_tokens": NUMBER}
)
ASKED = (declarations(VALUES) | declarations(None)).flatmap(lambda x: st.tuples(st.just(x), TESTS[x["type"]]))


@settings(max_examples=50, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    asked=ASKED,
    words=st.dictionaries(st.sampled_from(["task", "tags"]), st.fixed_dictionaries({"values": SOME})),
    more=MORE,
    value=VALUES,
)
def test_a_policy_without_a_finding_decides_every_request_it_knows(asked, words, more, value):
    """Nothing that gets past the rules can make compiling or deciding fail."""
    x, test = asked
    rules = [{"name": "some", "when": {"x": test, **more}, "use": ["p"]}]
    raw = {"name": "n", "attributes": {"x": x, "y": {"type": "bool"}, **words}, "rules": rules, "default": ["p"]}
    assume(predicates.are_sound(Held(raw)) and schema.validator("routing.schema.json").is_valid(raw))
    policy = decode.policy(raw)
    own = {"x": frozenset(value) if isinstance(value, list) else value}
    compiled = compile_policy(policy, {"p": decode.profile({"id": "p", "type": "openai"})})
    request = Attributes(own={} if Vocabulary.of(policy).problem(Attributes(own=own)) else own)
    assert decide(compiled, request).rule in {"some", "default"}


@given(declared=declarations(None), value=VALUES)
def test_a_default_fits_if_a_caller_could_state_it(declared, value):
    raw = {"name": "n", "attributes": {"x": declared}, "rules": []}
    assume(not any(attributes.declared(Held(raw))))
    stated = frozenset(value) if isinstance(value, list) else value
    problem = Vocabulary.of(decode.policy(raw)).problem(Attributes(own={"x": stated}))
    fits = default_misfit(value, "x", decode.attribute("x", declared), ()) is None
    assert fits == (problem == "")
