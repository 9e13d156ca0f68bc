"""Small random policies, and every request that they can tell apart, one by one: what the proofs are held against.

Nothing here uses boxes. Requests are enumerated from the words and constants that the policies name, and are answered
by ``decide`` and its parts.
"""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass, replace
from functools import cached_property
from itertools import chain, combinations, pairwise, product
from types import SimpleNamespace
from typing import Any

import pytest

from lmroute.model import (
    ALWAYS,
    BUILT_IN,
    AllOf,
    AnyOf,
    Attributes,
    CallerChoice,
    Capabilities,
    Cost,
    Domain,
    Failure,
    Guarantee,
    Kind,
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
    Stack,
    TaskSpec,
    Test,
    Traits,
)

IDS = ("p", "q", "r", "s")
CAPABILITIES = ("tools", "vision", "reasoning")
COUNTS = ("prompt_tokens", "max_output_tokens", "total_tokens")
MOST_POINTS = 120
TASK = TaskSpec("sentiment")

EQUAL = (Operator.EQ, Operator.NE)
AMONG = (Operator.IN, Operator.NOT_IN)
COMPARED = (Operator.GT, Operator.GTE, Operator.LT, Operator.LTE)
ANY_OR_ALL = (Operator.CONTAINS_ANY, Operator.CONTAINS_ALL)

FACETS = {
    "privacy": ("privacy",),
    "needs": ("needs.tools", "needs.vision", "needs.reasoning", "needs.response_schema"),
    "text": ("module",),
    "task": ("task",),
    "closed_task": ("task",),
    "tags": ("tags",),
    "closed_tags": ("tags",),
    "tokens": COUNTS,
    "stream": ("stream",),
    "level": ("level",),
    "depth": ("depth",),
    "share": ("share",),
    "flag": ("flag",),
    "parts": ("parts",),
}
"""What a policy may be about, each with the attributes that its predicates read."""

EVENLY = tuple((name, 3.0) for name in IDS)
"""Weights that share out as none do. In the others, lots soon differ."""

WORDS = {"privacy": tuple(map(str, Privacy)), "task": ("qa", "sum"), "module": ("", "Rag"), "tags": ("x", "y")}


def declared(chance, facets):
    """Attributes that a policy declares; most defaults are not the first word, nor empty."""
    low, high = chance.choice([(None, None), (0, 4), (-1, None), (None, 3)])
    found = {
        "level": Domain(Kind.ENUM, chance.choice(("lo", "mid", "hi")), ("lo", "mid", "hi")),
        "depth": Domain(Kind.INT, chance.choice((0, 2, 3)), None, low, high),
        "share": Domain(Kind.FLOAT, chance.choice((0.0, 0.5)), None, *chance.choice(((None, None), (0.0, 1.0)))),
        "flag": Domain(Kind.BOOL, chance.random() < 0.5),
        "parts": Domain(Kind.SET, frozenset(chance.choice(("", "a", "ab", "c"))), ("a", "b", "c")),
    }
    closed = {"closed_task": "task", "closed_tags": "tags"}
    words = {"task": ("qa", "sum", "talk"), "tags": ("x", "y", "z")}
    found |= {name: replace(BUILT_IN[name], values=words[name]) for facet, name in closed.items() if facet in facets}
    return {name: domain for name, domain in found.items() if name in facets or name in BUILT_IN}


def redeclared(chance, domain):
    """An attribute of the same kind with other words, bounds or another default."""
    if domain.kind is Kind.BOOL:
        return replace(domain, default=not domain.default)
    if domain.kind in {Kind.INT, Kind.FLOAT}:
        low, high = chance.choice([(None, 1), (2, None), (-1, 1), (2, 3), (0, 3)])
        return replace(
            domain, default=chance.choice([end for end in (low, high) if end is not None]), low=low, high=high
        )
    words = (*domain.values, "new")
    words = tuple(chance.sample(words, chance.randint(1, len(words))))
    some = chance.sample(words, chance.randint(0, len(words)))
    usual = frozenset(some) if domain.kind is Kind.SET else chance.choice(words)
    kept = domain.default <= {*words} if domain.kind is Kind.SET else domain.default in words
    return replace(domain, values=words, default=domain.default if kept and chance.random() < 0.5 else usual)


class Drawing:
    """One drawing of a policy over few attributes and few providers."""

    def __init__(self, chance):
        self.chance = chance
        self.facets = chance.sample(sorted(FACETS), chance.choice((1, 2, 2, 3)))
        self.attributes = [name for facet in self.facets for name in FACETS[facet]]
        self.own = declared(chance, self.facets)
        self.domains = {**BUILT_IN, **self.own}
        self.is_about_tokens = "tokens" in self.facets
        self.highest = 5 if len(self.facets) == 1 else 3
        self.lacks = chance.random() < (0.3 if len(self.facets) < 3 else 0.1)

    def pair(self):
        """Two stacks over the same attributes: mostly one and what some change made of it."""
        before = self.idle(self.stack())
        if self.sometimes(0.2):
            return before, self.idle(self.stack())
        after = before
        for _ in range(self.chance.choice((1, 1, 2))):
            after = self.changed(after)
        while self.sometimes(0.3):
            after = self.redeclared(after)
        return before, self.idle(after)

    def redeclared(self, stack):
        """With another vocabulary: words, bounds and defaults that the other policy does not have, or fewer."""
        own, name = (
            dict(stack.policy.attributes),
            self.chance.choice(sorted({*stack.policy.attributes, "task", "tags"})),
        )
        if name in BUILT_IN:
            words = self.some((*WORDS[name], "new"), single=False)
            own[name] = replace(BUILT_IN[name], values=self.chance.choice((None, words)))
        elif self.sometimes(0.5):
            del own[name]
            return replace(stack, policy=without(replace(stack.policy, attributes=own), name))
        else:
            own[name] = redeclared(self.chance, own[name])
        return replace(stack, policy=replace(stack.policy, attributes=own))

    def idle(self, stack):
        """Without limits of calls at once: these let no order by load be told from another one."""
        free = {name: replace(profile, concurrency=None) for name, profile in stack.providers.items()}
        return replace(stack, providers=free)

    def changed(self, stack):
        policy, rules = stack.policy, list(stack.policy.rules)
        names, at = [rule.name for rule in rules], self.chance.randrange(len(rules))
        new = self.rule(names[at], names)
        part = self.chance.choice(
            ("rule", "use", "when", "how", "name", "order", "drop", "policy", "default", "profile")
        )
        if part == "profile":
            name = self.chance.choice(list(stack.providers))
            return replace(stack, providers={**stack.providers, name: self.profile(name, None)})
        if part == "policy":
            drawn = self.policy()
            return replace(stack, policy=replace(drawn, rules=policy.rules), seed=self.chance.choice((0, 1)))
        if part == "default":
            return replace(stack, policy=replace(policy, default=self.uses()))
        if part == "order":
            self.chance.shuffle(rules)
        elif part == "drop" and len(rules) > 1:
            del rules[at]
        else:
            one = rules[at]
            rules[at] = {
                "use": replace(
                    one, use=tuple(self.chance.sample(one.use, len(one.use))) if len(one.use) > 1 else new.use
                ),
                "when": replace(one, when=new.when),
                "how": replace(one, pin=new.pin, fallback_on=new.fallback_on, fallback=new.fallback),
                "name": replace(one, name=f"renamed_{names[at]}"),
            }.get(part, new)
        return replace(stack, policy=replace(policy, rules=tuple(rules)))

    def sometimes(self, share):
        return self.chance.random() < share

    def stack(self):
        return Stack(self.providers(), self.policy(), TASK, seed=self.chance.choice((0, 0, 1)))

    def providers(self):
        ids = IDS[: self.chance.choice((1, 2, 3, 3, 4))]
        hosts = ("http://one:1/v1", "http://two:2/v1", "http://two:3/v1", None)
        return {name: self.profile(name, self.chance.choice(hosts)) for name in ids}

    def profile(self, name, endpoint):
        some = self.sometimes
        able = [not (self.lacks and some(0.5)) for _ in CAPABILITIES]
        return Profile(
            name,
            self.chance.choice(("lmstudio", "openai")),
            endpoint,
            models=self.chance.choice((("auto",), ("auto",), ("m1",), ("m1", "m2"), ("m1", "auto"))),
            enabled=some(0.9),
            locality=self.chance.choice(list(Locality)),
            tags=frozenset(self.chance.choice(("", "f", "g", "fg"))),
            cost=self.chance.choice((None, Cost(0, 0), Cost(1, 1))),
            capabilities=Capabilities(*able),
            context_window=self.window(),
            concurrency=2 if some(0.1) else None,
        )

    def window(self):
        return self.chance.choice((1, 2, 3, 4)) if self.sometimes(0.6 if self.is_about_tokens else 0.1) else None

    def policy(self):
        some = self.sometimes
        names = [f"r{number}" for number in range(self.chance.choice((1, 2, 3, 3, 4, 5)))]
        return Policy(
            "drawn",
            tuple(self.rule(name, names) for name in names),
            attributes=self.own,
            default=self.chance.choice((None, None, (), self.uses())),
            guarantees=tuple(self.guarantee(f"g{number}") for number in range(self.chance.choice((0, 1, 1, 2)))),
            caller_choice=CallerChoice(self.uses(), self.when(0.5)) if some(0.25) else None,
        )

    def rule(self, name, names):
        some = self.sometimes
        return Rule(
            name,
            self.uses(),
            self.when(0.15),
            self.chance.choice((10, 100, 100, 100)),
            self.chance.choice((None, None, frozenset(), frozenset({Failure.TIMEOUT}))),
            self.chance.choice((*names, "default", "nowhere")) if some(0.35) else None,
            pin=some(0.15),
        )

    def uses(self):
        return tuple(self.use() for _ in range(self.chance.choice((1, 1, 2, 3))))

    def use(self):
        if self.sometimes(0.65):
            return Named(
                self.chance.choice((*IDS, *IDS, "ghost")), self.chance.choice((None, None, None, "m1", "m2", "auto"))
            )
        order = self.chance.choice((*Order, Order.DECLARED))
        weights = self.chance.choice(((), (("p", 4.0),), (("q", 4.0), ("p/m1", 4.0)), EVENLY))
        traits = self.traits()
        asked = {field.name: getattr(traits, field.name) for field in fields(traits)}
        return Selector(**asked, order=order, weights=weights if order is Order.WEIGHTED else ())

    def traits(self):
        some = self.chance.choice
        return some(
            (
                Traits(locality=frozenset({some(list(Locality)), some(list(Locality))})),
                Traits(types=frozenset({"openai"})),
                Traits(tags=frozenset(some(("f", "fg")))),
                Traits(providers=frozenset(self.chance.sample(IDS, 2))),
                Traits(),
            )
        )

    def guarantee(self, name):
        only, never = self.chance.choice(((1, 0), (0, 1), (0, 1), (1, 1)))
        return Guarantee(name, self.when(0.2), self.traits() if only else None, self.traits() if never else None)

    def when(self, always):
        return ALWAYS if self.sometimes(always) else self.predicate(2)

    def predicate(self, depth):
        if depth == 0 or self.sometimes(0.55):
            return self.test()
        if self.sometimes(0.25):
            return Not(self.predicate(depth - 1))
        parts = tuple(self.predicate(depth - 1) for _ in range(self.chance.choice((1, 2, 2, 3))))
        return self.chance.choice((AllOf, AnyOf))(parts)

    def test(self):
        name = self.chance.choice(self.attributes)
        domain = self.domains[name.replace(".", "_")]
        if domain.kind is Kind.BOOL:
            return Test(name, self.chance.choice(EQUAL), self.sometimes(0.5))
        if name != "privacy" and self.sometimes(0.15):
            return Test(name, Operator.EXISTS, self.sometimes(0.5))
        if domain.kind in {Kind.INT, Kind.FLOAT}:
            return self.of_number(name, domain)
        words = domain.values or WORDS[name]
        if domain.kind is Kind.SET:
            operator = self.chance.choice((Operator.CONTAINS, *ANY_OR_ALL))
            return Test(name, operator, self.some(words, single=operator is Operator.CONTAINS))
        operator = self.chance.choice((*EQUAL, *AMONG))
        return Test(name, operator, self.some(words, single=operator in EQUAL))

    def some(self, words, *, single):
        if single:
            return self.chance.choice(words)
        return tuple(self.chance.sample(words, self.chance.randint(1, len(words))))

    def of_number(self, name, domain):
        def constant():
            if domain.kind is Kind.FLOAT:
                return self.chance.choice((0.0, 0.25, 0.5, 0.75, 1.0))
            top = 8 if name == "prompt_tokens" and self.highest > 4 and self.sometimes(0.1) else self.highest
            return self.chance.randint(0 if name in COUNTS else -2, top)

        operator = self.chance.choice((*EQUAL, *AMONG, *COMPARED, Operator.BETWEEN))
        if operator is Operator.BETWEEN:
            return Test(name, operator, (constant(), constant()))
        return Test(name, operator, (constant(), constant()) if operator in AMONG else constant())


# ---- every request


def conditions(policy):
    choice = [policy.caller_choice] if policy.caller_choice else []
    return [part.when for part in (*policy.rules, *policy.guarantees, *choice)]


def without(policy, name):
    """A policy that does not read an attribute: with what does, left out."""

    def kept(parts):
        return tuple(part for part in parts if all(test.attribute != name for test in leaves(part.when)))

    choice = next(iter(kept((policy.caller_choice,) if policy.caller_choice else ())), None)
    return replace(policy, rules=kept(policy.rules), guarantees=kept(policy.guarantees), caller_choice=choice)


def either(one, other):
    """What an attribute may be to one of two policies, or to both."""
    values = None if one.values is None or other.values is None else tuple(dict.fromkeys((*one.values, *other.values)))
    low = None if None in (one.low, other.low) else min(one.low, other.low)
    high = None if None in (one.high, other.high) else max(one.high, other.high)
    return replace(one, values=values, low=low, high=high)


def leaves(predicate):
    if isinstance(predicate, Test):
        yield predicate
    elif isinstance(predicate, Not):
        yield from leaves(predicate.part)
    else:
        for part in predicate.parts:
            yield from leaves(part)


class Requests:
    """Every request that some stacks can tell apart.

    ``points`` has each one with the number of fields in which it departs from the defaults: attributes that some
    predicate reads, members of sets one by one, total tokens as one of their own; a number departs when it is in
    another range. Attributes whose defaults differ are not among these fields: each request that states one has it in
    ``own``, whatever its value, and one that does not is another request.
    """

    def __init__(self, stacks):
        self.stacks = stacks
        self.domains, self.words, self.always = {}, {}, set()
        self.tests = {}
        for stack in stacks:
            for when in conditions(stack.policy):
                for test in leaves(when):
                    self.tests.setdefault(test.attribute.replace(".", "_"), []).append(test)
            for name, domain in stack.policy.domains.items():
                known = self.domains.get(name, domain)
                self.always |= {name} if known.default != domain.default else set()
                self.domains[name] = either(known, domain)
                self.words.setdefault(name, set()).update(domain.values or ())
        self.always &= self.tests.keys()
        self.profiles = [profile for stack in stacks for profile in stack.providers.values()]
        self.ends = {p.context_window * 5 // 4 + 1 for p in self.profiles if p.context_window is not None}
        self.counts_total = bool(self.ends) or "total_tokens" in self.tests
        self.constants_of = {name: set(self.constants(name)) for name in (*self.tests, *COUNTS)}

    @cached_property
    def points(self):
        """None when there are too many."""
        values = {name: self.values(name) for name in self.names}
        if math.prod(map(len, values.values())) > MOST_POINTS:
            return None
        costs = [{value: self.departs(name, value) for value in some} for name, some in values.items()]
        found = []
        for point in product(*values.values()):
            attributes = self.request(dict(zip(values, point, strict=True)))
            departures = sum(cost[value] for cost, value in zip(costs, point, strict=True))
            found.append((attributes, departures + self.total_departs(attributes)))
        return found

    @cached_property
    def names(self):
        """The attributes that matter, but for the total, which the other two make. Of two counts that are only added
        up, one is enough."""
        names = self.tests.keys() - {"total_tokens"}
        for capability in CAPABILITIES:
            if len({getattr(profile.capabilities, capability) for profile in self.profiles}) > 1:
                names |= {f"needs_{capability}"}
        if self.counts_total:
            names |= {"prompt_tokens"} if names.isdisjoint(COUNTS) else set(COUNTS[:2])
        if any(profile.locality is Locality.CLOUD for profile in self.profiles):
            names |= {"privacy"}
        return sorted(names)

    def constants(self, name):
        for test in self.tests.get(name, ()):
            if test.operator is Operator.EXISTS:
                yield from {stack.policy.domains[name].default for stack in self.stacks if name in stack.policy.domains}
            else:
                yield from test.operand if isinstance(test.operand, tuple) else (test.operand,)

    def named(self, name):
        """The members of a set that tests name."""
        return {word for word in self.constants(name) if isinstance(word, str)}

    def values(self, name):
        return [*self.stated_values(name), *([None] if name in self.always else ())]

    def stated_values(self, name) -> Any:  # noqa: PLR0911
        domain, constants = self.domains[name], self.constants_of.get(name, set())
        if name in COUNTS:
            top = max((*chain.from_iterable(map(self.constants, COUNTS)), *self.ends), default=0)
            return range(top + 2)
        if domain.kind is Kind.BOOL:
            return (False, True)
        if domain.kind is Kind.TEXT and domain.values is None:
            return sorted({"", "something else", *constants, *self.words[name]})
        if domain.kind is Kind.TEXT:
            return sorted({"", *domain.values})
        if domain.kind is Kind.SET:
            named = self.named(name) | self.words[name]
            words = sorted(domain.values or named | ({"any"} if len(self.stacks) > 1 or not named else set()))
            return [frozenset(some) for size in range(len(words) + 1) for some in combinations(words, size)]
        if domain.kind is Kind.ENUM:
            return domain.values
        defaults = {stack.policy.domains.get(name, domain).default for stack in self.stacks}
        return self.numbers(domain, sorted({*constants, *defaults, *self.ends_of(name)}))

    def ends_of(self, name):
        """The bounds that a policy gives a number, where they are not the same."""
        domains = [stack.policy.domains[name] for stack in self.stacks if name in stack.policy.domains]
        ends = {(domain.low, domain.high) for domain in domains}
        return {end for pair in ends for end in pair if end is not None} if len(ends) > 1 else ()

    def numbers(self, domain, constants):
        inner = [(one + two) / 2 for one, two in pairwise(constants)]
        around = [constants[0] - 1, *constants, constants[-1] + 1, *(inner if domain.kind is Kind.FLOAT else ())]
        if domain.kind is Kind.INT:
            around = range(around[0], constants[-1] + 2)
        ends = [end for end in (domain.low, domain.high) if end is not None]
        low, high = domain.low, domain.high
        inside = {n for n in around if (low is None or n >= low) and (high is None or n <= high)}
        return sorted(inside | set(ends))

    def request(self, values):
        own = {name: values.pop(name) for name in [*values] if name not in BUILT_IN}
        stated = {name: value for name, value in own.items() if self.is_stated(name, value)}
        if "privacy" in values:
            values["privacy"] = Privacy(values["privacy"])
        return Attributes(**values, own=stated)

    def is_stated(self, name, value):
        return value is not None if name in self.always else value != self.domains[name].default

    def departures(self, attributes):
        return self.total_departs(attributes) + sum(
            self.departs(name, self.value(attributes, name)) for name in self.names
        )

    def value(self, attributes, name):
        return getattr(attributes, name) if name in BUILT_IN else attributes.own.get(name, self.domains[name].default)

    def total_departs(self, attributes):
        return self.counts_total and self.departs("total_tokens", attributes.total_tokens)

    def departs(self, name, value):
        domain = self.domains[name]
        if name in self.always:
            return 0
        if domain.kind is Kind.SET:
            asks, named = self.asked_members(name)
            return len((value ^ domain.default) & named) + (asks and not value <= named)
        if domain.kind in {Kind.INT, Kind.FLOAT}:
            return self.range_of(name, value) != self.range_of(name, domain.default)
        return value != domain.default

    def asked_members(self, name):
        """Whether a test asks for any member of a set, and the members that matter by themselves."""
        asks = any(test.operator is Operator.EXISTS for test in self.tests[name])
        return asks, self.named(name) | (self.domains[name].default if asks else set())

    def says_too_much(self, attributes):
        """Whether a request states a member of a set, or leaves one out, that nobody asks for."""
        for name in self.names:
            if self.domains[name].kind is Kind.SET and name not in self.always:
                asks, named = self.asked_members(name)
                if len((self.value(attributes, name) ^ self.domains[name].default) - named) > asks:
                    return True
        return False

    def range_of(self, name, number):
        constants = self.constants_of[name]
        past = sum(number >= end for end in self.ends) if name == "total_tokens" else 0
        return sum(constant < number for constant in constants), number in constants, past


# ---- a case that fails, made small


def smaller(part):
    """The same with one thing less, in every way that there is."""
    if isinstance(part, tuple):
        for at, one in enumerate(part):
            yield part[:at] + part[at + 1 :]
            yield from ((*part[:at], less, *part[at + 1 :]) for less in smaller(one))
    elif isinstance(part, dict):
        for key, one in part.items():
            yield {other: kept for other, kept in part.items() if other != key}
            yield from ({**part, key: less} for less in smaller(one))
    elif isinstance(part, AllOf | AnyOf):
        yield from part.parts
        yield from (type(part)(fewer) for fewer in smaller(part.parts) if fewer)
    elif isinstance(part, Not):
        yield part.part
        yield from map(Not, smaller(part.part))
    elif isinstance(part, Test | Traits | Domain):
        return
    elif is_dataclass(part):
        yield from smaller_fields(part)


def smaller_fields(part):
    plain = {"when": ALWAYS, "priority": 100, "cost": None, "endpoint": None, "context_window": None, "pin": False}
    plain |= {"concurrency": None, "fallback": None, "fallback_on": None, "default": None, "caller_choice": None}
    plain |= {"enabled": True, "seed": 0, "models": ("auto",), "capabilities": Capabilities(), "tags": frozenset()}
    for field in fields(part):
        value = getattr(part, field.name)
        if field.name in plain and value != plain[field.name]:
            yield replace(part, **{field.name: plain[field.name]})
        if field.name in {"use", "rules", "guarantees", "providers", "policy", "when", "default", "caller_choice"}:
            yield from (replace(part, **{field.name: less}) for less in smaller(value))


def smallest(stacks, fails):
    """The same failure without what it can do without."""
    while less := next((less for less in smaller(stacks) if len(less) == len(stacks) and fails(less)), None):
        stacks = less
    return stacks


def told(stacks):
    """Stacks as text that people read."""
    return "\n---\n".join(f"{lines(stack.providers)}\n{lines(stack.policy)}" for stack in stacks)


def lines(part, indent=""):
    if isinstance(part, dict):
        return "\n".join(f"{indent}{key}: {line(value)}" for key, value in part.items())
    shown = []
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, tuple) and value and is_dataclass(value[0]):
            shown += [f"{field.name}:", *(f"  - {line(one)}" for one in value)]
        elif value:
            shown.append(f"{field.name}: {line(value)}")
    return "\n".join(shown)


def line(part):  # noqa: PLR0911
    if isinstance(part, Test):
        return f"{part.attribute} {part.operator.value} {part.operand!r}"
    if isinstance(part, AllOf | AnyOf):
        return f"{'all' if isinstance(part, AllOf) else 'any'}[{', '.join(map(line, part.parts))}]"
    if isinstance(part, Not):
        return f"not[{line(part.part)}]"
    if is_dataclass(part):
        known = {field.name: getattr(part, field.name) for field in fields(part) if field.name != "timeouts"}
        return "{" + ", ".join(f"{name}: {line(value)}" for name, value in known.items() if value not in NOTHING) + "}"
    if isinstance(part, tuple):
        return f"[{', '.join(map(line, part))}]"
    if isinstance(part, frozenset):
        return line(tuple(sorted(part)))
    return str(part)


NOTHING = (None, (), frozenset(), False, ALWAYS)


@pytest.fixture(scope="session")
def small():
    """How to draw small policies, enumerate their requests, and show one that fails."""
    return SimpleNamespace(Drawing=Drawing, Requests=Requests, smallest=smallest, told=told)
