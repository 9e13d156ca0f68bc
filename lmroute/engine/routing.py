"""What all calls of an engine share. It is replaced as a whole, so that a call never sees half of a change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmroute.engine.identity import stack_name
from lmroute.model import Order
from lmroute.routing.policy import CALLER_CHOICE, compile_policy
from lmroute.routing.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lmroute.engine.live import Live
    from lmroute.model import Stack
    from lmroute.routing.policy import CompiledPolicy, CompiledRule
    from lmroute.telemetry.sinks.sink import SafeSink

_LIVE_ORDERS = frozenset({Order.LATENCY, Order.LOAD})


@dataclass(frozen=True, slots=True)
class Routing:
    """A configuration at work.

    Attributes:
        name: ``policy@hash``.
        children: an engine for each provider id.
        draws_lots: whether requests are shared out by lot.
        pinned: the rules that stay with the candidate that answers first.
        looking: the rules whose decisions look at the load or the latencies of the moment.
    """

    stack: Stack
    policy: CompiledPolicy
    name: str
    children: Mapping[str, Any]
    live: Live
    sink: SafeSink
    vocabulary: Vocabulary
    draws_lots: bool
    pinned: frozenset[str]
    looking: frozenset[str]

    @classmethod
    def of(cls, stack: Stack, children: Mapping[str, Any], live: Live, sink: SafeSink) -> Routing:
        """The routing of a stack over these children."""
        policy = compile_policy(stack.policy, stack.providers, stack.seed)
        looking = {rule.name for rule in policy.rules if _is_looking(rule)}
        if any(profile.concurrency is not None for profile in stack.providers.values()):
            looking.add(CALLER_CHOICE)
        return cls(
            stack=stack,
            policy=policy,
            name=stack_name(stack),
            children=children,
            live=live,
            sink=sink,
            vocabulary=Vocabulary.of(stack.policy),
            draws_lots=policy.draws_lots,
            pinned=frozenset(rule.name for rule in policy.rules if rule.pin),
            looking=frozenset(looking),
        )


def _is_looking(rule: CompiledRule) -> bool:
    return rule.is_limited or any(group.order in _LIVE_ORDERS for group in rule.groups)
