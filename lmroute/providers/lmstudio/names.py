"""What LM Studio calls a model: keys, variants, copies and identifiers of their own."""

from __future__ import annotations

import re

_COPY = re.compile(r":\d+$")


def is_same_model(asked: str, answered: str) -> bool:
    """Whether the answering model is the one asked for, as far as their names alone tell.

    Keys are case-insensitive, a second copy is called ``key:2``, and ``key@quant`` names a variant of ``key``. Where
    both have a number, or both a variant, these have to be the same: ``team:1`` and ``team:2`` may be anything.
    """
    one, other = split(asked), split(answered)
    return one[0] == other[0] and all(not a or not b or a == b for a, b in zip(one[1:], other[1:], strict=True))


def plain_key(name: str) -> str:
    """A name without the number of its copy and its variant, in lower case."""
    return split(name)[0]


def split(name: str) -> tuple[str, str, str]:
    """A name's key, variant and number of its copy, in lower case; empty what it has not."""
    folded = name.casefold()
    bare = _COPY.sub("", folded)
    key, _, variant = bare.partition("@")
    return key, variant, folded[len(bare) + 1 :]
