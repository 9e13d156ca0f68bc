"""The exact net: values that were revealed in this process, however they are written where they turn up again."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING

from lmroute.forks import Locked

if TYPE_CHECKING:
    from collections.abc import Iterator

MASK = "***"

PLACEHOLDERS = frozenset({"lm-studio", "lmstudio", "llamacpp", "llama.cpp", "ollama", "openai", "sglang"})
"""What people send to servers that want no key. To mask these is to mask the names of providers everywhere."""

_SHORTEST = 6
"""Shorter values would mask ordinary words; nothing that short protects anything."""
_MOST = 1000
"""Patterns that are kept, about four a value: where tokens change every hour, those of ten days."""

_ANY64 = r"[A-Za-z0-9+/_-]"
_PADDING = r"(?:=|%3[dD]|\\{1,4}u003[dD]){0,2}"
_HTML = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}


class Known(Locked):
    """Values to be masked. Reading takes no lock, because a finalizer may have to write a record at any time."""

    def __init__(self) -> None:
        super().__init__()
        self._patterns: dict[str, str] = {}
        self._hunted: tuple[tuple[str, str], ...] = ()

    def remember(self, value: str) -> None:
        """Have this value masked from now on; the oldest are forgotten when there are very many."""
        if len(value) < _SHORTEST or value in PLACEHOLDERS:
            return
        with self._lock:
            self._patterns |= {_spelled(value): _core(value)}
            self._patterns |= dict(_base64(value))
            while len(self._patterns) > _MOST:
                del self._patterns[next(iter(self._patterns))]
            self._hunt()

    def _hunt(self) -> None:
        self._hunted = tuple((core, pattern) for pattern, core in self._patterns.items())

    def _begin_in_child(self) -> None:
        super()._begin_in_child()
        self._hunt()  # whoever was remembering one is not here

    def spans(self, message: str) -> Iterator[tuple[int, int]]:
        """Where known values stand, as start and end; they may overlap."""
        for core, pattern in self._hunted:
            if core in message:  # a hundredth of the pattern's time
                yield from (found.span() for found in re.finditer(pattern, message))

    def is_in(self, data: bytes) -> bool:
        """Whether one may stand in there, at the cost of a search for each."""
        return any(core.encode() in data for core, _ in self._hunted)


def _core(value: str) -> str:
    """The longest part that looks the same however the value is written: nobody escapes letters and digits."""
    return max(re.split("[^A-Za-z0-9]+", value), key=len)


def _spelled(value: str) -> str:
    """A pattern of a text plain, URL-encoded, in JSON or Python quotes (twice, too), and in HTML."""
    return "".join(map(_spellings, value))


def _spellings(c: str) -> str:
    if c.isascii() and c.isalnum():
        return c
    ways = [re.escape(c), _percent(c), *_escapes(c)]
    if c in _HTML:
        ways.append(f"&{_HTML[c]};")
    ways.append(rf"&#(?:0*{ord(c)}|[xX]0*{_any_case(f'{ord(c):x}')});")
    return f"(?:{'|'.join(ways)})"


def _percent(c: str) -> str:
    encoded = "".join(f"%(?:25)*{_any_case(f'{byte:02x}')}" for byte in c.encode("utf-8", "surrogatepass"))
    return rf"{encoded}|\+" if c == " " else encoded


def _escapes(c: str) -> Iterator[str]:
    r"""Backslash forms, for each text inside of a text once more: ``\/`` of PHP, ``\u0026`` of Go and .NET."""
    if c == "\\":
        yield r"\\\\\\\\|\\\\"  # an odd one belongs to what follows
    elif c in "\"'/":
        yield rf"\\{{1,4}}{c}"
    elif len(short := json.dumps(c)[1:-1]) == 2:  # noqa: PLR2004  \n and the like
        yield rf"\\{{1,4}}{short[1]}"
    codes = json.dumps(c)[1:-1] if not c.isascii() else f"\\u{ord(c):04x}"
    yield "".join(rf"\\{{1,4}}u{_any_case(code)}" for code in codes.split("\\u")[1:])


def _any_case(digits: str) -> str:
    return "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in digits)


def _base64(value: str) -> Iterator[tuple[str, str]]:
    """Patterns and cores of what base64 makes of a value, alone or in the midst of more, as in ``Basic user:key``.

    By how many bytes stand before it, modulo three, a value is written in one of three ways. Where its first and last
    bytes share a letter with what is beside them, that letter may be any.
    """
    raw = value.encode("utf-8", "surrogatepass")
    for before, shared in enumerate((0, 2, 3)):
        letters = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")[shared:]
        ends_within = (before + len(raw)) % 3 != 0
        letters = letters[:-1] if ends_within else letters
        first, last = f"{_ANY64}?" if shared else "", f"{_ANY64}?" if ends_within else ""
        yield f"{first}{''.join(map(_spellings64, letters))}{last}{_PADDING}", _core(letters)


def _spellings64(c: str) -> str:
    twin = {"+": "-", "/": "_"}.get(c)  # of base64url
    return f"(?:{_spellings(c)}|{twin})" if twin else c
