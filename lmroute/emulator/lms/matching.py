"""Which model a loosely written key means."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def matches(query: str, keys: Iterable[str]) -> list[str]:
    """The keys that contain the characters of ``query`` in their order, in any case of letters; best first.

    A key that is equal comes before one that begins with the query, that before one that contains it in one piece, and
    that before one that has it in pieces; among those, the shortest stretch wins, then the order of ``keys``.
    """
    found = [(rank, key) for key in keys if (rank := _rank(query.lower(), key.lower())) is not None]
    return [key for _, key in sorted(found, key=lambda pair: pair[0])]


def _rank(query: str, key: str) -> tuple[int, int] | None:
    if query == key:
        return 0, 0
    if key.startswith(query):
        return 1, 0
    if query in key:
        return 2, 0
    spans = [span for start in range(len(key)) if (span := _span(query, key, start)) is not None]
    return (3, min(spans)) if spans else None


def _span(query: str, key: str, start: int) -> int | None:
    """Length of the stretch of ``key`` from ``start`` that has all of ``query``, which begins there."""
    if key[start] != query[0]:
        return None
    at = start
    for letter in query:
        at = key.find(letter, at) + 1
        if not at:
            return None
    return at - start
