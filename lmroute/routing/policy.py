"""Compile a policy against its providers, once: sorted rules, closures for conditions, expanded candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmroute.model import Considered, Decision
from lmroute.routing.conditions import Condition, compile_predicate
from lmroute.routing.selectors import expand

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lmroute.model import Attributes, Candidate, Failure, Policy, Profile, Rule


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule ready to be asked.

    Attributes:
        candidates: each candidate with its provider's profile.
        undisputed: the decision when nothing speaks against any candidate, which is most of the time.
    """

    name: str
    holds: Condition
    candidates: tuple[tuple[Candidate, Profile], ...]
    fallback_on: frozenset[Failure] | None
    undisputed: Decision


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """A policy's rules in the order they are asked."""

    name: str
    rules: tuple[CompiledRule, ...]

    def rule_for(self, attributes: Attributes) -> CompiledRule | None:
        """The first rule whose condition holds, or ``None``."""
        for rule in self.rules:
            if rule.holds(attributes):
                return rule
        return None

    def providers_in_use(self) -> tuple[str, ...]:
        """Ids of all providers that some rule can reach, in the order of first mention."""
        return tuple(dict.fromkeys(c.provider for rule in self.rules for c, _ in rule.candidates))


def compile_policy(policy: Policy, providers: Mapping[str, Profile]) -> CompiledPolicy:
    """Compile ``policy`` for these providers. Lower ``priority`` is asked first; ties keep the order of the file."""
    ordered = sorted(policy.rules, key=lambda rule: rule.priority)
    return CompiledPolicy(policy.name, tuple(_compile_rule(rule, providers) for rule in ordered))


def _compile_rule(rule: Rule, providers: Mapping[str, Profile]) -> CompiledRule:
    candidates = tuple((c, providers[c.provider]) for c in expand(rule.use, providers))
    undisputed = Decision(rule.name, tuple(Considered(c) for c, _ in candidates), rule.fallback_on)
    return CompiledRule(rule.name, compile_predicate(rule.when), candidates, rule.fallback_on, undisputed)
