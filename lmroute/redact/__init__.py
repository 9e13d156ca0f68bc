"""The one redactor that every message, record and log line goes through.

Three nets. Values that were revealed in this process are replaced exactly, in every way of writing that servers and
libraries have (``values``). Text that has the shape of a key is replaced even when nobody registered it, because
servers echo what they were sent (``shapes``). And in data, what stands under a name like ``authorization`` is replaced
whatever it looks like (``fields``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lmroute.redact import fields as _fields
from lmroute.redact import shapes as _shapes
from lmroute.redact.values import MASK, PLACEHOLDERS, Known

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["MASK", "PLACEHOLDERS", "Known", "data", "headers", "is_in", "one_line", "remember", "text"]

_LONGEST = 240
"""Characters of one line of somebody else's text."""

_BEGUN = re.compile(r"\\+(?:u[0-9a-fA-F]{0,3})?\Z")
"""An escape that goes on: its backslashes (more in a text inside of a text), or some of its digits."""
_LONGEST_ESCAPE = 40

_known = Known()


def remember(value: str) -> None:
    """Have this exact value, and every way in which it may be written, masked from now on."""
    _known.remember(value)


def is_in(data: bytes) -> bool:
    """Whether a known secret may be in there: for who has to look at much and seldom finds one."""
    return _known.is_in(data)


def text(message: str) -> str:
    """``message`` with every known secret and everything shaped like a key replaced by ``***``.

    JSON text stays JSON text. Takes some microseconds for a kilobyte without a secret.
    """
    # All are looked for in the text as it came: what one leaves behind may be half of another, in a shape nobody knows.
    found = [*_known.spans(message), *_shapes.spans(message)]
    if not found:
        return message
    shown, at = [], 0
    for start, end in sorted(_whole(message, *span) for span in found):
        if start >= at:
            shown += [message[at:start], MASK]
        at = max(at, end)
    return "".join([*shown, message[at:]])


def _whole(message: str, start: int, end: int) -> tuple[int, int]:
    """The same with no escape cut in two at its ends, half of which would be no JSON."""
    if cut := _BEGUN.search(message, max(0, start - _LONGEST_ESCAPE), start):
        start = cut.start()
    backslashes = end - len(message[:end].rstrip("\\"))
    return start, min(end + backslashes % 2, len(message))


def one_line(told: str, longest: int = _LONGEST) -> str:
    """What a person may be shown of somebody else's text: no secret, no control character, not too long."""
    # Redacted before it is cut: half a secret has no shape any more.
    plain = "".join(c if c.isprintable() else " " for c in text(told))
    shown = " ".join(plain.split())
    return shown if len(shown) <= longest else f"{shown[:longest]}…"


def data(value: Any) -> Any:
    """Nested data with the values of keys that name secrets masked, and every text in it passed through ``text``.

    Dictionaries, lists, tuples, sets, texts, bytes, numbers and ``None`` keep their kind; anything else becomes its
    text. Numbers are never masked, and references to secrets (``{env: NAME}``) are shown.
    """
    return _fields.masked(value, text)


def headers(given: Mapping[Any, Any] | Iterable[tuple[Any, Any]]) -> dict[str, str]:
    """HTTP headers as they may be shown: names in lower case, the last of a name, the values of credentials masked."""
    pairs = given.items() if hasattr(given, "items") else given
    return {name: _fields.header(name, value, text) for name, value in _fields.named(pairs)}
