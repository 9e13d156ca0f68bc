"""The codes of findings as people type them: ``LMR102``, ``lmr102``, ``102``, and ``LMR1`` for all that begin so."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from lmroute.errors import LmrouteError
from lmroute.validate.table import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable

_NEAR = 0.82
"""One letter of six, or two that changed places: all codes begin with the same three."""


def code_of(word: str) -> str:
    """The code that somebody means.

    Raises:
        LmrouteError: there is none.
    """
    code = _written_out(word)
    if code not in RULES:
        raise _unknown(word, "'lmroute explain' lists them")
    return code


def starting_with(words: Iterable[str]) -> frozenset[str]:
    """The codes that begin with any of these words; each word may hold several, between commas.

    Raises:
        LmrouteError: one of them begins no code.
    """
    codes: set[str] = set()
    for word in (part.strip() for listed in words for part in listed.split(",")):
        found = {code for code in RULES if word and code.startswith(_written_out(word))}
        if not found:
            raise _unknown(word, "write a code, or what several begin with: LMR102, LMR1")
        codes |= found
    return frozenset(codes)


def _written_out(word: str) -> str:
    return f"LMR{word}" if re.fullmatch(r"\d+", word) else word.upper()


def _unknown(word: str, otherwise: str) -> LmrouteError:
    near = difflib.get_close_matches(_written_out(word), RULES, n=1, cutoff=_NEAR)
    advice = f"did you mean '{near[0]}'?" if near else otherwise
    return LmrouteError(f"there is no code '{word}'\n  help: {advice}")
