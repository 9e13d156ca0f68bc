"""The words of the field as frozen data: what a configuration decodes to and what a decision is made of.

Nothing here does I/O or imports a third party. Times are seconds, prices are US dollars per million tokens, windows
are tokens. ``None`` always means "not stated", never zero.
"""

from lmroute.model.decision import Attempt, Candidate, Considered, Decision
from lmroute.model.facts import NOTHING_KNOWN, Facts
from lmroute.model.observing import Health, Otlp, Semconv, Telemetry
from lmroute.model.policy import (
    FALLBACK,
    Budget,
    CallerChoice,
    Failure,
    Guarantee,
    Named,
    Order,
    Period,
    Policy,
    Rule,
    Selector,
    Traits,
    Use,
)
from lmroute.model.predicate import ALWAYS, AllOf, AnyOf, Not, Operator, Predicate, Test
from lmroute.model.provider import AUTO, Capabilities, Cost, JsonMode, Load, LoadMode, Locality, Profile, Timeouts
from lmroute.model.request import BOUNDABLE, BUILT_IN, LOTS, Attributes, Domain, Kind, Privacy, shown
from lmroute.model.secret import Secret, SecretRef, SecretSource
from lmroute.model.stack import Stack, TaskSpec

__all__ = [
    "ALWAYS",
    "AUTO",
    "BOUNDABLE",
    "BUILT_IN",
    "FALLBACK",
    "LOTS",
    "NOTHING_KNOWN",
    "AllOf",
    "AnyOf",
    "Attempt",
    "Attributes",
    "Budget",
    "CallerChoice",
    "Candidate",
    "Capabilities",
    "Considered",
    "Cost",
    "Decision",
    "Domain",
    "Facts",
    "Failure",
    "Guarantee",
    "Health",
    "JsonMode",
    "Kind",
    "Load",
    "LoadMode",
    "Locality",
    "Named",
    "Not",
    "Operator",
    "Order",
    "Otlp",
    "Period",
    "Policy",
    "Predicate",
    "Privacy",
    "Profile",
    "Rule",
    "Secret",
    "SecretRef",
    "SecretSource",
    "Selector",
    "Semconv",
    "Stack",
    "TaskSpec",
    "Telemetry",
    "Test",
    "Timeouts",
    "Traits",
    "Use",
    "shown",
]
