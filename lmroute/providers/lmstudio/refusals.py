"""What LM Studio's refusals of ``/api/v1/models/…`` mean, with what to do about each.

model_not_found (404)          the name is none of a model on disk, or none on offer
model_load_failed (500)        the guardrails stopped it, or its engine did not come up
401, 403                       see ``tokens``
"Unexpected endpoint" (200)    a release before 0.4
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from lmroute.errors import ModelMissing, ProviderUnavailable, TokenRefused
from lmroute.providers.http import message_of
from lmroute.providers.lmstudio.meanings import without_token
from lmroute.providers.lmstudio.tokens import REFUSED, refusal
from lmroute.redact import one_line

if TYPE_CHECKING:
    from lmroute.providers.http import Reply
    from lmroute.providers.inventory import Line

Deed: TypeAlias = Literal["load", "unload", "download"]
_BY_HAND: dict[Deed, str] = {"load": "lms load", "unload": "lms unload", "download": "lms get"}
"""LM Studio's own program does the same with any release."""
_TOO_OLD = re.compile("unexpected endpoint", re.IGNORECASE)
_NO_ROOM = re.compile("insufficient system resources|guardrail|out of memory", re.IGNORECASE)
_LOAD_FAILED = "model_load_failed"
_MAKE_ROOM = (
    "make room (lmroute models unload), ask for a smaller window (--context-length) or a smaller quantization,"
    " or relax the model loading guardrails in LM Studio's settings"
)
_LOOK = "LM Studio's own log tells more (Developer page, or: lms log stream); a smaller --context-length may help"


def too_old(deed: Deed) -> str:
    """That a release before 0.4 cannot be told to do something, and how to do it by hand."""
    return f"that takes LM Studio 0.4 or newer; {deed} it in the app, or with: {_BY_HAND[deed]}"


def accepted(line: Line, reply: Reply, failed: str, unknown: str = "", *, deed: Deed = "load") -> dict[str, Any]:
    """The answer to an accepted request.

    Args:
        failed: what did not come about, as the message begins.
        unknown: what to do when the server does not know the name.
        deed: what was asked of it.

    Raises:
        TokenRefused: the token may not do this, or there is none.
        ModelMissing: the server does not know the name.
        ProviderUnavailable: any other refusal.
    """
    if reply.ok and isinstance(reply.body, dict):
        return reply.body
    reason = reason_of(reply)
    if reply.status in REFUSED:
        why = refusal(line.token, reply.status, line.profile)
        raise TokenRefused(_told(f"{failed}: HTTP {reply.status}: {why.what}", why.advice))
    kinds = _kinds(reply.body)
    if "model_not_found" in kinds:
        raise ModelMissing(_told(f"{failed}: {reason}", unknown))
    if _TOO_OLD.search(reason):
        raise ProviderUnavailable(f"{failed}: {too_old(deed)}")
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
