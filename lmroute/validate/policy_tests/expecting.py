"""What a test expects, held against what came of the call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmroute.routing.scenario import is_meant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lmroute.model import Candidate, Decision
    from lmroute.routing.simulate import Simulation


@dataclass(frozen=True, slots=True)
class Miss:
    """One expectation that was not met.

    Attributes:
        key: the expectation's.
        expected, got: in words.
    """

    key: str
    expected: str
    got: str


def misses(expect: Mapping[str, Any], call: Simulation) -> tuple[Miss, ...]:
    """The expectations that a call does not meet."""
    judged = ((key, wanted, _GOT[key](wanted, call)) for key, wanted in expect.items())
    return tuple(Miss(key, _shown(wanted), got) for key, wanted, got in judged if got)


def reason(decision: Decision) -> str:
    """Why nobody may be asked; empty when somebody may."""
    if decision.refused or decision.candidates:
        return decision.refused
    if not decision.rule:
        return "no rule is for it"
    dropped = "; ".join(f"{considered.candidate}: {considered.dropped}" for considered in decision.considered)
    return dropped or f"rule '{decision.rule}' names nobody who is selected"


def listed(candidates: Iterable[Candidate]) -> str:
    """Candidates in their order, or ``nobody``."""
    return ", ".join(map(str, candidates)) or "nobody"


def _rule(wanted: str | None, call: Simulation) -> str:
    return "" if call.decision.rule == (wanted or "") else call.decision.rule or "none"


def _answered_by(wanted: str, call: Simulation) -> str:
    if call.answered is None:
        return "nobody"
    return "" if is_meant(call.answered, wanted) else str(call.answered)


def _asked(wanted: Sequence[str], call: Simulation) -> str:
    return _unlike(wanted, call.asked)


def _candidates(wanted: Sequence[str], call: Simulation) -> str:
    return _unlike(wanted, call.decision.candidates)


def _unlike(wanted: Sequence[str], found: Sequence[Candidate]) -> str:
    same = len(wanted) == len(found) and all(map(is_meant, found, wanted))
    return "" if same else listed(found)


def _never(unwanted: Sequence[str], call: Simulation) -> str:
    allowed = [c for c in call.decision.candidates if any(is_meant(c, word) for word in unwanted)]
    return f"{listed(allowed)} may be asked" if allowed else ""


def _refused(wanted: bool | str, call: Simulation) -> str:
    why = reason(call.decision)
    met = bool(why) is wanted if isinstance(wanted, bool) else wanted.lower() in why.lower()
    return "" if met else why or f"not refused: {listed(call.decision.candidates)} may be asked"


def _unanswered(wanted: bool, call: Simulation) -> str:
    if (call.answered is None) is wanted:
        return ""
    return f"{call.answered} answers" if call.answered else "nobody answers"


_GOT: dict[str, Callable[[Any, Simulation], str]] = {
    "rule": _rule,
    "answered_by": _answered_by,
    "asked": _asked,
    "candidates": _candidates,
    "never": _never,
    "refused": _refused,
    "unanswered": _unanswered,
}
"""By expectation, what came of the call instead; empty when it is met."""


def _shown(wanted: Any) -> str:
    if isinstance(wanted, list):
        return ", ".join(wanted) or "nobody"
    return "none" if wanted is None else str(wanted).lower() if isinstance(wanted, bool) else str(wanted)
