"""The structural net: in data, a text under a name that names a secret is one, whatever it looks like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lmroute.redact.values import MASK

if TYPE_CHECKING:
    from collections.abc import Callable

_DEEPEST = 50
"""Levels of nesting; what is deeper, or contains itself, is not shown."""

_BETWEEN_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
_SECRET = re.compile(
    r"(?:^|_)(?:authorization|(?:set_)?cookies?|secrets?|credentials?|passw(?:or)?ds?|pwd|passphrase"
    r"|(?:api|secret|private|access|signing|subscription)_?keys?"
    r"|(?:access|refresh|auth|api|id|session|security|bearer|oauth|csrf|xsrf|hf)_?tokens?)$"
    r"|^(?:x_)?token$"
)
_CREDENTIAL = re.compile(r"(?:key|token|secret|signature)$")
"""More that only in a header is one."""
_SOURCES = frozenset({"env", "file", "command", "keyring", "optional"})
"""The keys of a reference to a secret, which says where one is and may be shown."""


def masked(value: Any, shown: Callable[[str], str], depth: int = 0) -> Any:
    """See ``lmroute.redact.data``; every text that is no secret by its name goes through ``shown``."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return _nested(value, shown, depth + 1) if depth < _DEEPEST else MASK
    return shown(_text(value)).encode() if isinstance(value, bytes) else shown(_text(value))


def _nested(value: Any, shown: Callable[[str], str], depth: int) -> Any:
    if isinstance(value, Mapping):
        return {_key(key, shown): _field(key, inner, value, shown, depth) for key, inner in value.items()}
    if _is_pair(value):
        return (_key(value[0], shown), _hidden(value[1], shown, depth))
    kind = next(kind for kind in (list, tuple, set, frozenset) if isinstance(value, kind))
    return kind(masked(inner, shown, depth) for inner in value)


def named(pairs: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, Any]]:
    """Headers with their names as lower-case texts."""
    for name, value in pairs:
        yield _text(name).lower(), value


def header(name: str, value: Any, shown: Callable[[str], str]) -> str:
    """A header's value as it may be shown."""
    return MASK if names_secret(name) or _CREDENTIAL.search(name) else shown(_text(value))


@lru_cache(1024)
def names_secret(name: str) -> bool:
    """Whether a key is on the list of those that hold secrets, however its words are joined: ``X-Api-Key``, ``apiKey``.

    ``max_tokens`` and ``token_count`` are not on it.
    """
    return bool(_SECRET.search(_BETWEEN_WORDS.sub("_", name).lower()))


def _field(key: Any, inner: Any, around: Mapping[Any, Any], shown: Callable[[str], str], depth: int) -> Any:
    is_output = key == "token" and "logprob" in around  # a piece of an answer, beside its probability
    if is_output or not names_secret(_text(key)):
        return masked(inner, shown, depth)
    return _hidden(inner, shown, depth)


def _hidden(value: Any, shown: Callable[[str], str], depth: int) -> Any:
    """A secret, or several; how many there are and under which names may be seen."""
    if value is None or isinstance(value, (bool, int, float)) or value in ("", b""):
        return value
    if isinstance(value, Mapping) and value.keys() <= _SOURCES:
        return masked(value, shown, depth)
    if isinstance(value, (Mapping, list, tuple)) and depth < _DEEPEST:
        if isinstance(value, Mapping):
            return {_key(key, shown): _hidden(inner, shown, depth + 1) for key, inner in value.items()}
        return (list if isinstance(value, list) else tuple)(_hidden(inner, shown, depth + 1) for inner in value)
    return MASK.encode() if isinstance(value, bytes) else MASK


def _is_pair(value: Any) -> bool:
    """Whether it is a header as HTTP libraries list them: a tuple of name and value."""
    is_pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], (str, bytes))  # noqa: PLR2004
    return is_pair and names_secret(_text(value[0]))


def _key(key: Any, shown: Callable[[str], str]) -> Any:
    return shown(key) if isinstance(key, str) else masked(key, shown, _DEEPEST)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    try:
        return str(value)
    except Exception:  # noqa: BLE001  somebody else's __str__
        return f"<{type(value).__name__}>"
