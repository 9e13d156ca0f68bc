"""Whether a value fits the domain of an attribute, in words for who wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from lmroute.config.complaints import did_you_mean
from lmroute.config.secrecy import quoted
from lmroute.model import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.config.keypaths import KeyPath
    from lmroute.model import Domain

Misfit: TypeAlias = "tuple[str, str] | None"
"""What is wrong, and what to do; None when nothing is."""

_MOST = 12
"""Words of a vocabulary that a message lists."""
_HIDDEN = "the value"
"""What ``quoted`` says of a value that may be a secret."""


def misfit(value: Any, name: str, domain: Domain, path: KeyPath) -> Misfit:
    """What keeps a value from being one of an attribute's; of a set, from being a member.

    Args:
        path: where the value stands, by which it is told whether it may be shown.
    """
    if domain.kind is Kind.BOOL:
        wrong = f"{quoted(value, *path)} is not true or false"
        return None if isinstance(value, bool) else (wrong, f"'{name}' is true or false, without quotes")
    if domain.kind in {Kind.INT, Kind.FLOAT}:
        return _no_number(value, name, domain, path)
    return _no_word(value, name, domain, path)


def default_misfit(value: Any, name: str, domain: Domain, path: KeyPath) -> Misfit:
    """``misfit`` for what requests have that do not state an attribute: of a set, a list of members."""
    if domain.kind is not Kind.SET:
        return misfit(value, name, domain, path)
    if not isinstance(value, list):
        return f"{quoted(value, *path)} is not a list", f"the default of a set is a list of words: [{quoted(value)}]"
    return next(filter(None, (misfit(word, name, domain, path) for word in value)), None)


def listed(words: Sequence[str], *path: str) -> str:
    """The words of a vocabulary as a message shows them: not too many, and none when one may be a secret."""
    if any(quoted(word, *path) == _HIDDEN for word in words):
        return "its own words"
    return ", ".join([*words[:_MOST], *("…" for _ in words[_MOST : _MOST + 1])])


def nearest(word: str, words: Sequence[str], *path: str) -> str:
    """``did you mean 'x'?`` for a word of a vocabulary, or nothing."""
    return "" if quoted(word, *path) == _HIDDEN else did_you_mean(word, words)


def _no_number(value: Any, name: str, domain: Domain, path: KeyPath) -> Misfit:
    shown = quoted(value, *path)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"{shown} is not a number", f"'{name}' is of type {domain.kind}"
    if domain.kind is Kind.INT and value != int(value):
        return f"{shown} is not a whole number", f"'{name}' is of type int"
    if domain.low is not None and value < domain.low:
        return f"{shown} is less than '{name}' can be", f"its min is {domain.low:g}"
    if domain.high is not None and value > domain.high:
        return f"{shown} is more than '{name}' can be", f"its max is {domain.high:g}"
    return None


def _no_word(value: Any, name: str, domain: Domain, path: KeyPath) -> Misfit:
    known = domain.values
    shown = quoted(value, *path)
    if not isinstance(value, str):
        advice = "YAML reads on, off, yes and no so: write it in quotes" if isinstance(value, bool) else "quote it"
        return f"{shown} is not a text", advice
    if known is None or value in known or (domain.kind is Kind.TEXT and not value):  # a text is empty when unknown
        return None
    advice = nearest(value, known, *path) or f"it has {listed(known, *path)}; add yours under routing.attributes.{name}"
    return f"{shown} is none of the words of '{name}'", advice
