"""What the caller says about the work in hand: with ``lmroute.task`` for all calls inside, or in a request's metadata.

Both are kept where DSPy keeps its own settings, because that is what ``dspy.Parallel``, ``Evaluate`` and ``streamify``
carry into their threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import dspy

from lmroute.engine.live.pins import Pinboard
from lmroute.model import Privacy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dspy.lm15 import Request

_SETTING = "lmroute_scope"

METADATA = "lmroute"
"""Where a request's own facts stand in DSPy's ``metadata``."""

_HINTS = ("task", "privacy", "tags", "use", "attributes")
_RISING = (Privacy.PUBLIC, Privacy.INTERNAL, Privacy.PRIVATE)


@dataclass(frozen=True, slots=True)
class Scope:
    """What the caller says.

    Attributes:
        own: the policy's own attributes; sets are frozensets.
        use: the provider, or ``provider/model``, that the caller chooses.
        pinboard: where the calls inside of ``lmroute.pin`` are bound; ``None`` outside.
    """

    task: str = ""
    privacy: Privacy = Privacy.INTERNAL
    tags: frozenset[str] = frozenset()
    own: Mapping[str, Any] = field(default_factory=dict)
    use: str = ""
    pinboard: Pinboard | None = None


NOTHING_SAID = Scope()


@contextmanager
def task(
    name: str | None = None,
    *,
    privacy: Privacy | str | None = None,
    tags: str | Iterable[str] = (),
    use: str | None = None,
    **own: Any,
) -> Iterator[None]:
    """Say what the calls inside are for, so that the policy can tell.

    Nests: an inner task keeps what it does not restate, adds its tags, and can only make the work *more* private.
    What a policy does not know (a tag, one of its own attributes, a value) is refused when a call is made.

    Args:
        name: what rules see as ``task``.
        privacy: ``public``, ``internal`` or ``private``.
        tags: labels that rules see in ``tags``; one may come without a list around it.
        use: the provider, or ``provider/model``, to ask; only what the policy's ``caller_choice`` allows.
        own: the attributes that the policy declares itself.

    Raises:
        ValueError: ``privacy`` is none of the three.
        TypeError: the name, a tag or ``use`` is no string, or an attribute is nothing that a policy can declare.
    """
    outer = current()
    level = None if privacy is None else _privacy(privacy)
    inner = _said(outer, name, tags, use, own)
    with dspy.context(**{_SETTING: replace(inner, privacy=_stricter(outer.privacy, level))}):
        yield


@contextmanager
def pin() -> Iterator[None]:
    """Bind every rule inside to the candidate that answers its first call, as for a run of an optimiser.

    Calls whose rule is bound already, or that are inside of another ``pin``, stay with what they have. Without the
    candidate that it is bound to a call fails; nobody else is asked.
    """
    outer = current()
    with dspy.context(**{_SETTING: replace(outer, pinboard=outer.pinboard or Pinboard())}):
        yield


def current() -> Scope:
    """What the caller says right now."""
    if _SETTING not in dspy.settings:  # asked first: .get() raises and catches an error to find out
        return NOTHING_SAID
    scope = dspy.settings[_SETTING]
    return scope if isinstance(scope, Scope) else NOTHING_SAID


def of_request(request: Request, scope: Scope) -> Scope:
    """The scope of one request, with what its metadata adds: ``metadata={"lmroute": {"privacy": "private"}}``.

    It overrides what the scope says, adds tags, and can only make the request *more* private.

    Raises:
        ValueError, TypeError: the metadata says something that nobody understands.
    """
    extensions = request.config.extensions
    metadata = extensions.get("metadata") if extensions else None
    hints = metadata.get(METADATA) if isinstance(metadata, Mapping) else None
    if hints is None:
        return scope
    if not isinstance(hints, Mapping):
        raise TypeError(f"it is {hints!r}, and takes a mapping of {', '.join(_HINTS)}")
    for key in hints:
        if key not in _HINTS:
            near = get_close_matches(str(key), _HINTS, 1)
            guess = f"did you mean '{near[0]}'? " if near else ""
            raise ValueError(f"'{key}' is nothing it takes; {guess}It takes {', '.join(_HINTS)}")
    own = hints.get("attributes") or {}
    if not isinstance(own, Mapping):
        raise TypeError(f"attributes are a mapping of names to values, not {own!r}")
    level = hints.get("privacy")
    privacy = scope.privacy if level is None else max(scope.privacy, _privacy(level), key=_RISING.index)
    return replace(_said(scope, hints.get("task"), hints.get("tags") or (), hints.get("use"), own), privacy=privacy)


def _said(outer: Scope, name: str | None, tags: str | Iterable[str], use: str | None, own: Mapping[str, Any]) -> Scope:
    """A scope inside of another one, but for its privacy."""
    labels = (tags,) if isinstance(tags, str) or not isinstance(tags, Iterable) else tuple(tags)
    for label in (*labels, "" if name is None else name, "" if use is None else use):
        if not isinstance(label, str):
            raise TypeError(f"lmroute.task takes strings for its name, use and tags, not {label!r}")
    return replace(
        outer,
        task=outer.task if name is None else name,
        tags=outer.tags | frozenset(labels),
        own={**outer.own, **{key: _value(key, value) for key, value in own.items()}} if own else outer.own,
        use=outer.use if use is None else use,
    )


def _value(name: str, value: Any) -> Any:
    """A value as ``Attributes.own`` holds it: hashable, so that decisions can be remembered."""
    if isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(word, str) for word in value):
        return frozenset(value)
    raise TypeError(f"attribute {name} takes a string, a number, true or false, or a list of strings; not {value!r}")


def _privacy(word: Any) -> Privacy:
    try:
        return Privacy(word)
    except ValueError:
        raise ValueError(f"privacy is {', '.join(Privacy)}; not {word!r}") from None


def _stricter(outer: Privacy, wanted: Privacy | None) -> Privacy:
    """Inside private work everything stays private; outside, the caller's word counts, ``public`` included."""
    return outer if wanted is None or outer is Privacy.PRIVATE else wanted
