"""The characters that a state of a pattern spells, as bits over those that tell its classes apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_USUAL = (*map(chr, range(128)), "é", "Ж", "中", "٣", "\u00a0", "\u2028")
"""ASCII, and beyond it a letter of each sort, a digit, spaces."""

_CATEGORIES: Mapping[str, tuple[Callable[[str], bool], bool]] = {
    "DIGIT": (str.isdecimal, True),
    "NOT_DIGIT": (str.isdecimal, False),
    "SPACE": (str.isspace, True),
    "NOT_SPACE": (str.isspace, False),
    "WORD": (lambda character: character.isalnum() or character == "_", True),
    "NOT_WORD": (lambda character: character.isalnum() or character == "_", False),
}


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The characters that are looked at: the usual ones, and those that the pattern itself has.

    Two ranges that meet have an end of one of them in common, and a range's ends stand in the pattern.
    """

    characters: tuple[str, ...]

    @classmethod
    def of(cls, pattern: str) -> Alphabet:
        """Those for a pattern, its escapes (``\\u03b1``) resolved."""
        escaped = re.findall(r"\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}", pattern)
        named = {chr(int(escape.lstrip("\\xuU"), 16)) for escape in escaped} | set(pattern)
        return cls(tuple(dict.fromkeys((*_USUAL, *(form for one in sorted(named) for form in _forms(one))))))

    @property
    def any(self) -> int:
        """All of them."""
        return (1 << len(self.characters)) - 1

    def spelt(self, operator: str, operand: Any, flags: int) -> int:
        """Those that an operator of the parse tree matches."""
        return sum(1 << bit for bit, one in enumerate(self.characters) if _is_spelt(one, operator, operand, flags))


def _is_spelt(character: str, operator: str, operand: Any, flags: int) -> bool:
    forms = _forms(character) if flags & re.IGNORECASE else {character}
    match operator:
        case "ANY":
            return bool(flags & re.DOTALL) or character != "\n"
        case "LITERAL":
            return chr(operand) in forms
        case "NOT_LITERAL":
            return chr(operand) not in forms
        case "IN":
            is_negated = str(operand[0][0]) == "NEGATE"
            return is_negated != any(_is_in(forms, str(kind), what) for kind, what in operand[is_negated:])
        case _:  # unknown to this version: it may be anything
            return True


def _is_in(forms: set[str], kind: str, what: Any) -> bool:
    match kind:
        case "LITERAL":
            return chr(what) in forms
        case "RANGE":
            return any(what[0] <= ord(form) <= what[1] for form in forms)
        case _:
            holds, wanted = _CATEGORIES[str(what).removeprefix("CATEGORY_")]
            return any(holds(form) is wanted for form in forms)


def _forms(character: str) -> set[str]:
    """A character, small and capital."""
    return {form for form in (character, character.lower(), character.upper()) if len(form) == 1}
