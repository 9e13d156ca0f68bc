"""What is wrong with an API token that LM Studio refuses, and what to do: the same words wherever it refuses.

Tokens are there since 0.4.0, off by default, and look like sk-lm-, 8 letters or digits, a colon, and 20 more of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmroute.model import Profile, Secret

REFUSED = frozenset({401, 403})
VARIABLES = "LM_API_TOKEN or LMSTUDIO_API_TOKEN"
"""What LM Studio's own programs call the variable: the first its command line, the second its Python package."""

_SHAPE = re.compile(r"sk-lm-[A-Za-z0-9]{8}:[A-Za-z0-9]{20}")
_MANAGE = "Developer, Server Settings, Manage Tokens"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is wrong, without a word of the token; and what to do."""

    what: str
    advice: str


def refusal(token: Secret | None, status: int, profile: Profile) -> Refusal:
    """Why LM Studio refuses with ``status``, 401 or 403.

    Args:
        token: what was sent with the request.
    """
    where = _where(profile)
    if token is None:
        return Refusal(
            "API tokens are required there, and no token was sent", f"make one in LM Studio ({_MANAGE}) and {where}"
        )
    if token.reveal().casefold().startswith("bearer "):
        return Refusal(
            "the key that was sent begins with 'Bearer '",
            f"leave out 'Bearer ', which lmroute writes by itself: only the token, and {where}",
        )
    if not _SHAPE.fullmatch(token.reveal()):
        return Refusal(
            "the key that was sent has not the shape of an LM Studio token",
            f"a token begins with sk-lm- and has a colon in it, this one does not; make one ({_MANAGE}) and {where}",
        )
    if status == 403:  # noqa: PLR2004  the server knows the token, and says no
        field = f"providers.{profile.id}.auth_token"
        return Refusal("the token may not do this", f"allow it for the token of {field} in LM Studio ({_MANAGE})")
    return Refusal("LM Studio does not know this token, or not any more", f"make a new one ({_MANAGE}) and {where}")


def _where(profile: Profile) -> str:
    ref, field = profile.auth_token, f"providers.{profile.id}.auth_token"
    if ref is None:
        return f"put it into {VARIABLES}, and write {field}: {{env: [LM_API_TOKEN, LMSTUDIO_API_TOKEN]}}"
    if ref.source == "env":
        return f"put it into the environment variable {' or '.join(ref.names)} ({field})"
    return f"put it where {field} looks: {ref}"
