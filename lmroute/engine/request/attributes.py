"""The facts about a request that predicates read: from the request itself, from DSPy's settings, and from the caller.

``lmroute.task`` keeps what the caller says in DSPy's own context, because that is what ``dspy.Parallel``, ``Evaluate``
and ``streamify`` carry into their threads.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dspy

from lmroute.model import Attributes, Privacy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dspy.lm15 import Request

_SETTING = "lmroute_scope"
_CHARS_PER_TOKEN = 4
"""English prose in the tokenizers of today's models; an estimate is all that choosing needs."""

_ANONYMOUS = "StringSignature"
_IMAGE_PARTS = frozenset({"image", "video", "document"})


@dataclass(frozen=True, slots=True)
class Scope:
    """What the caller says about the work in hand."""

    task: str = ""
    privacy: Privacy = Privacy.INTERNAL
    tags: frozenset[str] = frozenset()


_NOTHING_SAID = Scope()


@contextmanager
def task(
    name: str | None = None, *, privacy: Privacy | str | None = None, tags: str | Iterable[str] = ()
) -> Iterator[None]:
    """Say what the calls inside are for, so that the policy can tell.

    Nests: an inner task keeps what it does not restate, adds its tags, and can only make the work *more* private.

    Args:
        name: what rules see as ``task``.
        privacy: ``public``, ``internal`` or ``private``.
        tags: labels that rules see in ``tags``; one may come without a list around it.

    Raises:
        ValueError: ``privacy`` is none of the three.
        TypeError: the name or a tag is no string.
    """
    outer = _scope()
    labels = frozenset((tags,) if isinstance(tags, str) else tags)
    for label in (*labels, "" if name is None else name):
        if not isinstance(label, str):
            raise TypeError(f"lmroute.task takes strings for its name and tags, not {label!r}")
    inner = Scope(
        task=outer.task if name is None else name,
        privacy=outer.privacy if privacy is None else _stricter(outer, _privacy(privacy)),
        tags=outer.tags | labels,
    )
    with dspy.context(**{_SETTING: inner}):
        yield


def attributes_of(request: Request, *, stream: bool = False) -> Attributes:
    """The attributes of one request, with those of the surrounding ``task`` and DSPy program."""
    config = request.config
    return Attributes(
        **_surroundings(),
        needs_tools=bool(request.tools),
        needs_response_schema=config.response_format is not None,
        needs_vision=_has_images(request),
        needs_reasoning=config.reasoning is not None,
        prompt_tokens=estimate_tokens(request),
        max_output_tokens=config.max_tokens or 0,
        stream=stream,
    )


def ambient() -> Attributes:
    """What is known before a request exists: the task and the DSPy program that is about to ask."""
    return Attributes(**_surroundings())


def _surroundings() -> dict[str, Any]:
    """The attributes that the caller and the program say."""
    scope, callers = _scope(), _callers()
    return {
        "task": scope.task,
        "module": _module_name(callers),
        "signature": _signature_name(callers),
        "tags": scope.tags,
        "privacy": scope.privacy,
    }


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
    return any(part.type in _IMAGE_PARTS for message in request.messages for part in message.parts)


def _callers() -> Sequence[Any]:
    """The DSPy modules that led to this call, outermost first."""
    return dspy.settings.caller_modules or ()


def _scope() -> Scope:
    if _SETTING not in dspy.settings:  # asked first: .get() raises and catches an error to find out
        return _NOTHING_SAID
    scope = dspy.settings[_SETTING]
    return scope if isinstance(scope, Scope) else _NOTHING_SAID


def _privacy(word: Privacy | str) -> Privacy:
    try:
        return Privacy(word)
    except ValueError:
        raise ValueError(f"privacy is {', '.join(Privacy)}; not {word!r}") from None


def _stricter(outer: Scope, wanted: Privacy) -> Privacy:
    """Inside private work everything stays private; outside, the caller's word counts, ``public`` included."""
    return outer.privacy if outer.privacy is Privacy.PRIVATE else wanted


def _module_name(callers: Sequence[Any]) -> str:
    """The innermost module that is the user's own class; else the outermost of DSPy's."""
    for module in reversed(callers):
        if not type(module).__module__.startswith("dspy."):
            return type(module).__name__
    return type(callers[0]).__name__ if callers else ""


def _signature_name(callers: Sequence[Any]) -> str:
    """The name of the innermost signature that has one; all that DSPy derives or reads from a string are anonymous."""
    for module in reversed(callers):
        name: str = getattr(getattr(module, "signature", None), "__name__", "")
        if name not in {"", _ANONYMOUS}:
            return name
    return ""
