"""Text of whatever might show a key: of objects and of exceptions, by every way in which people look at them."""

from __future__ import annotations

import copy
import gc
import io
import logging
import pickle
import pprint
import traceback
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import cloudpickle
import dspy

if TYPE_CHECKING:
    from collections.abc import Iterator

_OURS = ("lmroute.", "dspy.", "lm15")


def of_error(error: BaseException) -> str:
    """It and all that stands behind it, with the variables of each frame, its attributes, and as it is pickled."""
    parts = []
    for each in _chain(error):
        told = traceback.TracebackException.from_exception(each, capture_locals=True)
        parts += [*told.format(chain=False), repr(each), str(each), repr(each.args), pprint.pformat(vars(each))]
        parts.append(_pickled(each))
        parts += [f"{name} {_attribute(each, name)!r}" for name in dir(each) if not name.startswith("__")]
        parts += map(_of_traffic, (_attribute(each, "request"), _attribute(each, "response")))
    parts += traceback.format_exception(error)
    parts.append(logging.Formatter().formatException((type(error), error, error.__traceback__)))
    return "\n".join(parts)


def of_object(thing: Any) -> str:
    """Its representations, and as it is copied and pickled."""
    parts = [repr(thing), str(thing), f"{thing}", pprint.pformat(thing), _pickled(thing), _pickled(thing, cloudpickle)]
    try:
        parts.append(repr(copy.deepcopy(thing)))
    except TypeError as refused:
        parts.append(str(refused))
    return "\n".join(parts)


def of_all_below(thing: Any) -> str:
    """The representation of everything of ours that can be reached from it."""
    return "\n".join(f"{type(each).__name__}: {each!r}" for each in _reached(thing))


def of_lm(lm: dspy.LM) -> str:
    """What DSPy keeps and shows of an LM and its calls."""
    shown = io.StringIO()
    with redirect_stdout(shown):
        dspy.inspect_history(n=50)
        lm.inspect_history(n=50)
    return "\n".join([repr(lm.history), shown.getvalue(), repr(lm.dump_state()), of_object(lm)])


def _chain(error: BaseException) -> Iterator[BaseException]:
    """It, its causes, its contexts (told or not) and the members of groups, each once."""
    waiting, seen = [error], set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [e for e in (each.__cause__, each.__context__, *getattr(each, "exceptions", ())) if e is not None]


def _attribute(error: BaseException, name: str) -> Any:
    try:
        return getattr(error, name, None)
    except Exception as refused:  # noqa: BLE001 - a property of somebody else's
        return refused


def _pickled(thing: Any, how: Any = pickle) -> str:
    try:
        return str(how.dumps(thing).decode("latin-1"))
    except Exception as refused:  # noqa: BLE001 - the text of it is what is looked at
        return "".join(traceback.format_exception(refused))


def _of_traffic(message: Any) -> str:
    """An HTTP library's request or response, which exceptions carry."""
    names = ("url", "headers", "content", "text", "extensions")
    return " ".join(repr(getattr(message, name, None)) for name in names) if message is not None else ""


def _reached(thing: Any) -> Iterator[Any]:
    waiting, seen = [thing], {id(thing)}
    while waiting:
        each = waiting.pop()
        if type(each).__module__.startswith(_OURS):
            yield each
        for inner in gc.get_referents(each):
            walked = isinstance(inner, (dict, list, tuple, set)) or type(inner).__module__.startswith(_OURS)
            if walked and id(inner) not in seen and not isinstance(inner, type):
                seen.add(id(inner))
                waiting.append(inner)
