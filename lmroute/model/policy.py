"""Routing policies: ordered rules, each with the candidates it allows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from lmroute.model.predicate import ALWAYS, Predicate

if TYPE_CHECKING:
    from lmroute.model.provider import Locality, Profile


class Order(StrEnum):
    """How a selector sorts what it selects."""

    DECLARED = "declared"
    """As the providers are listed on the command line or in config.yaml."""
    COST = "cost"
    """Cheapest first; unknown prices last; ties as declared."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Candidates by trait. An empty set asks nothing; several sets must all agree.

    Attributes:
        tags: the provider must carry at least one of them.
    """

    locality: frozenset[Locality] = frozenset()
    types: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    order: Order = Order.DECLARED

    def matches(self, profile: Profile) -> bool:
        """Whether a provider has the traits that are asked for."""
        return (
            (not self.locality or profile.locality in self.locality)
            and (not self.types or profile.type in self.types)
            and (not self.tags or not self.tags.isdisjoint(profile.tags))
        )


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


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a policy: the first one whose ``when`` holds decides.

    Attributes:
        priority: lower numbers are asked first; equal ones in the order of the file.
        fallback_on: failures after which the next candidate is tried; ``None`` means the verdict table's own.
    """

    name: str
    use: tuple[Use, ...]
    when: Predicate = ALWAYS
    priority: int = 100
    fallback_on: frozenset[Failure] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A routing policy. ``deadline_s`` bounds one logical call over all its attempts."""

    name: str
    rules: tuple[Rule, ...]
    description: str = ""
    deadline_s: float = 300.0
