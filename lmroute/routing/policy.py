"""Compile a policy against its providers, once: sorted rules, closures for conditions, expanded candidates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lmroute.model import Candidate, Rule
from lmroute.routing.conditions import Condition, compile_predicate
from lmroute.routing.memo import Memo
from lmroute.routing.selectors import Group, groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lmroute.model import Attributes, Failure, Guarantee, Policy, Profile

DEFAULT = "default"
"""The rule of a decision that the policy's own ``default`` made."""

CALLER_CHOICE = "caller_choice"
"""The rule of a decision that the caller made."""


@dataclass(frozen=True, slots=True)
class Option:
    """A candidate of a rule, with all that may speak against it.

    Attributes:
        rule: the rule whose ``use`` names it: the deciding one, or one that it falls back on.
        forbidden: by guarantee, when it is forbidden.
        budgets: names of those that it draws on.
    """

    candidate: Candidate
    profile: Profile
    rule: str
    forbidden: tuple[tuple[str, Condition], ...]
    budgets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule ready to be asked.

    Attributes:
        groups: its candidates and those of the rules that it falls back on, in their order.
        options: the candidates of all groups.
        is_limited: whether one of its candidates takes a limited number of calls at once.
        is_settled: whether the same request gets the same decision as long as the facts stay the same.
    """

    name: str
    holds: Condition
    groups: tuple[Group, ...]
    options: tuple[Option, ...]
    fallback_on: frozenset[Failure] | None
    pin: bool
    is_limited: bool
    is_settled: bool


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """A policy's rules in the order they are asked.

    Attributes:
        source: what it was compiled from.
        guarantees: each with its condition.
        caller_choice: what a caller may choose, and when; ``None`` for nothing.
        seed: of the weighted orders.
    """

    source: Policy
    providers: Mapping[str, Profile]
    rules: tuple[CompiledRule, ...]
    guarantees: tuple[tuple[Guarantee, Condition], ...]
    caller_choice: CompiledRule | None
    seed: int
    memo: Memo = field(compare=False, repr=False)

    @property
    def name(self) -> str:
        """The policy's name."""
        return self.source.name

    def rule_for(self, attributes: Attributes) -> CompiledRule | None:
        """The first rule whose condition holds, or ``None``."""
        for rule in self.rules:
            if rule.holds(attributes):
                return rule
        return None

    def providers_in_use(self) -> tuple[str, ...]:
        """Ids of all providers that some rule can reach, in the order of first mention."""
        return tuple(dict.fromkeys(option.candidate.provider for rule in self.rules for option in rule.options))

    def forbids(self, provider: str, attributes: Attributes) -> str:
        """The guarantee that forbids to ask this provider for such a request; empty when none does.

        Independent of any decision: whoever is about to dial asks it once more.
        """
        profile = self.providers[provider]
        for guarantee, holds in self.guarantees:
            if guarantee.forbids(profile) and holds(attributes):
                return guarantee.name
        return ""

    def option(self, candidate: Candidate) -> Option:
        """A candidate by itself, with all that may speak against it."""
        return _Compiling(self.source, self.providers, self.guarantees).option(candidate, CALLER_CHOICE)

    @property
    def draws_lots(self) -> bool:
        """Whether some decision depends on ``Attributes.lot``."""
        return any(group.weights for rule in self.rules for group in rule.groups)


def in_order(policy: Policy) -> list[Rule]:
    """The rules as they are asked: lower ``priority`` first, ties in the order of the file, ``default`` last."""
    rules = sorted(policy.rules, key=lambda rule: rule.priority)
    return rules if policy.default is None else [*rules, Rule(DEFAULT, policy.default)]


def fallbacks(rule: Rule, policy: Policy) -> Iterator[Rule]:
    """The rules that a rule falls back on, one after the other; a circle ends where it closes."""
    named = {other.name: other for other in in_order(policy)}
    seen = {rule.name}
    while (following := named.get(rule.fallback or "")) and following.name not in seen:
        seen.add(following.name)
        yield following
        rule = following


def compile_policy(policy: Policy, providers: Mapping[str, Profile], seed: int = 0) -> CompiledPolicy:
    """Compile ``policy`` for these providers."""
    domains = policy.domains
    guarantees = tuple((g, compile_predicate(g.when, domains)) for g in policy.guarantees)
    compiling = _Compiling(policy, providers, guarantees)
    choice = policy.caller_choice
    return CompiledPolicy(
        source=policy,
        providers=providers,
        rules=tuple(map(compiling.rule, in_order(policy))),
        guarantees=guarantees,
        caller_choice=compiling.rule(Rule(CALLER_CHOICE, choice.use, choice.when)) if choice else None,
        seed=seed,
        memo=Memo.of(policy, providers),
    )


@dataclass(frozen=True, slots=True)
class _Compiling:
    policy: Policy
    providers: Mapping[str, Profile]
    guarantees: tuple[tuple[Guarantee, Condition], ...]

    def rule(self, rule: Rule) -> CompiledRule:
        found: list[Group] = []
        options: list[Option] = []
        for source in (rule, *fallbacks(rule, self.policy)):
            own = groups(source.use, self.providers, (option.candidate for option in options))
            found += own
            options += [self.option(candidate, source.name) for group in own for candidate in group.candidates]
        limited = any(option.profile.concurrency is not None for option in options)
        settled = not limited and all(group.is_settled for group in found)
        holds = compile_predicate(rule.when, self.policy.domains)
        return CompiledRule(
            rule.name, holds, tuple(found), tuple(options), rule.fallback_on, rule.pin, limited, settled
        )

    def option(self, candidate: Candidate, rule: str) -> Option:
        profile = self.providers[candidate.provider]
        forbidden = tuple((g.name, holds) for g, holds in self.guarantees if g.forbids(profile))
        budgets = tuple(budget.name for budget in self.policy.budgets if budget.select.matches(profile))
        return Option(candidate, profile, rule, forbidden, budgets)
