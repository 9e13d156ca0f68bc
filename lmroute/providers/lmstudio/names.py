"""What LM Studio calls a model: keys, variants, copies and identifiers of their own."""

from __future__ import annotations

import re


def is_same_model(asked: str, answered: str) -> bool:
    """Whether the answering model is the one asked for.

    Keys are case-insensitive, a second copy is called ``key:2``, and ``key@quant`` names a variant of ``key``.
    """
    return plain_key(asked) == plain_key(answered)


def plain_key(name: str) -> str:
    """A name without the number of its copy and its variant, in lower case."""
    return re.sub(r"(:\d+)?$", "", name.casefold()).partition("@")[0]
