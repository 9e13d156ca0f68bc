"""What proofs cost: policies of 100 rules, 12 attributes and 20 providers verified, bereft of servers, and compared.

    python benchmarks/verify.py [--seeds 5]

Each shape is drawn from several seeds; shown are the median and the worst seconds of each. "diff" compares a policy
with the same one after three of its rules have changed. The shapes:

realistic  conditions of two to five tests, one in four with a choice between some
choices    every condition is a choice, of tests or of choices
negated    every condition denies that several choices all hold
tree       rules are the leaves of one decision tree, so that no two overlap and none is spare
tags       conditions ask for one of two tags, several times over
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from lmroute.model import (
    ALWAYS,
    AllOf,
    AnyOf,
    Capabilities,
    Domain,
    Guarantee,
    Kind,
    Locality,
    Named,
    Not,
    Operator,
    Policy,
    Predicate,
    Profile,
    Rule,
    Selector,
    Stack,
    TaskSpec,
    Test,
    Traits,
)
from lmroute.routing.proofs.diff import diff
from lmroute.routing.proofs.outages import outages
from lmroute.routing.proofs.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable

RULES, PROVIDERS, CHANGED = 100, 20, 3
OWN = {
    "tier": Domain(Kind.ENUM, "free", ("free", "pro", "team", "staff")),
    "region": Domain(Kind.ENUM, "eu", ("eu", "us", "asia")),
    "urgency": Domain(Kind.INT, 3, low=0, high=10),
    "risk": Domain(Kind.FLOAT, 0.0, low=0.0, high=1.0),
    "sources": Domain(Kind.SET, frozenset(), ("web", "mail", "files", "crm")),
}
TASKS = tuple(f"task_{number}" for number in range(12))
TAGS = tuple(f"tag_{number}" for number in range(10))
PROMPTS = (500, 1000, 2000, 4000, 8000, 16000, 32000)
ANSWERS = (128, 512, 1024, 4096)
SHAPES = ("realistic", "choices", "negated", "tree", "tags")


class Drawing:
    """Random parts of one stack. Twelve attributes: five of the policy's own and seven built in."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)

    def stack(self, shape: str) -> Stack:
        """A stack whose policy's conditions are of a shape."""
        providers = {f"p{number}": self.provider(number) for number in range(PROVIDERS)}
        whens = self.tree(RULES - 1) if shape == "tree" else [self.when(shape) for _ in range(RULES - 1)]
        rules = tuple(self.rule(f"r{number}", when) for number, when in enumerate([*whens, ALWAYS]))
        local = Traits(locality=frozenset({Locality.EMBEDDED, Locality.LOOPBACK}))
        guarantees = (
            Guarantee("private_stays_here", Test("privacy", Operator.EQ, "private"), only=local),
            Guarantee("risky_needs_review", Test("risk", Operator.GT, 0.8), never=Traits(tags=frozenset({"raw"}))),
            Guarantee("mail_stays_inside", Test("sources", Operator.CONTAINS, "mail"), only=local),
        )
        return Stack(providers, Policy("drawn", rules, attributes=OWN, guarantees=guarantees), TaskSpec("ask"))

    def provider(self, number: int) -> Profile:
        """A provider; some share a server with another."""
        return Profile(
            f"p{number}",
            "openai_compatible",
            f"http://host-{self.chance.randrange(PROVIDERS)}:1234/v1",
            locality=self.chance.choice(list(Locality)),
            tags=frozenset(self.chance.sample(("raw", "fast", "cheap"), 1)),
            capabilities=Capabilities(
                tools=self.chance.random() < 0.8,
                vision=self.chance.random() < 0.4,
                reasoning=self.chance.random() < 0.5,
            ),
            context_window=self.chance.choice((None, 4096, 8192, 32768, 131072)),
        )

    def rule(self, name: str, when: Predicate) -> Rule:
        """A rule for these requests that asks a few providers."""
        named = [Named(f"p{self.chance.randrange(PROVIDERS)}") for _ in range(self.chance.randint(1, 4))]
        selector = Selector(locality=frozenset({self.chance.choice(list(Locality))}))
        fallback = f"r{self.chance.randrange(RULES)}" if self.chance.random() < 0.2 else None
        return Rule(name, (*named, selector) if self.chance.random() < 0.3 else tuple(named), when, fallback=fallback)

    def when(self, shape: str) -> Predicate:
        """A condition of a shape."""
        few = self.chance.randint
        match shape:
            case "choices":
                return AllOf(tuple(AnyOf((self.test(), AnyOf((self.test(), self.both())))) for _ in range(few(1, 3))))
            case "negated":
                return Not(AllOf(tuple(AnyOf((self.test(), Not(self.both()))) for _ in range(few(2, 4)))))
            case "tags":
                return AllOf(tuple(AnyOf((self.tag(), self.tag())) for _ in range(few(3, 5))))
            case _:
                tests: list[Predicate] = [self.test() for _ in range(few(2, 5))]
                choice = [AnyOf((self.test(), self.test()))] if self.chance.random() < 0.25 else []
                return AllOf((*tests, *choice))

    def both(self) -> Predicate:
        return AllOf((self.test(), self.test()))

    def tag(self) -> Predicate:
        return Test("tags", Operator.CONTAINS, self.chance.choice(TAGS))

    def test(self) -> Test:
        """A test of one of the twelve attributes."""
        draw = self.chance.choice
        tests: list[tuple[str, tuple[Operator, ...], Any]] = [
            ("privacy", (Operator.EQ, Operator.NE), draw(("public", "internal", "private"))),
            ("task", (Operator.IN, Operator.NOT_IN), tuple(self.chance.sample(TASKS, 2))),
            ("tags", (Operator.CONTAINS_ANY, Operator.CONTAINS_ALL), tuple(self.chance.sample(TAGS, 2))),
            ("needs.tools", (Operator.EQ,), draw((True, False))),
            ("needs.vision", (Operator.EQ,), draw((True, False))),
            ("prompt_tokens", (Operator.GT, Operator.LTE), draw(PROMPTS)),
            ("max_output_tokens", (Operator.GT, Operator.LTE), draw(ANSWERS)),
            ("tier", (Operator.EQ, Operator.NE), draw(OWN["tier"].values or ())),
            ("region", (Operator.EQ, Operator.NE), draw(OWN["region"].values or ())),
            ("urgency", (Operator.GTE, Operator.LT), self.chance.randint(1, 10)),
            ("risk", (Operator.GT, Operator.LTE), draw((0.2, 0.5, 0.8))),
            ("sources", (Operator.CONTAINS,), draw(OWN["sources"].values or ())),
        ]
        name, operators, operand = draw(tests)
        return Test(name, draw(operators), operand)

    def tree(self, leaves: int) -> list[Predicate]:
        """The conditions of a decision tree's leaves."""
        paths: list[tuple[Predicate, ...]] = [()]
        while len(paths) < leaves:
            path, test = paths.pop(0), self.test()
            paths += [(*path, test), (*path, Not(test))]
        return [AllOf(path) for path in paths]

    def changed(self, stack: Stack) -> Stack:
        """The same with three rules that ask others for other requests."""
        rules = list(stack.policy.rules)
        for at in self.chance.sample(range(RULES - 1), CHANGED):
            rules[at] = self.rule(rules[at].name, self.when("realistic"))
        return replace(stack, policy=replace(stack.policy, rules=tuple(rules)))


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(shape: str, seed: int) -> dict[str, float]:
    """What each proof takes for the policy of a seed."""
    drawing = Drawing(seed)
    stack = drawing.stack(shape)
    after = drawing.changed(stack)
    return {
        "verify": seconds(lambda: verify(stack.policy, stack.providers)),
        "outages, k = 2": seconds(lambda: list(outages(stack.policy, stack.providers, 2))),
        "diff": seconds(lambda: diff(stack, after)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="policies of each shape (default 5)")
    parser.add_argument("--shapes", nargs="+", default=SHAPES, choices=SHAPES, help="which shapes (default all)")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error("--seeds must be at least 1")
    print(f"{RULES} rules, 12 attributes, {PROVIDERS} providers{'median s':>20}{'worst s':>10}", flush=True)
    for shape in options.shapes:
        rounds = [measure(shape, seed) for seed in range(options.seeds)]
        for proof in rounds[0]:
            times = [found[proof] for found in rounds]
            print(f"{f'{shape}: {proof}':<40}{statistics.median(times):>18.2f}{max(times):>10.2f}", flush=True)


if __name__ == "__main__":
    main()
