"""Who is calling: the DSPy program around a request.

Everything here takes ``callers``, the modules that led to the request, outermost first, as DSPy keeps them in
``dspy.settings.caller_modules``. An answer that is not sure is an empty string.
"""

from __future__ import annotations

import inspect
from collections import deque
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import dspy

from lmroute.engine.request.lineage import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SignatureType = type(dspy.Signature)


def module_name(callers: Sequence[Any]) -> str:
    """The class of the innermost module that is the user's own; else of the outermost of DSPy's."""
    for module in reversed(callers):
        if not _is_dspys(type(module)):
            return type(module).__name__
    return type(callers[0]).__name__ if callers else ""


def signature_name(callers: Sequence[Any]) -> str:
    """The user's signature that the innermost module works on.

    That module's own; where it has no name, as in an agent's inner steps, that of the module of DSPy's that made the
    step. What merely runs inside an agent, such as a tool that asks a model, is none of its steps.
    """
    step = None
    for module in reversed(callers):
        if step is not None and not _is_step(module, step):
            return ""
        signature = getattr(module, "signature", None)
        if isinstance(signature, _SignatureType) and (name := name_of(signature)):
            return name
        step = module
    return ""


def predictor_name(callers: Sequence[Any]) -> str:
    """The predictor's place in the outermost module, told as ``named_predictors()`` does: ``rag.answer.predict``.

    ``self`` for a predictor that is the whole program; empty for one that is no part of it, such as one made on the
    fly. Unlike ``named_predictors()`` it sees into modules that an optimiser has frozen.
    """
    if not callers or not isinstance(callers[-1], dspy.Predict):
        return ""
    if len(callers) == 1:
        return "self"
    places = [_place(parent, child) for parent, child in pairwise(callers)]
    return ".".join(places) if all(places) else ""


def _is_dspys(kind: type) -> bool:
    return kind.__module__.startswith("dspy.")


def _is_step(module: Any, step: Any) -> bool:
    """Whether a constructor of DSPy's made the step, also when the module is of a subclass of the user's."""
    kind = next((base for base in type(module).__mro__ if _is_dspys(base)), None)
    return kind is not None and any(
        value is step and name in _names_in_constructor(kind) for name, value in _attributes(module)
    )


@cache
def _names_in_constructor(kind: type) -> frozenset[str]:
    """The attributes that a class's ``__init__`` speaks of; only for DSPy's classes, which are never unloaded."""
    code = getattr(inspect.unwrap(kind.__init__), "__code__", None)  # type: ignore[misc]
    return frozenset(code.co_names if code else ())


def _place(parent: Any, child: Any) -> str:
    """Where a module holds another: at hand, as a copy, or somewhere within."""
    for name, value in _attributes(parent):
        if value is child:
            return name
    for name, value in _attributes(parent):
        if _is_copy(parent, value, child):
            return name
    return next((path for path, module in _within(parent) if module is child), "")


def _attributes(module: Any) -> list[tuple[str, Any]]:
    """A module's attributes as they are now: another thread may be setting one."""
    return list(vars(module).items())


def _is_copy(parent: Any, original: Any, child: Any) -> bool:
    """``Refine`` and ``BestOfN`` call copies of their module; a copy works on the very signature."""
    return (
        _is_dspys(type(parent))
        and isinstance(original, dspy.Module)
        and type(original) is type(child)
        and getattr(original, "signature", None) is getattr(child, "signature", None)
    )


def _within(module: Any) -> Iterator[tuple[str, Any]]:
    """All modules inside a module with their paths, each once, the nearest first. Predictors hold none."""
    seen, queue = {id(module)}, deque([("", module)])
    while queue:
        prefix, parent = queue.popleft()
        for name, inner in _held(parent):
            if id(inner) not in seen:
                seen.add(id(inner))
                yield prefix + name, inner
                if not isinstance(inner, dspy.Predict):
                    queue.append((f"{prefix}{name}.", inner))


def _held(parent: Any) -> Iterator[tuple[str, Any]]:
    """The modules among a module's attributes, and those in its lists and dictionaries."""
    for name, value in _attributes(parent):
        if isinstance(value, dspy.Module):
            yield name, value
        elif isinstance(value, (list, tuple)) and name != "history":  # DSPy's log of calls, thousands of lines
            yield from ((f"{name}[{i}]", item) for i, item in enumerate(value) if isinstance(item, dspy.Module))
        elif isinstance(value, dict):
            yield from ((f"{name}['{key}']", item) for key, item in [*value.items()] if isinstance(item, dspy.Module))
