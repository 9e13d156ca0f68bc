"""What an error means for routing: one table from ``dspy.lm15`` error classes to failures, and which of them fall back.

A failure falls back when another server may well do better. A request that a server calls malformed is malformed
everywhere, and an unknown exception is a bug, not a reason to try elsewhere.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dspy import lm15

from lmroute import redact
from lmroute.model import Failure
from lmroute.providers.lmstudio import meaning_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dspy.lm15 import Request

    from lmroute.model import Attempt, Profile


_SHARED_RUN, _SHORTEST_WHOLE = 20, 4
"""So many characters in a row make a quote; of a shorter text all of it does, unless it is hardly a word."""
QUOTED = "(the server quoted the request; not recorded)"


class ModelSubstitutedError(lm15.UnsupportedModelError):
    """Another model answered than the one asked for."""


class NotReadyError(lm15.TransportError):
    """The provider could not be made ready: no weights, no loadable model, no listing."""


class GuaranteeError(lm15.InvalidRequestError):
    """A guarantee of the policy forbids what was asked for. Nobody else is asked instead."""


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
    meaning = meaning_of(f"{error.message} {error.provider_code or ''}")
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
    return rebuilt(error, type(error), f"{advice} (LM Studio: {told})")


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
    return new


def one_line(error: Exception, longest: int = 300) -> str:
    """An error's text without lm15's how-to-fix block, redacted, in one line of at most so many characters."""
    text = str(getattr(error, "message", "") or error).partition("\n\n")[0]
    return redact.text(" ".join(text.split()))[:longest] or type(error).__name__


def unquoted(message: str, request: Request) -> str:
    """The message if it holds no text of the request; records promise not to. Else that it did.

    Args:
        message: in one line, and short: the texts are searched for each of its runs.
    """
    runs = [message[at : at + _SHARED_RUN] for at in range(len(message) - _SHARED_RUN + 1)]
    for told in _texts(request):
        text = " ".join(told.split())
        if len(text) >= _SHARED_RUN:
            is_quoted = any(run in text for run in runs)
        else:
            is_quoted = len(text) >= _SHORTEST_WHOLE and text in message
        if is_quoted:
            return QUOTED
    return message


def _texts(request: Request) -> Iterator[str]:
    """All that a request says, text by text."""
    if isinstance(request.system, str):
        yield request.system
    else:
        yield from _texts_of(request.system or ())
    for message in request.messages:
        yield from _texts_of(message.parts)


def _texts_of(parts: Iterable[Any]) -> Iterator[str]:
    for part in parts:
        if part.type == "tool_call":
            yield from _written(part.input)
        elif part.type == "tool_result":
            yield from _texts_of(part.content)
        elif part.type == "data":
            yield from _written(part.value)
        else:
            yield getattr(part, "text", None) or ""


def _written(value: Any) -> Iterator[str]:
    """A JSON value as it is sent, and the texts in it, which a server may quote alone."""
    yield json.dumps(value, ensure_ascii=False, default=str)
    yield from _leaves(value)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)


def exhausted(attempts: Sequence[Attempt], errors: Sequence[lm15.LM15Error]) -> lm15.LM15Error:
    """The error of a call whose every attempt failed: it names all that was tried.

    Its class is the last error's, except that a context overflow anywhere wins: DSPy's ReAct shortens its trajectory
    on that class, which is the one cure the caller has.
    """
    decisive = next((e for e in errors if isinstance(e, lm15.ContextLengthError)), errors[-1])
    failed = zip(attempts, errors, strict=True)  # not the attempts' messages: what the caller sees is kept as it was
    tried = "; ".join(f"{a.candidate}: {a.failure} ({one_line(e)})" for a, e in failed)
    return rebuilt(decisive, _CLASSES[classify(decisive)], f"no provider answered. Tried {tried}")
