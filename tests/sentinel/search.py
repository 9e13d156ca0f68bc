"""Find a key in any bytes, whole or in part, however it is written there."""

from __future__ import annotations

import base64
import html
import re
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIECE = 12
"""Characters of a key, one after the other, that are too many to show."""

_ESCAPE = re.compile(rb"\\+(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([/\"'\\]))")
_ANSI = re.compile(rb"\x1b\[[0-9;]*m")
_LAYERS = 3
"""Levels of escaping that are undone: JSON inside of JSON inside of a URL."""


def sightings(data: bytes, key: str) -> list[str]:
    """In which forms a key, or twelve characters of it, is in the data, each with what is around it."""
    found = []
    for how, view in _views(data):
        for name, needle in _needles(key).items():
            if (at := (view.lower() if name == "hexadecimal" else view).find(needle)) >= 0:
                around = view[max(0, at - 120) : at] + b"<HERE>" + view[at + len(needle) : at + len(needle) + 60]
                found.append(f"{name}{how}: {around.decode('latin-1')!r}")
                break  # of the ways in one view the first says enough
    return found


def sightings_below(folder: Path, keys: list[str], but: frozenset[Path] = frozenset()) -> list[str]:
    """Where below a folder any of these keys is: in files, and in the names of files. Those of ``but`` may hold one."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path in but:
            continue
        data = str(path.relative_to(folder)).encode()
        if path.is_file():
            data += b"\n" + path.read_bytes()
        found += [f"{path}: {how}" for key in keys for how in sightings(data, key)]
    return found


@cache
def _needles(key: str) -> dict[str, bytes]:
    raw = key.encode()
    random = raw.rpartition(b"SENTINEL")[2]
    pieces = {random[at : at + PIECE] for at in range(len(random) - PIECE + 1)}
    needles = {"whole": raw, "hexadecimal": random.hex().encode()}
    for before in range(3):
        # What base64 makes of a byte's neighbours differs; of the bytes whose letters are only theirs it does not.
        letters = base64.b64encode(b"\0" * before + random)
        start, end = -(-before * 8 // 6), (before + len(random)) * 8 // 6
        needles[f"base64+{before}"] = letters[start:end]
        needles[f"base64url+{before}"] = letters[start:end].translate(bytes.maketrans(b"+/", b"-_"))
    return needles | {f"a piece, {piece[:2].decode()}…": piece for piece in pieces}


def _views(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The data as it is, and with its escapes undone, after how that is to be said."""
    yield "", data
    plain = data
    for _ in range(_LAYERS):
        plain = html.unescape(_unescaped(unquote_to_bytes(plain)).decode("latin-1")).encode("latin-1", "replace")
        if plain != data:
            yield ", escaped", plain
    if (joined := re.sub(rb"[\s\0]+", b"", _ANSI.sub(b"", plain))) != plain:
        yield ", broken over lines", joined


def _unescaped(data: bytes) -> bytes:
    def character(escape: re.Match[bytes]) -> bytes:
        code = escape[1] or escape[2]
        return chr(int(code, 16)).encode("latin-1", "replace") if code else escape[3]

    return _ESCAPE.sub(character, data)
