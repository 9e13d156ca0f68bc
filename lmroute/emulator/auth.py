"""API tokens: who is let in, and in which words the others are turned away."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from lmroute.emulator.control.journal import is_control
from lmroute.emulator.faults import faults_of
from lmroute.emulator.refusals import Refused
from lmroute.emulator.settings import TOKEN_SHAPE
from lmroute.emulator.transport.wire import json_response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from lmroute.emulator.settings import Token

GREETING_PATH = "/lmstudio-greeting"
MESSAGES_PATH = "/v1/messages"

_MISSING = (
    "An LM Studio API token is required to make requests to this server, but none was provided using the "
    "Authorization header using the 'Bearer' scheme (i.e., 'Authorization: Bearer $LM_API_TOKEN'). "
    "Learn more at: https://lmstudio.ai/docs/developer/core/authentication."
)
_UNKNOWN = "Invalid LM Studio API token provided. Ensure you are using a valid token."
_FORBIDDEN = (
    "Permission denied to use '{path}'. Ensure that the server configuration allows it and, "
    "if using an API token, it has the necessary permissions."
)


class Gate:
    """ASGI middleware that asks for a token; the greeting is free, so that the server can be recognised.

    A fault can close the greeting too. What controls the emulator never asks for LM Studio's tokens.
    """

    def __init__(self, app: ASGIApp, tokens: Sequence[Token]) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass or turn it away."""
        app = self._app
        if scope["type"] == "http" and not _is_free(scope):
            refused = check(self._tokens, scope["method"], scope["path"], Headers(scope=scope))
            app = json_response(refused.body, refused.status) if refused else app
        await app(scope, receive, send)


def _is_free(scope: Scope) -> bool:
    if scope["path"] == GREETING_PATH:
        return not faults_of(scope).greeting_needs_token
    return is_control(scope["path"])


def check(tokens: Sequence[Token], method: str, path: str, headers: Headers) -> Refused | None:
    """Why this request is turned away; ``None`` when it may pass. The words for an unknown token are ours."""
    presented = _presented(path, headers)
    if not presented:
        return _unauthorized(_MISSING)
    if not TOKEN_SHAPE.fullmatch(presented):
        # LM Studio echoes the first ten characters.
        return _unauthorized(
            f"Malformed LM Studio API token provided: {presented[:10]}**************. "
            "Ensure you are using a valid token."
        )
    known = [token for token in tokens if hmac.compare_digest(token.secret.reveal(), presented)]
    if not known:
        return _unauthorized(_UNKNOWN)
    if known[0].read_only and method != "GET":
        body = {
            "message": _FORBIDDEN.format(path=path),
            "type": "invalid_request",
            "param": None,
            "code": None,
        }
        return Refused(403, {"error": body})
    return None


def _presented(path: str, headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key", "") if path == MESSAGES_PATH else ""


def _unauthorized(message: str) -> Refused:
    return Refused(401, {"error": {"type": "invalid_request", "code": "invalid_api_key", "message": message}})
