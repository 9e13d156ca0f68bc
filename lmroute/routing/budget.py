"""Budgets: tokens and US dollars per run, hour or day. Pure; ``lmroute.telemetry.ledger`` keeps what was spent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lmroute.model import Period

if TYPE_CHECKING:
    from lmroute.model import Cost

_MOST_TOKENS = 100_000_000
_RUN = f"{Period.RUN} "
_STAMPS = {Period.HOUR: "hour %Y-%m-%dT%HZ", Period.DAY: "day %Y-%m-%dZ"}


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens of prompts and answers together, and US dollars."""

    tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.tokens + other.tokens, self.usd + other.usd)


@dataclass(frozen=True, slots=True)
class Charge:
    """What one call cost. ``note`` says what could not be counted; empty when all could."""

    spent: Spent
    note: str = ""


def window(per: Period, now: float, run_id: str) -> str:
    """The key of the window that a moment falls into. Hours and days are UTC's, so that all processes agree.

    Args:
        now: seconds since the epoch.
    """
    return _RUN + run_id if per is Period.RUN else datetime.fromtimestamp(now, UTC).strftime(_STAMPS[per])


def is_shared(window: str) -> bool:
    """Whether other processes spend from the same window: an hour's or a day's, not a run's."""
    return not window.startswith(_RUN)


def charge(input_tokens: int | None, output_tokens: int | None, cost: Cost | None) -> Charge:
    """What a call that used so many tokens cost at a profile's prices. What is unknown counts as 0 and is said."""
    spent_in, spent_out = _sane(input_tokens), _sane(output_tokens)
    notes = []
    if input_tokens is None or output_tokens is None:
        notes.append("the server reported no usage, so its tokens count as 0")
    if cost is None:
        notes.append("no price is known (the profile states no cost), so its dollars count as 0")
        return Charge(Spent(spent_in + spent_out), "; ".join(notes))
    usd = (spent_in * cost.input_per_mtok + spent_out * cost.output_per_mtok) / 1_000_000
    return Charge(Spent(spent_in + spent_out, usd), "; ".join(notes))


def _sane(tokens: int | None) -> int:
    """What a server may well say of one call; budgets do not shrink, and one absurd number must not end them all."""
    return min(max(tokens or 0, 0), _MOST_TOKENS)


def exhausted(name: str, per: Period, spent: Spent, *, tokens: int | None = None, usd: float | None = None) -> str:
    """Why a budget allows no further call, in words that stay the same until the window ends; empty while it does.

    Args:
        tokens, usd: the limits; ``None`` sets none.
    """
    if tokens is not None and spent.tokens >= tokens:
        return f"budget {name}: its {tokens:,} tokens per {per} are spent"
    if usd is not None and spent.usd >= usd:
        return f"budget {name}: its ${usd:,g} per {per} are spent"
    return ""
