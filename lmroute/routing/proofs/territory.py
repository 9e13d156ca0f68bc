"""A policy spread out over a space of requests: which of them each rule decides, and who may not serve which."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lmroute.model import AUTO, Candidate
from lmroute.routing.classes import overflow_at
from lmroute.routing.policy import CALLER_CHOICE, compile_policy, in_order
from lmroute.routing.proofs.covering import uncovered
from lmroute.routing.proofs.space import TooComplex
from lmroute.routing.selectors import choosable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lmroute.model import Policy, Predicate, Profile
    from lmroute.routing.policy import CompiledPolicy, CompiledRule, Option
    from lmroute.routing.proofs.space import Boxes, Space

Key = tuple[str, ...]
"""Where something stands in the policy's document: ``("rules", "2")``."""


@dataclass(frozen=True)
class Holding:
    """A rule and the requests it decides: those of ``boxes`` that no box of ``earlier`` has.

    Attributes:
        key: where it stands in the policy's document.
        wanted: the requests for which its ``when`` holds.
        boxes: those of ``wanted`` of which something is left by the rules that are asked before it; none where it
            never decides.
        earlier: what these take of them.
    """

    rule: CompiledRule
    key: Key
    wanted: Boxes
    boxes: Boxes
    earlier: Boxes


@dataclass(frozen=True)
class Territory:
    """A policy over a space that is cut finely enough for it."""

    policy: CompiledPolicy
    space: Space

    @classmethod
    def of(cls, policy: Policy, providers: Mapping[str, Profile], space: Space, seed: int = 0) -> Territory:
        """The territory of a policy that nobody has compiled yet."""
        return cls(compile_policy(policy, providers, seed), space)

    @cached_property
    def holdings(self) -> tuple[Holding, ...]:
        """The rules in the order they are asked, the policy's default last."""
        source = self.policy.source
        numbers = {id(rule): str(number) for number, rule in enumerate(source.rules)}
        found: list[Holding] = []
        earlier: Boxes = []
        for rule, written in zip(self.policy.rules, in_order(source), strict=True):
            key = ("rules", numbers[id(written)]) if id(written) in numbers else ("default",)
            wanted = self.requests(written.when, key, written.name)
            found.append(Holding(rule, key, wanted, *self._left(wanted, earlier)))
            earlier += wanted
        return tuple(found)

    def _left(self, wanted: Boxes, earlier: Boxes) -> tuple[Boxes, Boxes]:
        """The boxes that have something left, and those that take something of these."""
        layout = self.space.layout
        left = [box for box in wanted if uncovered(layout, [box], earlier) is not None]
        return left, [other for other in earlier if any(layout.inhabited(box & other) for box in left)]

    @cached_property
    def decided(self) -> Boxes:
        """The requests that some rule is for, as boxes that overlap."""
        return [box for holding in self.holdings for box in holding.wanted]

    @cached_property
    def guarded(self) -> dict[str, Boxes]:
        """The requests that each guarantee is about."""
        guarantees = enumerate(self.policy.source.guarantees)
        return {each.name: self.requests(each.when, ("guarantees", str(at)), each.name) for at, each in guarantees}

    @cached_property
    def offered(self) -> Boxes:
        """The requests for which callers may choose by themselves."""
        choice = self.policy.source.caller_choice
        return self.requests(choice.when, ("caller_choice",), CALLER_CHOICE) if choice else []

    def requests(self, when: Predicate, key: Key, name: str) -> Boxes:
        """The requests of a condition. Raises ``TooComplex``, which says where it stands."""
        try:
            return self.space.boxes(when)
        except TooComplex:
            raise TooComplex(key, name) from None

    @cached_property
    def choices(self) -> tuple[Candidate, ...]:
        """Whom a caller may choose, each by its full name; ``auto`` stands for every model that is not listed, too."""
        allowed = (
            [option.candidate for option in self.policy.caller_choice.options] if self.policy.caller_choice else []
        )
        models = {name: profile.models for name, profile in self.policy.providers.items()}
        listed = (
            Candidate(c.provider, m) for c in allowed for m in (c.model, *(models[c.provider] * (c.model == AUTO)))
        )
        return tuple(dict.fromkeys(filter(self._is_known, listed)))

    def lets_choose(self, candidate: Candidate) -> bool:
        """Whether a caller may choose a candidate for some request."""
        anyhow = Candidate(candidate.provider, AUTO)
        return candidate in self.choices or (anyhow in self.choices and self._is_known(candidate))

    def _is_known(self, candidate: Candidate) -> bool:
        return candidate in choosable(str(candidate), self.policy.providers)

    def unserved(self, option: Option) -> Boxes:
        """The requests that a candidate may not or cannot serve, servers and budgets aside."""
        guarded = [box for name, _ in option.forbidden for box in self.guarded[name]]
        return [*guarded, *self.unable(option.profile)]

    def unable(self, profile: Profile) -> Boxes:
        """The requests that a provider cannot serve: it is disabled, lacks a capability, or its window is too small."""
        if not profile.enabled:
            return [self.space.layout.everything]
        capabilities = profile.capabilities
        lacking = {
            "needs_tools": capabilities.tools,
            "needs_vision": capabilities.vision,
            "needs_reasoning": capabilities.reasoning,
        }
        boxes = [self.space.where(name, True) for name, able in lacking.items() if not able]
        if profile.context_window is not None:
            boxes.append(self.space.at_least("total_tokens", overflow_at(profile.context_window)))
        return boxes
