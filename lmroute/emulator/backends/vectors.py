"""Vectors that the scripted model gives to texts."""

from __future__ import annotations

import math
from hashlib import sha256

DIMENSIONS = 768
_PLACES = 16
"""To how many dimensions of a vector one token adds."""


def vector_of(tokens: list[str]) -> list[float]:
    """A unit vector that only depends on which tokens there are and how often: texts that share words are near.

    Every token adds to a few dimensions, chosen by its hash.
    """
    vector = [0.0] * DIMENSIONS
    for token in ("", *tokens):  # so that no text is the zero vector
        digest = sha256(token.strip().lower().encode("utf-8", "surrogatepass")).digest()
        for high, low in zip(digest[:_PLACES], digest[_PLACES:], strict=True):
            vector[(high * 256 + low) // 2 % DIMENSIONS] += 1.0 if low % 2 else -1.0
    length = math.hypot(*vector)
    return [value / length for value in vector]
