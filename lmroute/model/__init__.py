"""The words of the field as frozen data: what a configuration decodes to and what a decision is made of.

Nothing here does I/O or imports a third party. Times are seconds, prices are US dollars per million tokens, windows
are tokens. ``None`` always means "not stated", never zero.
"""

from lmroute.model.decision import Attempt, Candidate, Considered, Decision
from lmroute.model.policy import Failure, Named, Order, Policy, Rule, Selector, Use
from lmroute.model.predicate import ALWAYS, AllOf, AnyOf, Not, Operator, Predicate, Test
from lmroute.model.provider import AUTO, Capabilities, Cost, JsonMode, Locality, Profile, Timeouts
from lmroute.model.request import Attributes, Privacy
from lmroute.model.secret import Secret, SecretRef, SecretSource
from lmroute.model.stack import Stack, TaskSpec

__all__ = [
    "ALWAYS",
    "AUTO",
    "AllOf",
    "AnyOf",
    "Attempt",
    "Attributes",
    "Candidate",
    "Capabilities",
    "Considered",
    "Cost",
    "Decision",
    "Failure",
    "JsonMode",
    "Locality",
    "Named",
    "Not",
    "Operator",
    "Order",
    "Policy",
    "Predicate",
    "Privacy",
    "Profile",
    "Rule",
    "Secret",
    "SecretRef",
    "SecretSource",
    "Selector",
    "Stack",
    "TaskSpec",
    "Test",
    "Timeouts",
    "Use",
]
