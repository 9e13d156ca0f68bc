"""Exceptions that leave an edge of ours: without the keys that they quote, and those that their frames hold.

An exception shows more than its message: the errors that stand behind it, with what a server sent; attributes with a
whole request; the variables of every frame that it went through, which error reporters and test runners print.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from lmroute import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOLDERS = ("request", "response", "obj", "object", "doc")
"""Attributes that hold what was sent or read: of HTTP libraries, ``AttributeError``, decoders of text and of JSON."""
_PLAIN = (str, bytes, Mapping, list, tuple, set, frozenset)


@contextmanager
def redacted() -> Iterator[None]:
    """Have whatever is raised inside leave in words that may be shown, and without the variables of ended frames.

    Files, lines and functions of its traceback stay. What was being handled before is somebody else's, and is left as
    it is.
    """
    before = sys.exception()
    try:
        yield
    except BaseException as error:
        for each in _chain(error, before):
            traceback.clear_frames(each.__traceback__)  # frames that still run are left alone
            _redact(each)
        raise


def _chain(error: BaseException, before: BaseException | None) -> Iterator[BaseException]:
    """It, its causes, its contexts (told or not) and the members of groups, each once."""
    waiting, seen = [error], {id(before)}
    while waiting:
        each = waiting.pop()
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [linked for linked in (each.__cause__, each.__context__) if linked is not None]
            if isinstance(each, BaseExceptionGroup):
                waiting += each.exceptions


def _redact(error: BaseException) -> None:
    if (shown := tuple(map(_shown, error.args))) != error.args:
        error.args = shown
    for name, value in list(vars(error).items()):
        if (masked := _shown(value)) != value:
            with suppress(AttributeError):
                setattr(error, name, masked)
    for name in _HOLDERS:
        with suppress(Exception):  # a property of somebody else's, which may raise, or may not be set
            value = getattr(error, name, None)
            if value is not None and (not isinstance(value, _PLAIN) or _shown(value) != value):
                setattr(error, name, value[:0] if isinstance(value, (str, bytes)) else None)


def _shown(value: Any) -> Any:
    return redact.data(value) if isinstance(value, _PLAIN) else value
