"""What the caller says about the work in hand: with ``lmroute.task`` for all calls inside, or in a request's metadata.

Both are kept where DSPy keeps its own settings, because that is what ``dspy.Parallel``, ``Evaluate`` and ``streamify``
carry into their threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial, wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any, TypeVar, cast

import dspy

from lmroute.engine.live.pins import Pinboard
from lmroute.model import Privacy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from dspy.lm15 import Request

_Body = TypeVar("_Body", bound="Callable[..., Any]")

_SETTING = "lmroute_scope"

METADATA = "lmroute"
"""Where a request's own facts stand in DSPy's ``metadata``."""

_HINTS = ("task", "privacy", "tags", "use", "attributes")
_RISING = (Privacy.PUBLIC, Privacy.INTERNAL, Privacy.PRIVATE)


@dataclass(frozen=True, slots=True)
class Scope:
    """What the caller says.

    Attributes:
        privacy: ``None`` until somebody says it, which is not the same as ``internal``: that was said, and holds.
        own: the policy's own attributes; sets are frozensets.
        use: the provider, or ``provider/model``, that the caller chooses.
        pinboard: where the calls inside of ``lmroute.pin`` are bound; ``None`` outside.
    """

    task: str = ""
    privacy: Privacy | None = None
    tags: frozenset[str] = frozenset()
    own: Mapping[str, Any] = field(default_factory=dict)
    use: str = ""
    pinboard: Pinboard | None = None


NOTHING_SAID = Scope()


class _Task(AbstractContextManager[None]):
    """What ``task`` returns: for one ``with``, or to decorate any number of functions."""

    def __init__(self, scope: Callable[[], AbstractContextManager[None]]) -> None:
        self._scope = scope
        self._entered = scope()

    def __enter__(self) -> None:
        self._entered.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._entered.__exit__(kind, error, trace)

    def __call__(self, body: _Body) -> _Body:
        """Decorate a function or an ``async def``; each of its calls is inside of a scope of its own."""
        if isgeneratorfunction(body) or isasyncgenfunction(body):
            # Its body runs in turns with the caller's, who would be inside of the scope as well.
            raise TypeError(
                f"lmroute.task cannot decorate the generator {getattr(body, '__name__', body)}: "
                "put `with lmroute.task(...):` inside of it, around what calls a model"
            )
        decorate = self._around_async if iscoroutinefunction(body) else self._around
        return cast("_Body", decorate(body))

    def _around(self, body: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(body)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self._scope():
                return body(*args, **kwargs)

        return inside

    def _around_async(self, body: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(body)
        async def inside(*args: Any, **kwargs: Any) -> Any:
            with self._scope():
                return await body(*args, **kwargs)

        return inside


def task(
    name: str | None = None,
    *,
    privacy: Privacy | str | None = None,
    tags: str | Iterable[str] = (),
    use: str | None = None,
    **own: Any,
) -> _Task:
    """Say what the calls inside are for, so that the policy can tell: ``with lmroute.task("triage"):``.

    It decorates functions too, ``async def`` ones included; in a generator, put the ``with`` inside.

    Nests: an inner task keeps what it does not restate, adds its tags, and can only make the work *more* private than
    an outer one said; where none said anything, its own word counts, ``public`` included.
    What a policy does not know (a tag, one of its own attributes, a value) is refused when a call is made.

    Args:
        name: what rules see as ``task``.
        privacy: ``public``, ``internal`` or ``private``; a request of which nobody says it is ``internal``.
        tags: labels that rules see in ``tags``; one may come without a list around it.
        use: the provider, or ``provider/model``, to ask; only what the policy's ``caller_choice`` allows.
        own: the attributes that the policy declares itself.

    Raises:
        ValueError: ``privacy`` is none of the three.
        TypeError: the name, a tag or ``use`` is no string, or an attribute is nothing that a policy can declare; or
            a generator is decorated.
    """
    return _Task(partial(_inside, name, privacy, tags, use, own))


@contextmanager
def _inside(
    name: str | None,
    privacy: Privacy | str | None,
    tags: str | Iterable[str],
    use: str | None,
    own: Mapping[str, Any],
) -> Iterator[None]:
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

    It overrides what the scope says, adds tags, and can only make the request *more* private than the scope says.

    Raises:
        ValueError, TypeError: the metadata says something that nobody understands.
    """
    extensions = request.config.extensions
    metadata = extensions.get("metadata") if extensions else None
    if not isinstance(metadata, Mapping) or METADATA not in metadata:
        return scope
    hints = metadata[METADATA]
    if not isinstance(hints, Mapping):
        raise TypeError(f"it is {hints!r}, and takes a mapping of {', '.join(_HINTS)}")
    for key, value in hints.items():
        if key not in _HINTS:
            near = get_close_matches(str(key), _HINTS, 1)
            guess = f"did you mean '{near[0]}'? " if near else ""
            raise ValueError(f"'{key}' is nothing it takes; {guess}It takes {', '.join(_HINTS)}")
        if value is None:
            raise TypeError(f"'{key}' is None; leave it out to say nothing")
    own = hints.get("attributes", {})
    if not isinstance(own, Mapping):
        raise TypeError(f"attributes are a mapping of names to values, not {own!r}")
    level = _privacy(hints["privacy"]) if "privacy" in hints else None
    said = _said(scope, hints.get("task"), hints.get("tags", ()), hints.get("use"), own)
    return replace(said, privacy=_stricter(scope.privacy, level))


def _said(outer: Scope, name: str | None, tags: str | Iterable[str], use: str | None, own: Mapping[str, Any]) -> Scope:
    """A scope inside of another one, but for its privacy."""
    alone = isinstance(tags, (str, Mapping)) or not isinstance(tags, Iterable)
    labels: tuple[Any, ...] = (tags,) if alone else tuple(tags)
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


def _stricter(outer: Privacy | None, wanted: Privacy | None) -> Privacy | None:
    """The more private of what was said; ``None`` if nothing was."""
    return max((level for level in (outer, wanted) if level is not None), key=_RISING.index, default=None)
