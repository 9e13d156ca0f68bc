"""Why a request is refused before anybody is asked, and the guard that is asked once more before each call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dspy import lm15

from lmroute import redact
from lmroute.engine.verdicts import GuaranteeError, classify
from lmroute.model import Failure
from lmroute.routing.eligibility import GUARANTEE, LACKS, OVERFLOW

if TYPE_CHECKING:
    from lmroute.engine.choice import Choice
    from lmroute.model import Attributes
    from lmroute.routing.policy import CompiledPolicy

NO_CANDIDATE = "no_candidate"
"""The ``errorCode`` of a call that nobody was eligible for."""

_NOBODY_SELECTED = "none of the selected providers is one that this rule uses; select one that is"
_CODES = frozenset({Failure.GUARANTEE, Failure.INVALID_REQUEST})


def guard(policy: CompiledPolicy, provider: str, attributes: Attributes) -> None:
    """Let nobody be asked whom a guarantee forbids, whatever was decided.

    Raises:
        GuaranteeError: one does.
    """
    if guarantee := policy.forbids(provider, attributes):
        raise GuaranteeError(
            f"policy {policy.name}: guarantee '{guarantee}' forbids to ask {provider} for such a request",
            provider=provider,
        )


def refusal(choice: Choice, name: str) -> lm15.LM15Error:
    """The error of a call that nobody may be asked for. ``name`` is the configuration's."""
    decision = choice.decision
    if choice.problem:
        return lm15.InvalidRequestError(redact.text(f"policy {name}: {choice.problem}"))
    if decision.refused:
        kind = GuaranteeError if choice.is_forbidden() else lm15.ConfigurationError
        return kind(redact.text(f"policy {name}: {decision.refused}"))
    if not decision.rule:
        return lm15.ConfigurationError(f"policy {name}: no rule matches this request")
    return _nobody_left(choice, f"policy {name}, rule {decision.rule}")


def _nobody_left(choice: Choice, where: str) -> lm15.LM15Error:
    """The error of a call that something speaks against for every candidate."""
    considered = choice.decision.considered
    reasons = "; ".join(f"{c.candidate}: {c.dropped}" for c in considered) or _NOBODY_SELECTED
    message = f"{where}: no candidate may serve this request ({reasons})"
    if considered and all(c.dropped.startswith(GUARANTEE) for c in considered):
        return GuaranteeError(message)
    if any(c.dropped.startswith(OVERFLOW) for c in considered):
        return lm15.ContextLengthError(message)
    if (wait_s := choice.throttled_for()) is not None:
        return lm15.RateLimitError(message, retry_after=wait_s)
    return lm15.ConfigurationError(message + _unpromised(choice))


def _unpromised(choice: Choice) -> str:
    """What to write where a model can what its profile does not say."""
    lacks = {reason: name for name, reason in LACKS.items()}
    missing = [(c.candidate.provider, lacks[c.dropped]) for c in choice.decision.considered if c.dropped in lacks]
    fields = [f"++providers.{provider}.capabilities.{name}=true" for provider, name in dict.fromkeys(missing)]
    if not fields:
        return ""
    return f"; that is what the profile says: if the model can (lmroute models shows it), write {' or '.join(fields)}"


def code_of(error: lm15.LM15Error) -> str:
    """The ``errorCode`` of a call that was refused with this error."""
    failure = classify(error)
    return failure.value if failure in _CODES else NO_CANDIDATE
