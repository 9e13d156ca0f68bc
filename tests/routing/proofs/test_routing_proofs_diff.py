"""``diff`` against every request, one by one, on thousands of pairs of small random policies."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cached_property, partial
from itertools import combinations
from operator import ge, gt, le, lt
from random import Random

import pytest

from lmroute.model import (
    ALWAYS,
    AUTO,
    FALLBACK,
    NOTHING_KNOWN,
    Attributes,
    Candidate,
    Domain,
    Facts,
    Kind,
    Named,
    Not,
    Operator,
    Order,
    Policy,
    Profile,
    Rule,
    Stack,
    TaskSpec,
    Test,
)
from lmroute.routing.decide import by_rule, decide
from lmroute.routing.policy import compile_policy
from lmroute.routing.proofs.axes import OTHERS
from lmroute.routing.proofs.common import Incomparable
from lmroute.routing.proofs.diff import diff
from lmroute.routing.proofs.terms import Term
from lmroute.routing.proofs.words import stated
from lmroute.routing.vocabulary import Vocabulary

CHUNKS, EACH = 16, 640 if os.environ.get("CI") == "true" else 80
"""10,240 pairs in CI, 1,280 elsewhere; each chunk has seeds of its own, the same every time."""

LOTS = range(1, 33)
"""Enough for orders by weight that differ to differ in one of them."""


class Side:
    """One of two policies, and what it does with requests whatever the servers and the lots are like."""

    def __init__(self, stack, candidates):
        self.stack = stack
        self.policy = compile_policy(stack.policy, stack.providers, stack.seed)
        ranks = {candidate: rank for rank, candidate in enumerate(candidates)}
        turned = {candidate: -rank for candidate, rank in ranks.items()}
        # Any two candidates are compared both ways, so whoever is not as declared shows.
        self.latencies = [Facts(latency_ms=ranks), Facts(latency_ms=turned)]
        self.loads = [Facts(load=ranks), Facts(load=turned)]

    def does(self, attributes):
        """Whom the policy asks, in each of the situations, and how it goes on where there are several."""
        rule = self.policy.rule_for(attributes)
        if rule is None:
            return ()
        orders = {group.order for group in rule.groups if not group.is_settled}
        asked = [by_rule(self.policy, rule, attributes, NOTHING_KNOWN).candidates]
        manner = (FALLBACK if rule.fallback_on is None else rule.fallback_on, rule.pin)
        if len(asked[0]) < 2:
            return asked[0]
        for order, situations in ((Order.LATENCY, self.latencies), (Order.LOAD, self.loads)):
            asked += [self.asks(rule, attributes, facts) if order in orders else asked[0] for facts in situations]
        return (*asked, manner)

    def does_by_lot(self, attributes):
        """Whom the policy asks, for each lot; None where lots do not matter."""
        rule = self.policy.rule_for(attributes)
        if rule is None or all(group.order is not Order.WEIGHTED for group in rule.groups):
            return None
        asked = [self.asks(rule, replace(attributes, lot=lot), NOTHING_KNOWN) for lot in LOTS]
        return None if len(set(asked)) == 1 else asked

    def asks(self, rule, attributes, facts):
        return by_rule(self.policy, rule, attributes, facts).candidates

    def lets_choose(self, attributes, candidate):
        return decide(self.policy, replace(attributes, use=str(candidate))).is_answered


class Pair:
    """Two stacks and every request that they can tell apart."""

    def __init__(self, small, stacks, requests=None):
        self.stacks = stacks
        self.requests = requests or small.Requests(stacks)
        self.points = self.requests.points
        ids = sorted({name for stack in stacks for name in stack.providers})
        self.candidates = [Candidate(name, model) for name in ids for model in (AUTO, "m1", "m2")]
        self.sides = tuple(Side(stack, self.candidates) for stack in stacks)
        self.vocabularies = [Vocabulary.of(stack.policy) for stack in stacks]

    def accepting(self, attributes):
        """Which of the two policies accept a request."""
        return [not vocabulary.problem(attributes) for vocabulary in self.vocabularies]

    def means_the_same(self, attributes):
        """Whether both accept a request, and nothing that it leaves out has another value under each."""
        return all(self.accepting(attributes)) and self.requests.always <= attributes.own.keys()

    @cached_property
    def choosable(self):
        """Whom callers might choose under one of the policies; of the models that nobody lists, ``auto``."""
        if not any(stack.policy.caller_choice for stack in self.stacks):
            return []
        choices = [side.policy.caller_choice for side in self.sides if side.policy.caller_choice]
        options = [option for choice in choices for option in choice.options]
        listed = {option.candidate for option in options}
        anyhow = [option.profile for option in options if option.candidate.model == AUTO]
        listed |= {Candidate(profile.id, model) for profile in anyhow for model in profile.models}
        return [candidate for candidate in self.candidates if candidate in listed]

    def differ(self, attributes):
        one, two = self.sides
        if one.does(attributes) != two.does(attributes):
            return True
        return one.does_by_lot(attributes) != two.does_by_lot(attributes)

    def differ_in_choice(self, candidate, attributes):
        one, two = self.sides
        return one.lets_choose(attributes, candidate) is not two.lets_choose(attributes, candidate)


def cell(space, attributes):
    """The box of one class a field that a request is in, found by its values."""
    return space.layout.box({number: (class_of(space, axis, attributes),) for number, axis in enumerate(space.axes)})


def class_of(space, axis, attributes):
    value = attributes.own.get(axis.attribute, axis.domain.default)
    value = getattr(attributes, axis.attribute, value)
    if axis.member == OTHERS:
        named = {other.member for other in space.axes if other.attribute == axis.attribute}
        return int(not value <= named)
    if axis.domain.kind is Kind.SET:
        return int(axis.member in value)
    if axis.domain.kind in {Kind.INT, Kind.FLOAT}:
        ends = [(class_.low, class_.high) for class_ in axis.classes]
        (at,) = [
            at
            for at, (low, high) in enumerate(ends)
            if (low is None or low <= value) and (high is None or value <= high)
        ]
        return at
    words = [class_.value for class_ in axis.classes]
    return words.index(value) if value in words else len(words) - 1  # the last one is that of all other texts


def problems(pair):
    """Where ``diff`` and the enumeration disagree, in words."""
    found = diff(*pair.stacks)
    space = found.space
    if not found.is_whole:
        yield "something is left out"
    yield from wording(pair, found.terms)
    compared = [point for point in pair.points if pair.means_the_same(point[0])]
    cells = [(cell(space, attributes), attributes, departures) for attributes, departures in compared]
    changes = list(zip(found.changes, found.boxes, strict=True))
    routed = [(change, box) for change, box in changes if not change.witness.attributes.use]
    yield from partition(pair, space, routed, cells, (pair.differ, "a request"))
    for candidate in pair.choosable:
        chosen = [each for each in changes if each[0].witness.attributes.use == str(candidate)]
        yield from partition(pair, space, chosen, cells, (partial(pair.differ_in_choice, candidate), candidate))
    unknown = {change.witness.attributes.use for change, _ in changes} - {"", *map(str, pair.choosable)}
    yield from (f"a caller of {use} is told of" for use in unknown)
    for change, _ in changes:
        yield from told(pair, change)


def partition(pair, space, changes, cells, question):
    """Whether boxes hold all requests that differ and no others, each once, and each shows the least of its own."""
    differ, what = question
    boxes = [box for _, box in changes]
    layout = space.layout
    if not all(map(layout.inhabited, boxes)) or any(layout.inhabited(a & b) for a, b in combinations(boxes, 2)):
        yield f"the boxes of {what} are empty, or overlap"
    fewest = {}
    for at, attributes, departures in cells:
        holding = [box for box in boxes if box & at == at]
        if bool(holding) is not differ(attributes):
            yield f"{what}: {stated(attributes, space.domains)} does {'not ' * bool(holding)}differ"
            return
        for box in holding:
            fewest[box] = min(departures, fewest.get(box, departures))
    for change, box in changes:
        attributes = change.witness.attributes
        own = cell(space, attributes)
        if not pair.means_the_same(attributes):
            yield f"{what}: {change.witness.text} does not mean the same to both"
        elif own & box != own or not differ(replace(attributes, use="")):
            yield f"{what}: {change.witness.text} shows nothing of {change.requests}"
        elif pair.requests.departures(attributes) != fewest[box] or pair.requests.says_too_much(attributes):
            yield f"{what}: {change.witness.text} states more than it need ({fewest[box]})"


SAID = ("refuses it", "refuses them", "refuses a request that states it"), ("knows it", "takes it", "takes any")


def wording(pair, terms):
    """Whether everything that only one policy accepts is told, and nothing else is."""
    told_of = dict.fromkeys(terms, 0)
    for attributes, _ in pair.points:
        for name, part in parts(pair, attributes):
            accepting = pair.accepting(part)
            telling = [term for term in terms if term.attribute == name and tells(term, name, part)]
            told_of |= dict.fromkeys(telling, 1)
            if (accepting[0] is not accepting[1]) is not bool(telling) or len(telling) > 1:
                yield f"{name} of {part} is told as {telling}"
            for term in telling:
                said = [said in (*SAID[1], "declares it") for said in (term.before, term.after)]
                if said != accepting or [one in SAID[0] for one in (term.before, term.after)] == said:
                    yield f"{part}: {term}, and yet {accepting}"
        for name in pair.requests.always - attributes.own.keys():
            defaults = [stack.policy.domains[name].default for stack in pair.stacks]
            usual = [Term(name, f"{name} of a request that does not state it", *map(taken, defaults))]
            if [term for term in terms if " does not state" in term.what and term.attribute == name] != usual:
                yield f"that {defaults} are the defaults of {name} is not told"
            told_of |= dict.fromkeys(usual, 1)
    read = pair.requests.tests
    yield from (f"{term} is told of" for term, is_shown in told_of.items() if not is_shown and term.attribute in read)


def taken(default):
    text = f"[{', '.join(sorted(default))}]" if isinstance(default, frozenset) else str(default)
    return f"takes {text.lower() if isinstance(default, bool) else text}"


def parts(pair, attributes):
    """A request word by word: each that it states alone."""
    if attributes.task:
        yield "task", Attributes(task=attributes.task)
    yield from (("tags", Attributes(tags=frozenset({tag}))) for tag in attributes.tags)
    for name, value in attributes.own.items():
        if isinstance(value, frozenset) and all(name in vocabulary.own for vocabulary in pair.vocabularies):
            yield from ((name, Attributes(own={name: frozenset({word})})) for word in value)
        else:
            yield name, Attributes(own={name: value})


def tells(term, name, part):
    """Whether what a term says, as it is written, is said of a request with one word."""
    value = part.task or next(iter(part.tags), None) or part.own.get(name)
    (value,) = value if isinstance(value, frozenset) and len(value) == 1 else (value,)
    if " other than " in term.what:
        return value not in term.what.split(" other than ")[1].split(", ")
    if isinstance(value, int | float) and not isinstance(value, bool) and term.what.startswith(f"{name} "):
        return " of a request" not in term.what and within(value, term.what.removeprefix(f"{name} "))
    word = {"tags": f"tag '{value}'", "task": f"task '{value}'"}.get(name)
    return term.what in {word, f"attribute '{name}'", f"{name}={value}", f"{name} with {value}"}


def within(number, span):
    """Whether a number is in a range as people write it."""
    if " to " not in span and not span.startswith(("from", "up", "above", "below")):
        return number == float(span)
    if " to " in span and not span.startswith(("above", "up")) and " and " not in span:
        low, high = map(float, span.split(" to "))
        return low <= number <= high
    ends = [(words.rsplit(" ", 1)[0], float(words.rsplit(" ", 1)[1])) for words in span.split(" and ")]
    compare = {"from": ge, "above": gt, "up to": le, "below": lt}
    return all(compare[how](number, end) for how, end in ends)


def told(pair, change):
    """Whether what is said of each side is what it does."""
    attributes = change.witness.attributes
    if attributes.use:
        return
    asked = []
    for side, policy in zip((change.before, change.after), pair.sides, strict=True):
        decision = decide(policy.policy, attributes)
        asked.append(decision.candidates)
        rules = policy.stack.policy.rules
        key = next((("rules", str(at)) for at, rule in enumerate(rules) if rule.name == decision.rule), ("default",))
        if (side.rule, side.key) != (decision.rule, key if decision.rule else ()):
            yield f"{change.witness.text} is decided by {decision.rule} {key}, not {side}"
    if asked[0] == asked[1]:
        return
    several = " of " in change.before.does + change.after.does  # the quickest of a, b
    at = next(n for n in range(9) if asked[0][n : n + 1] != asked[1][n : n + 1])
    for side, candidates in zip((change.before, change.after), asked, strict=True):
        whom = str(candidates[at]) if at < len(candidates) else "nobody else" if at else "nobody"
        is_right = side.does == f"{'then asks' if at else 'asks'} {whom}"
        if several:
            is_right = any(str(candidate) in side.does for candidate in candidates) or "nobody" in side.does
        if not is_right:
            yield f"{change.witness.text} {'then ' * bool(at)}asks {whom}, not {side}"


def drawn(small, seed):
    chance = Random(-1 - seed)
    while True:
        stacks = small.Drawing(chance).pair()
        requests = small.Requests(stacks)
        if requests.points is not None:
            return stacks, requests


def show(small, stacks):
    """Fail with the smallest pair that fails alike."""

    def fails(stacks):
        requests = small.Requests(stacks)
        return requests.points is not None and next(problems(Pair(small, stacks, requests)), None) is not None

    least = small.smallest(stacks, fails)
    pytest.fail("\n".join((small.told(least), "", *problems(Pair(small, least)))), pytrace=False)


@pytest.mark.slow
@pytest.mark.no_cover  # it would take three times as long, and other tests cover the same lines
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_diff_agrees_with_every_request(small, chunk):
    for seed in range(chunk * EACH, (chunk + 1) * EACH):
        stacks, requests = drawn(small, seed)
        if next(problems(Pair(small, stacks, requests)), None) is not None:
            show(small, stacks)


LEVEL = Domain(Kind.ENUM, "lo", ("lo", "hi"))


def declaring(level, when):
    """A stack whose policy declares ``level`` and asks p when a test of it holds, else q."""
    rules = (Rule("some", (Named("p"),), when), Rule("rest", (Named("q"),)))
    providers = {name: Profile(name, "openai") for name in "pq"}
    return Stack(providers, Policy("p", rules, attributes={"level": level}), TaskSpec("ask"))


HIGH = Test("level", Operator.NE, "lo")


def said(found):
    return [f"{term.what}: A {term.before}, B {term.after}" for term in found.terms]


def test_a_word_that_only_one_policy_knows_is_told_and_in_no_box():
    more = replace(LEVEL, values=("lo", "hi", "top"))
    found = diff(declaring(LEVEL, HIGH), declaring(more, Test("level", Operator.EQ, "hi")))
    assert (found.changes, said(found)) == ((), ["level=top: A refuses it, B knows it"])
    found = diff(declaring(more, HIGH), declaring(LEVEL, Not(HIGH)))
    assert [change.witness.stated for change in found.changes] == [{"level": "hi"}, {}]
    assert said(found) == ["level=top: A knows it, B refuses it"]


@pytest.mark.parametrize("is_read", [True, False], ids=["read", "not_read"])
def test_a_changed_default_is_told_where_it_matters_and_what_states_it_is_compared(is_read):
    one, two = declaring(LEVEL, HIGH if is_read else ALWAYS), declaring(replace(LEVEL, default="hi"), HIGH)
    if not is_read:
        two = declaring(replace(LEVEL, default="hi"), ALWAYS)
    found = diff(one, two)
    told = ["level of a request that does not state it: A takes lo, B takes hi"]
    assert (found.changes, said(found)) == ((), told if is_read else [])
    found = diff(one, declaring(replace(LEVEL, default="hi"), Not(HIGH)))
    states = [{"level": "lo"}, {"level": "hi"}] if is_read else [{"level": "hi"}]
    assert sorted(map(str, (change.witness.stated for change in found.changes))) == sorted(map(str, states))


def test_an_attribute_that_only_one_policy_declares_is_told():
    one, two = declaring(LEVEL, HIGH), declaring(LEVEL, ALWAYS)
    without = replace(two, policy=replace(two.policy, attributes={}))
    found = diff(one, without)
    assert said(found) == ["attribute 'level': A declares it, B refuses a request that states it"]
    assert [change.witness.stated for change in found.changes] == [{}]


def test_attributes_of_two_kinds_are_not_compared():
    with pytest.raises(Incomparable, match="'level' is of type enum in the one policy and of type int in the other"):
        diff(declaring(LEVEL, HIGH), declaring(Domain(Kind.INT, 0), ALWAYS))


def test_where_no_request_means_the_same_to_both_nothing_is_compared():
    other = Domain(Kind.ENUM, "x", ("x", "y"))
    found = diff(declaring(LEVEL, HIGH), declaring(other, Test("level", Operator.EQ, "x")))
    assert found.changes == ()
    assert [term.what for term in found.terms] == [
        *("level=hi", "level=lo", "level=x", "level=y"),
        "level of a request that does not state it",
    ]


def test_a_difference_of_too_many_boxes_says_that_it_is_not_whole():
    before, after = declaring(LEVEL, HIGH), declaring(LEVEL, Not(HIGH))
    assert diff(before, after).is_whole
    cut = diff(before, after, most=1)
    assert not cut.is_whole
    assert cut.changes
