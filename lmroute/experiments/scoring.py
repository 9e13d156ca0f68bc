"""Right or wrong, how often, how sure that is, and what guessing would have got."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NOT_WORD = re.compile(r"[^\w\s.-]|\.(?!\d)|-(?!\.?\d)")
_MINUS = "\N{MINUS SIGN}"
_Z95 = 1.959963984540054


def normal(value: Any) -> str:
    """An answer without case, articles, punctuation and extra space: ``The Fish Market.`` is ``fish market``.

    Numbers keep their sign and decimals and lose their thousands' commas. An answer that is nothing but articles and
    punctuation stays as it is, so that ``A`` is not ``The``.
    """
    text = " ".join(unicodedata.normalize("NFC", str(value)).casefold().replace(_MINUS, "-").split())
    words = _NOT_WORD.sub(" ", _THOUSANDS.sub("", text))
    return " ".join(_ARTICLES.sub(" ", words).split()) or text


def is_right(expected: Mapping[str, str], answer: Mapping[str, Any]) -> bool:
    """Whether every field of the answer is right."""
    return all(normal(answer.get(name)) == normal(value) for name, value in expected.items())


def wilson(right: int, total: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share: honest for small samples and near 0 and 1."""
    if not total:
        return 0.0, 1.0
    share, z2 = right / total, _Z95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    # Rounding must not put the share itself outside.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def baseline(expected: Sequence[Mapping[str, str]]) -> tuple[float, str]:
    """What always giving the most frequent answer would get, and that answer. Ties go to the first."""
    if not expected:
        return 0.0, ""
    (answer, count), *_ = Counter(tuple(normal(value) for value in row.values()) for row in expected).most_common(1)
    return count / len(expected), ", ".join(answer)


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which a share of the values lies, by nearest rank; 0 for none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
