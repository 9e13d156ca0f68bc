"""What one routing decision costs, beside litellm.Router's selection, measured in turns in one run.

    python benchmarks/decide.py [--rounds 41]

The policy has 100 rules, 12 attributes and 20 providers; the router has 20 deployments, ``simple-shuffle``, and no
conditions at all. "memoised" has seen the request's class before; "cold" has just been told new facts about the
servers, so that it has nothing to remember. Every decision is timed by itself; a request's time is the median of its
rounds, so that what else the machine does decides little, and the percentiles are those of the requests. Times depend
on the machine; the ratios are what to look at.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

from lmroute.model import (
    LOTS,
    AllOf,
    AnyOf,
    Attributes,
    Budget,
    Candidate,
    Capabilities,
    Cost,
    Domain,
    Facts,
    Guarantee,
    Kind,
    Locality,
    Named,
    Not,
    Operator,
    Order,
    Period,
    Policy,
    Predicate,
    Privacy,
    Profile,
    Rule,
    Selector,
    Test,
    Traits,
)
from lmroute.routing.decide import decide
from lmroute.routing.policy import compile_policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmroute.routing.policy import CompiledPolicy

    Contenders = dict[str, Callable[[Attributes], Callable[[], Any]]]
    """By name: what makes a call to time of a request."""
    Times = dict[str, list[list[float]]]
    """Microseconds by contender, round and request."""

MEMOISED, COLD, ROUTER = "memoised", "cold", "litellm.Router"
RULES, PROVIDERS, REQUESTS = 100, 20, 300
TASKS = [f"task{number}" for number in range(25)]
TIERS = ("free", "pro", "team", "enterprise")
LABELS = ("nightly", "eval", "eu", "us", "urgent", "batch")
OWN = {
    "tier": Domain(Kind.ENUM, "free", TIERS),
    "risk": Domain(Kind.FLOAT, 0.0, low=0.0, high=1.0),
    "retries": Domain(Kind.INT, 0, low=0, high=10),
    "audited": Domain(Kind.BOOL, False),
    "regions": Domain(Kind.SET, frozenset(), LABELS),
}
"""The policy's own attributes; with the seven built-in ones that its rules read there are twelve."""


def providers() -> dict[str, Profile]:
    """Twenty servers, of all localities, prices and windows."""
    found = [
        Profile(
            id=f"p{number}",
            type=("lmstudio", "openai", "vllm")[number % 3],
            models=("small", "large"),
            locality=list(Locality)[number % 4],
            tags=frozenset({LABELS[number % len(LABELS)]}),
            cost=None if number % 5 == 0 else Cost(number / 4, number / 2),
            capabilities=Capabilities(tools=number % 2 == 0, vision=number % 3 == 0, reasoning=True),
            context_window=4096 << number % 4,
        )
        for number in range(PROVIDERS)
    ]
    return {profile.id: profile for profile in found}


def predicate(number: int) -> Predicate:
    """What rule ``number`` is for: a few tests that together read all twelve attributes."""
    task = Test("task", Operator.EQ, TASKS[number % len(TASKS)])
    match number % 5:
        case 0:
            size = Test("prompt_tokens", Operator.BETWEEN, (number * 40, number * 40 + 2000))
            return AllOf((task, size, Test("tier", Operator.IN, TIERS[number % 3 :])))
        case 1:
            return AllOf((task, Test("privacy", Operator.EQ, "private"), Test("risk", Operator.GT, number / RULES)))
        case 2:
            label = Test("tags", Operator.CONTAINS_ANY, (LABELS[number % 6], LABELS[number % 4]))
            return AllOf((task, AnyOf((label, Test("audited", Operator.EQ, True)))))
        case 3:
            calm = Not(Test("retries", Operator.GTE, number % 7))
            return AllOf((calm, Test("regions", Operator.CONTAINS, LABELS[number % 6]), task))
        case _:
            flags = Test("needs_tools", Operator.EQ, True), Test("stream", Operator.EQ, number % 2 == 0)
            return AllOf((*flags, task, Test("total_tokens", Operator.LT, 1000 + number * 100)))


def policy() -> Policy:
    """A hundred rules, two guarantees, a budget and a default."""
    cloud = Traits(locality=frozenset({Locality.CLOUD}))
    rules = [
        Rule(
            name=f"rule{number}",
            use=(
                Named(f"p{number % PROVIDERS}"),
                Selector(locality=frozenset({list(Locality)[number % 4]}), order=list(Order)[number % 5]),
            ),
            when=predicate(number),
            fallback="rule0" if number % 10 == 9 else None,
        )
        for number in range(RULES)
    ]
    return Policy(
        "benchmark",
        tuple(rules),
        attributes=OWN,
        default=(Selector(order=Order.COST),),
        guarantees=(
            Guarantee("private_stays", Test("privacy", Operator.EQ, "private"), never=cloud),
            Guarantee("risky_stays", Test("risk", Operator.GT, 0.9), never=cloud),
        ),
        budgets=(Budget("cloud_day", Period.DAY, cloud, usd=5.0),),
    )


def requests() -> list[Attributes]:
    """A mix of requests, the same in every run."""
    dice = random.Random(4)
    return [
        Attributes(
            task=dice.choice(TASKS),
            tags=frozenset(dice.sample(LABELS, dice.randrange(3))),
            privacy=dice.choice(list(Privacy)),
            needs_tools=dice.random() < 0.5,
            prompt_tokens=int(dice.expovariate(1 / 2000)),
            max_output_tokens=dice.choice([0, 256, 1024]),
            stream=dice.random() < 0.5,
            own={
                "tier": dice.choice(TIERS),
                "risk": dice.random(),
                "retries": dice.randrange(11),
                "audited": dice.random() < 0.5,
                "regions": frozenset(dice.sample(LABELS, dice.randrange(3))),
            },
            lot=dice.randrange(LOTS),
        )
        for _ in range(REQUESTS)
    ]


def facts() -> Facts:
    """What is known about the servers: some are out, some have other windows than their profiles say."""
    everybody = [Candidate(provider, model) for provider in providers() for model in ("small", "large")]
    return Facts(
        out=dict.fromkeys(everybody[::9], "down"),
        windows=dict.fromkeys(everybody[::7], 8192),
        load={candidate: number % 3 for number, candidate in enumerate(everybody)},
        latency_ms={candidate: number * 7 % 100 for number, candidate in enumerate(everybody)},
    )


def contenders() -> Contenders:
    """What is timed, by name."""
    known, here = facts(), providers()
    warm, cold = compile_policy(policy(), here), compile_policy(policy(), here)
    return {
        MEMOISED: lambda request: _deciding(warm, request, known),
        COLD: lambda request: _deciding(cold, request, replace(known)),
        ROUTER: _litellm(),
    }


def _deciding(compiled: CompiledPolicy, request: Attributes, known: Facts) -> Callable[[], Any]:
    return lambda: decide(compiled, request, known)


def _litellm() -> Callable[[Attributes], Callable[[], Any]]:
    from litellm import Router

    common = {"api_base": "http://127.0.0.1:9/v1", "api_key": "none"}  # nobody is dialled
    params = ({"model": f"openai/p{number}", **common} for number in range(PROVIDERS))
    router = Router(model_list=[{"model_name": "m", "litellm_params": p} for p in params], num_retries=0)
    message = [{"role": "user", "content": "Hello"}]
    return lambda _: lambda: router.get_available_deployment(model="m", messages=message)


def measure(compared: Contenders, mix: list[Attributes], rounds: int) -> Times:
    """Times of all decisions. In each round each contender goes through the whole mix, in turns."""
    times: Times = {name: [] for name in compared}
    order = list(compared)
    gc.collect()
    gc.freeze()  # the imports are nobody's garbage
    for _ in range(rounds + 1):  # the first is for the memo to get to know the mix
        for name in order:
            calls = [compared[name](request) for request in mix]
            gc.collect()
            times[name].append([_timed(call) for call in calls])
        order.reverse()
    return {name: timed[1:] for name, timed in times.items()}


def _timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - began) / 1000


def percentiles(values: list[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    ranks = statistics.quantiles(values, n=100, method="inclusive")
    return ranks[49], ranks[98]


def show(times: Times) -> None:
    """Which part of the router's selection a decision takes, then microseconds."""
    typical = {name: map(statistics.median, zip(*rounds, strict=True)) for name, rounds in times.items()}
    found = {name: percentiles(list(values)) for name, values in typical.items()}
    for name in (MEMOISED, COLD):
        p50, p99 = (own / router for own, router in zip(found[name], found[ROUTER], strict=True))
        print(f"{name} takes {p50:.2f}x of litellm.Router's selection at the median, {p99:.2f}x at the 99th percentile")
    print(f"\n{'':<20}{'p50 us':>9}{'p99 us':>9}{'p99 us of all rounds, whatever the machine did':>50}")
    for name, (p50, p99) in found.items():
        raw = percentiles([value for timed in times[name] for value in timed])[1]
        print(f"{name:<20}{p50:>9.1f}{p99:>9.1f}{raw:>50.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=41, help=f"rounds of {REQUESTS} requests each (default 41)")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    show(measure(contenders(), requests(), options.rounds))


if __name__ == "__main__":
    main()
