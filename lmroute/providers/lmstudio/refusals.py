"""What LM Studio's refusals of ``/api/v1/models/…`` mean, with what to do about each.

model_not_found (404)          the name is none of a model on disk, or none on offer
model_load_failed (500)        the guardrails stopped it, or its engine did not come up
401, 403                       no token, one of a wrong shape, an unknown one, or one that may not do this
"Unexpected endpoint" (200)    a release before 0.4
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lmroute.errors import ModelMissing, ProviderUnavailable, TokenRefused
from lmroute.providers.http import message_of
from lmroute.providers.lmstudio.meanings import without_token
from lmroute.redact import one_line

if TYPE_CHECKING:
    from lmroute.model import Secret
    from lmroute.providers.http import Reply
    from lmroute.providers.inventory import Line

TOO_OLD = "that takes LM Studio 0.4 or newer; load it in the app, or with: lms load"
VARIABLES = "LM_API_TOKEN or LMSTUDIO_API_TOKEN"
"""What LM Studio's own programs call the variable: the first its command line, the second its Python package."""

_TOKEN_SHAPE = re.compile(r"sk-lm-[A-Za-z0-9]{8}:[A-Za-z0-9]{20}")
REFUSED = frozenset({401, 403})
_TOO_OLD = re.compile("unexpected endpoint", re.IGNORECASE)
_NO_ROOM = re.compile("insufficient system resources|guardrail|out of memory", re.IGNORECASE)
_LOAD_FAILED = "model_load_failed"
_MAKE_ROOM = (
    "make room (lmroute models unload), ask for a smaller window (--context-length) or a smaller quantization,"
    " or relax the model loading guardrails in LM Studio's settings"
)
_LOOK = "LM Studio's own log tells more (Developer page, or: lms log stream); a smaller --context-length may help"


def accepted(line: Line, reply: Reply, failed: str, unknown: str = "") -> dict[str, Any]:
    """The answer to an accepted request.

    Args:
        failed: what did not come about, as the message begins.
        unknown: what to do when the server does not know the name.

    Raises:
        TokenRefused: the token may not do this, or there is none.
        ModelMissing: the server does not know the name.
        ProviderUnavailable: any other refusal.
    """
    if reply.ok and isinstance(reply.body, dict):
        return reply.body
    reason = reason_of(reply)
    if reply.status in REFUSED:
        raise TokenRefused(_told(f"{failed}: {reason}", _token_advice(line, reply.status)))
    kinds = _kinds(reply.body)
    if "model_not_found" in kinds:
        raise ModelMissing(_told(f"{failed}: {reason}", unknown))
    if _TOO_OLD.search(reason):
        raise ProviderUnavailable(f"{failed}: {TOO_OLD}")
    if _LOAD_FAILED in kinds:
        raise ProviderUnavailable(_told(f"{failed}: {reason}", _MAKE_ROOM if _NO_ROOM.search(reason) else _LOOK))
    raise ProviderUnavailable(f"{failed}: {reason}")


def reason_of(reply: Reply) -> str:
    """What the server says of a refusal, in a line."""
    return one_line(without_token(message_of(reply.body))) or f"HTTP {reply.status}"


def is_unknown_job(reply: Reply) -> bool:
    """Whether the server says that it knows no such download."""
    return "job_not_found" in _kinds(reply.body)


def _told(message: str, advice: str) -> str:
    return f"{message}\n  help: {advice}" if advice else message


def _kinds(body: Any) -> set[Any]:
    """Type and code of an error; LM Studio puts the same words into either."""
    error = body.get("error") if isinstance(body, dict) else None
    return {error.get("type"), error.get("code")} if isinstance(error, dict) else set()


def _token_advice(line: Line, status: int) -> str:
    where = _where(line)
    if line.token is None:
        return f"no token was sent; make one in LM Studio (Developer, Server Settings, Manage Tokens) and {where}"
    if not _has_token_shape(line.token):
        return f"a token begins with sk-lm- and has a colon in it, this one does not; {where}"
    if status == 403:  # noqa: PLR2004  the server knows the token, and says no
        return "allow it for this token in LM Studio (Developer, Server Settings, Manage Tokens)"
    return f"LM Studio does not know this token (any more); make a new one under Manage Tokens and {where}"


def _where(line: Line) -> str:
    ref, field = line.profile.auth_token, f"providers.{line.profile.id}.auth_token"
    if ref is None:
        return f"put it into {VARIABLES}, and write {field}: {{env: [LM_API_TOKEN, LMSTUDIO_API_TOKEN]}}"
    if ref.source == "env":
        return f"put it into the environment variable {' or '.join(ref.names)} ({field})"
    return f"put it where {field} looks: {ref}"


def _has_token_shape(token: Secret) -> bool:
    return _TOKEN_SHAPE.fullmatch(token.reveal()) is not None
