"""The facts about a request that predicates read: from the request itself, its DSPy program, and the caller."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import dspy

from lmroute.engine.request import scope as scopes
from lmroute.engine.request.callers import module_name, predictor_name, signature_name
from lmroute.model import LOTS, Attributes, Privacy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dspy.lm15 import Request

    from lmroute.engine.request.scope import Scope

_CHARS_PER_TOKEN = 4
"""English prose in the tokenizers of today's models; an estimate is all that choosing needs."""

_IMAGE_PARTS = frozenset({"image", "video", "document"})


def attributes_of(
    request: Request, scope: Scope | None = None, *, stream: bool = False, draw: bool = False
) -> Attributes:
    """The attributes of one request, with those of the surrounding ``task`` and DSPy program.

    Args:
        scope: what the caller says, if it is not what ``task`` says right now.
        draw: whether to draw the lot that shares requests out.
    """
    config = request.config
    return Attributes(
        **_surroundings(scope or scopes.current()),
        needs_tools=bool(request.tools),
        needs_response_schema=config.response_format is not None,
        needs_vision=_has_images(request),
        needs_reasoning=config.reasoning is not None,
        prompt_tokens=estimate_tokens(request),
        max_output_tokens=config.max_tokens or 0,
        stream=stream,
        lot=lot(request) if draw else 0,
    )


def ambient() -> Attributes:
    """What is known before a request exists: the task and the DSPy program that is about to ask."""
    return Attributes(**_surroundings(scopes.current()))


def _surroundings(scope: Scope) -> dict[str, Any]:
    """The attributes that the caller and the program say."""
    callers = _callers()
    return {
        "task": scope.task,
        "module": module_name(callers),
        "signature": signature_name(callers),
        "predictor": predictor_name(callers),
        "tags": scope.tags,
        "privacy": Privacy.INTERNAL if scope.privacy is None else scope.privacy,
        "own": scope.own,
        "use": scope.use,
    }


def lot(request: Request) -> int:
    """A number below ``LOTS`` drawn from the prompt, the same in every process."""
    digest = blake2b(digest_size=8)
    for text in _texts(request):
        digest.update(text.encode("utf-8", errors="surrogatepass") + b"\0")
    return int.from_bytes(digest.digest(), "big") % LOTS


def _texts(request: Request) -> Iterator[str]:
    yield request.system if isinstance(request.system, str) else ""
    yield from map(_text, request.system if isinstance(request.system, tuple) else ())
    for message in request.messages:
        yield message.role
        yield from map(_text, message.parts)


def _text(part: Any) -> str:
    """What a part says, without the ids that servers make up for tool calls."""
    if part.type == "tool_call":
        return f"{part.name} {part.input}"
    if part.type == "tool_result":
        return "".join(map(_text, part.content))
    text = getattr(part, "text", None)
    return repr(part) if text is None else str(text)


def estimate_tokens(request: Request) -> int:
    """Tokens of the prompt: its characters divided by four, rounded up."""
    characters = len(request.system) if isinstance(request.system, str) else _length(request.system or ())
    for message in request.messages:
        characters += _length(message.parts)
    return -(-characters // _CHARS_PER_TOKEN)


def _length(parts: Iterable[Any]) -> int:
    return sum(map(_characters, parts))


def _characters(part: Any) -> int:
    """Characters of a part: its text, the arguments of a tool call, the content of a tool's result."""
    if part.type == "tool_call":
        return len(str(part.input))
    return _length(part.content) if part.type == "tool_result" else len(getattr(part, "text", None) or "")


def _has_images(request: Request) -> bool:
    return any(_is_seen(part) for message in request.messages for part in message.parts)


def _is_seen(part: Any) -> bool:
    """Whether a part is an image, or the result of a tool that answered with one."""
    return part.type in _IMAGE_PARTS or (part.type == "tool_result" and any(map(_is_seen, part.content)))


def _callers() -> Sequence[Any]:
    """The DSPy modules that led to this call, outermost first."""
    return dspy.settings.caller_modules or ()
