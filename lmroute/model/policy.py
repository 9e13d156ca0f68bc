"""Routing policies: ordered rules, each with the candidates it allows, and what must hold whatever they say."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from lmroute.model.predicate import ALWAYS, Predicate
from lmroute.model.request import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lmroute.model.provider import Locality, Profile
    from lmroute.model.request import Domain


class Order(StrEnum):
    """How a selector sorts what it selects."""

    DECLARED = "declared"
    """As the providers are listed on the command line or in config.yaml."""
    COST = "cost"
    """Cheapest first; unknown prices last."""
    LATENCY = "latency"
    """Quickest first, as its calls of late went; who has not been asked yet comes first, to be known."""
    LOAD = "load"
    """Fewest calls under way first."""
    WEIGHTED = "weighted"
    """Shared out by weight: the same request goes the same way in every run with the same seed."""


@dataclass(frozen=True, slots=True)
class Traits:
    """Providers by trait. An empty set asks nothing; several sets must all agree.

    Attributes:
        tags: the provider must carry at least one of them.
        providers: ids.
    """

    locality: frozenset[Locality] = frozenset()
    types: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()

    def matches(self, profile: Profile) -> bool:
        """Whether a provider has the traits that are asked for."""
        return (
            (not self.locality or profile.locality in self.locality)
            and (not self.types or profile.type in self.types)
            and (not self.tags or not self.tags.isdisjoint(profile.tags))
            and (not self.providers or profile.id in self.providers)
        )


@dataclass(frozen=True, slots=True)
class Selector(Traits):
    """Candidates by trait, in an order. Ties are as declared.

    Attributes:
        weights: by provider id or ``provider/model``, for ``Order.WEIGHTED``; 1 for whom it does not name.
    """

    order: Order = Order.DECLARED
    weights: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Named:
    """A candidate by name: a provider id, or ``provider/model``."""

    provider: str
    model: str | None = None


Use: TypeAlias = Named | Selector


class Failure(StrEnum):
    """Error classes of an attempt, the vocabulary of ``fallback_on`` and of ``errorCode``."""

    TRANSPORT = "transport"
    TIMEOUT = "timeout"
    RATE_LIMIT = "rate_limit"
    SERVER = "server"
    BAD_REPLY = "bad_reply"
    AUTH = "auth"
    BILLING = "billing"
    NOT_CONFIGURED = "not_configured"
    UNSUPPORTED_MODEL = "unsupported_model"
    UNSUPPORTED_FEATURE = "unsupported_feature"
    CONTEXT_LENGTH = "context_length"
    INVALID_REQUEST = "invalid_request"
    MODEL_SUBSTITUTED = "model_substituted"
    UNAVAILABLE = "unavailable"
    """The provider could not be made ready (embedded weights, a model that would not load)."""
    GUARANTEE = "guarantee"
    """A guarantee of the policy forbids to ask this provider."""


FALLBACK: frozenset[Failure] = frozenset(Failure) - {Failure.INVALID_REQUEST, Failure.GUARANTEE}
"""Failures after which the next candidate is tried, unless the rule says otherwise. After ``context_length`` only
candidates with a larger window are."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a policy: the first one whose ``when`` holds decides.

    Attributes:
        priority: lower numbers are asked first; equal ones in the order of the file.
        fallback_on: failures after which the next candidate is tried; ``None`` means ``FALLBACK``.
        fallback: the name of the rule whose candidates come after this rule's own, whatever its ``when`` says.
        pin: the candidate that answers first answers all later calls of a run that this rule decides.
    """

    name: str
    use: tuple[Use, ...]
    when: Predicate = ALWAYS
    priority: int = 100
    fallback_on: frozenset[Failure] | None = None
    fallback: str | None = None
    pin: bool = False


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What must hold for every request that ``when`` is about, whatever the rules and the caller say.

    Attributes:
        only: nobody without these traits may be asked.
        never: nobody with these traits may be asked.
    """

    name: str
    when: Predicate = ALWAYS
    only: Traits | None = None
    never: Traits | None = None

    def forbids(self, profile: Profile) -> bool:
        """Whether this provider may not be asked for such a request."""
        outside = self.only is not None and not self.only.matches(profile)
        return outside or (self.never is not None and self.never.matches(profile))


class Period(StrEnum):
    """How long a budget is for. Hours and days are those of UTC."""

    RUN = "run"
    HOUR = "hour"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Budget:
    """What the providers of ``select`` may use up together in a period; ``None`` is no limit.

    Attributes:
        tokens: prompt and answer together.
        usd: by the prices of the profiles; where there is none, nothing is counted.
    """

    name: str
    per: Period
    select: Traits = Traits()
    tokens: int | None = None
    usd: float | None = None


@dataclass(frozen=True, slots=True)
class CallerChoice:
    """What a caller may choose by itself, with ``lmroute.task(use=…)``, for the requests of ``when``."""

    use: tuple[Use, ...]
    when: Predicate = ALWAYS


@dataclass(frozen=True, slots=True)
class Policy:
    """A routing policy.

    Attributes:
        deadline_s: bounds one logical call over all its attempts.
        attributes: the attributes that it declares itself, and the words that it knows of ``BOUNDABLE`` ones.
        default: the candidates of a request that no rule is for; empty refuses it on purpose, ``None`` says nothing.
        caller_choice: ``None`` lets no caller choose.
    """

    name: str
    rules: tuple[Rule, ...]
    description: str = ""
    deadline_s: float = 300.0
    attributes: Mapping[str, Domain] = field(default_factory=dict, hash=False)
    default: tuple[Use, ...] | None = None
    guarantees: tuple[Guarantee, ...] = ()
    budgets: tuple[Budget, ...] = ()
    caller_choice: CallerChoice | None = None

    @property
    def domains(self) -> dict[str, Domain]:
        """Every attribute that its predicates may read, by its name there."""
        return {**BUILT_IN, **self.attributes}
