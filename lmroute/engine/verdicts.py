"""What an error means for routing: one table from ``dspy.lm15`` error classes to failures, and which of them fall back.

A failure falls back when another server may well do better. A request that a server calls malformed is malformed
everywhere, and an unknown exception is a bug, not a reason to try elsewhere.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from dspy import lm15

from lmroute import redact
from lmroute.model import Failure
from lmroute.providers import lmstudio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.model import Attempt, Profile


_OWN = "lmroute_words"
"""The attribute of an error that says which of its words are ours; empty for all of them."""
_CODE = re.compile(r"(?=.{1,40}$)[A-Za-z]+(?:_[A-Za-z0-9]+)+")
"""A code has the shape of a name; servers have put sentences there."""
_Error = TypeVar("_Error", bound=lm15.LM15Error)


class ModelSubstitutedError(lm15.UnsupportedModelError):
    """Another model answered than the one asked for."""


class PromptTooLongError(lm15.ContextLengthError):
    """A prompt does not fit into the window that its server tells. Nothing was sent."""


class NotReadyError(lm15.TransportError):
    """The provider could not be made ready: no weights, no loadable model, no listing."""


class GuaranteeError(lm15.InvalidRequestError):
    """A guarantee of the policy forbids what was asked for. Nobody else is asked instead."""


_OURS = (ModelSubstitutedError, PromptTooLongError, NotReadyError, GuaranteeError)
"""Nobody but lmroute raises these."""

# Most specific class first; every class of lm15's tree is here or below one that is.
_FAILURES: tuple[tuple[type[lm15.LM15Error], Failure], ...] = (
    (ModelSubstitutedError, Failure.MODEL_SUBSTITUTED),
    (NotReadyError, Failure.UNAVAILABLE),
    (GuaranteeError, Failure.GUARANTEE),
    (lm15.ContextLengthError, Failure.CONTEXT_LENGTH),
    (lm15.UnsupportedModelError, Failure.UNSUPPORTED_MODEL),
    (lm15.InvalidRequestError, Failure.INVALID_REQUEST),
    (lm15.AuthError, Failure.AUTH),
    (lm15.BillingError, Failure.BILLING),
    (lm15.RateLimitError, Failure.RATE_LIMIT),
    (lm15.TimeoutError, Failure.TIMEOUT),
    (lm15.ServerError, Failure.SERVER),
    (lm15.ProviderError, Failure.BAD_REPLY),
    (lm15.UnsupportedFeatureError, Failure.UNSUPPORTED_FEATURE),
    (lm15.CapabilityError, Failure.UNSUPPORTED_FEATURE),
    (lm15.ConfigurationError, Failure.NOT_CONFIGURED),
    (lm15.ToolDerivationError, Failure.INVALID_REQUEST),
    (lm15.TransportError, Failure.TRANSPORT),
    (lm15.LockTimeoutError, Failure.TRANSPORT),
    (lm15.StreamAssemblyError, Failure.BAD_REPLY),
    (lm15.CollectionLimitError, Failure.BAD_REPLY),
    (lm15.LM15Error, Failure.BAD_REPLY),
)

_UNCLEAR = {Failure.INVALID_REQUEST, Failure.SERVER, Failure.BAD_REPLY, Failure.UNSUPPORTED_MODEL}
"""What lm15 makes of a status or a code, where the text may say otherwise: a failed load calls itself not found."""

_NOT_THE_REQUESTS: dict[int, type[lm15.LM15Error]] = {404: lm15.ProviderError, 409: lm15.ServerError}
"""Statuses that lm15 takes for a bad request where they tell of the place: there is no such path, or it is busy."""

_FORBIDDEN = 403
_TOKENS = "LM Studio > Developer > Server Settings > Manage Tokens"

_CLASSES = {failure: kind for kind, failure in reversed(_FAILURES)}
"""The class that stands for a failure: the first one of the table above."""


def classify(error: lm15.LM15Error) -> Failure:
    """The failure that an lm15 error stands for."""
    return next(failure for kind, failure in _FAILURES if isinstance(error, kind))


def refine(error: lm15.LM15Error) -> lm15.LM15Error:
    """The same error under the class that its text reveals: local servers say everything with HTTP 400 or 500."""
    if classify(error) not in _UNCLEAR:
        return error
    meaning = lmstudio.meaning_of(f"{error.message} {error.provider_code or ''}")
    kind = _NOT_THE_REQUESTS.get(error.status or 0)
    if meaning is None and kind is not None and classify(error) is Failure.INVALID_REQUEST:
        return rebuilt(error, kind, error.message)
    if meaning is None or meaning is classify(error):
        return error
    return rebuilt(error, _CLASSES[meaning], error.message)


def advised(error: lm15.LM15Error, profile: Profile) -> lm15.LM15Error:
    """LM Studio's refusal of a token with what to do about it in this configuration; any other error as it is."""
    if profile.type != "lmstudio" or classify(error) is not Failure.AUTH or error.status is None:
        return error  # without a status it is lmroute's own word about the list of models, and says it all
    place, ref = f"providers.{profile.id}.auth_token", profile.auth_token
    if error.status == _FORBIDDEN:
        advice = f"the token ({ref or 'none'}) lacks the permission; grant it under {_TOKENS}"
    elif ref is None:
        advice = f"the server wants an API token: create one under {_TOKENS}, put it into LM_API_TOKEN and name"
        advice += f" that under {place}"
    else:
        advice = f"the server wants an API token and got none or another one: check {ref} ({place}) against {_TOKENS}"
    told = error.message.partition("\n\n")[0]
    return own(rebuilt(error, type(error), f"{advice} (LM Studio: {told})"), advice)


def rebuilt(error: lm15.LM15Error, kind: type[lm15.LM15Error], message: str) -> lm15.LM15Error:
    """An error of another class or text that keeps what the server told: provider, status, request id, retry hint."""
    new = kind(
        message,
        provider=error.provider,
        provider_code=error.provider_code,
        status=error.status,
        request_id=error.request_id,
        retry_after=error.retry_after,
    )
    new.__cause__ = error
    if hasattr(error, _OWN) and message == error.message:
        own(new, getattr(error, _OWN))
    return new


def one_line(error: Exception, longest: int = 300) -> str:
    """An error's text without lm15's how-to-fix block, redacted, in one line of at most so many characters."""
    text = str(getattr(error, "message", "") or error).partition("\n\n")[0]
    return redact.text(" ".join(text.split()))[:longest] or type(error).__name__


def own(error: _Error, words: str = "") -> _Error:
    """The same error, marked as lmroute's own words, which may be recorded.

    Args:
        words: those that are, where its message holds others as well.
    """
    setattr(error, _OWN, words)
    return error


def recorded(error: lm15.LM15Error) -> str:
    """What of an error's text may be kept in records and traces, which promise never to hold a prompt.

    Servers quote what they were sent, in any spelling. So of words that nobody marked as ours only known wordings are
    kept, with their numbers.
    """
    words: str | None = getattr(error, _OWN, "" if isinstance(error, _OURS) else None)
    if words is not None:
        return words or one_line(error)
    known = lmstudio.phrase_in(error.message)
    whose = "server" if isinstance(error, lm15.ProviderError) else "library"
    code = str(error.provider_code or "")
    told = [f"HTTP {error.status}"] if error.status else []
    told += [code] if _CODE.fullmatch(code) else []
    return "; ".join([known or f"(the {whose}'s own words; not recorded)", *told])


def exhausted(attempts: Sequence[Attempt], errors: Sequence[lm15.LM15Error]) -> lm15.LM15Error:
    """The error of a call whose every attempt failed: it names all that was tried.

    Its class is the last error's, except that a context overflow anywhere wins: DSPy's ReAct shortens its trajectory
    on that class, which is the one cure the caller has.
    """
    decisive = next((e for e in errors if isinstance(e, lm15.ContextLengthError)), errors[-1])
    failed = zip(attempts, errors, strict=True)  # not the attempts' messages: what the caller sees is kept as it was
    tried = "; ".join(f"{a.candidate}: {a.failure} ({one_line(e)})" for a, e in failed)
    return rebuilt(decisive, _CLASSES[classify(decisive)], f"no provider answered. Tried {tried}")
