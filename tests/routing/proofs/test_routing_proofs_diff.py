"""``diff`` against every request, one by one, on thousands of pairs of small random policies."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial
from itertools import combinations
from random import Random

import pytest

from lmroute.model import (
    ALWAYS,
    AUTO,
    FALLBACK,
    NOTHING_KNOWN,
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
from lmroute.routing.proofs.diff import diff
from lmroute.routing.proofs.space import Incomparable
from lmroute.routing.proofs.words import stated

CHUNKS, EACH = 16, 640
"""10,240 pairs; each chunk has seeds of its own."""

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
    own = attributes.own.get(axis.attribute, axis.domain.default)
    value = getattr(attributes, axis.attribute, own)
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
    cells = [(cell(space, attributes), attributes, departures) for attributes, departures in pair.points]
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
        if own & box != own or not differ(replace(attributes, use="")):
            yield f"{what}: {change.witness.text} shows nothing of {change.requests}"
        elif pair.requests.departures(attributes) != fewest[box] or pair.requests.says_too_much(attributes):
            yield f"{what}: {change.witness.text} states more than it need ({fewest[box]})"


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


def test_a_word_that_only_one_policy_knows_is_compared_too():
    more = replace(LEVEL, values=("lo", "hi", "top"))
    for one, two in ((LEVEL, more), (more, LEVEL)):
        found = diff(declaring(one, HIGH), declaring(two, Test("level", Operator.EQ, "hi")))
        assert [change.witness.stated for change in found.changes] == [{"level": "top"}]


@pytest.mark.parametrize("other", [replace(LEVEL, default="hi"), Domain(Kind.INT, 0)], ids=["default", "kind"])
def test_attributes_that_mean_something_else_are_not_compared(other):
    with pytest.raises(Incomparable, match="attribute 'level' is declared in two ways"):
        diff(declaring(LEVEL, HIGH), declaring(other, ALWAYS))


def test_a_difference_of_too_many_boxes_says_that_it_is_not_whole():
    before, after = declaring(LEVEL, HIGH), declaring(LEVEL, Not(HIGH))
    assert diff(before, after).is_whole
    cut = diff(before, after, most=1)
    assert not cut.is_whole
    assert cut.changes
