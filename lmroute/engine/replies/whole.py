"""Answers in one piece. A good one is looked at by pattern only; parsing it is DSPy's engine's work."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from dspy import lm15

from lmroute.engine.replies.errors import as_error, parsed, raised, readable
from lmroute.engine.replies.opening import LEAKED, split
from lmroute.engine.verdicts import own

if TYPE_CHECKING:
    from lmroute.engine.exchange import Exchange
    from lmroute.engine.replies.mending import Mending

MAX_REPLY = 64 * 1024 * 1024
"""Bytes of one answer that are read at most."""

_OK, _ERROR = 200, 400
# In a JSON string the quotes would be escaped, so these are keys; a good answer is not parsed twice.
_SUSPICIOUS = re.compile(rb'"error"|"choices"\s*:\s*(?:null|\[\s*\])')
_EMPTY = re.compile(rb'"content"\s*:\s*(?:null|"\s*")')
_ODD_BEGINNING = re.compile(rb'"content"\s*:\s*"\s*(?:\\[nrt]|\\u00(?:0|3[cC])|<think>)|' + LEAKED)
_CALLS_TOOLS = re.compile(rb'"tool_calls"\s*:\s*\[\s*\{')
_ERRORS = range(400, 600)


def settle(status: int, body: bytes, exchange: Exchange) -> tuple[int, bytes]:
    """The status that this body should have come with, some gateways hide the real one; and the body to be read.

    Raises:
        lm15.ProviderError: a success that is an error without a status, that lacks ``choices`` or that is empty.
    """
    if status == _OK:
        status = _unhidden(status, body, needs_choices=exchange.needs_choices)
    if status >= _ERROR:
        return status, readable(body)
    if status == _OK and exchange.mending is not None:
        return status, _mended(body, exchange.mending)
    return status, body


def _unhidden(status: int, body: bytes, *, needs_choices: bool) -> int:
    if not (_SUSPICIOUS.search(body) or (needs_choices and b'"choices"' not in body)):
        return status
    document = parsed(body)
    if not isinstance(document, dict) or document.get("choices"):
        return status
    if document.get("error"):
        error = as_error(document["error"])
        if error.get("code") in _ERRORS:
            return int(error["code"])
        raise raised(error, status)
    if needs_choices:
        raise own(lm15.ProviderError("the answer has no choices", status=status))
    return status


def _mended(body: bytes, mending: Mending) -> bytes:
    is_empty = _EMPTY.search(body) and not _CALLS_TOOLS.search(body)
    if not is_empty and not _ODD_BEGINNING.search(body):
        return body
    document = parsed(body)
    try:
        choice = document["choices"][0]
        message = choice["message"]
        content = message.get("content") or ""
    except (AttributeError, LookupError, TypeError):
        return body  # DSPy's engine says what is wrong with it
    if not isinstance(content, str):
        return body
    return _rewritten(document, choice, message, content, mending)


def _rewritten(document: Any, choice: Any, message: Any, content: str, mending: Mending) -> bytes:
    given = str(message.get("reasoning_content") or message.get("reasoning") or "")
    thinking, content = split(content, thinks=mending.thinks)
    reasoning = given + thinking
    if not content and not message.get("tool_calls"):
        finish = str(choice.get("finish_reason") or "stop")
        content = (mending.json_in(reasoning) if finish == "stop" else None) or ""
        if not content and (error := mending.nothing(finish, reasoned=bool(reasoning.strip()))) is not None:
            raise error
    message.update(content=content, reasoning_content=reasoning)
    return json.dumps(document).encode()
