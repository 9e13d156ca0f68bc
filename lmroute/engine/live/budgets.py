"""The budgets of a policy against what the ledger says was spent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lmroute.logs import logger
from lmroute.routing.budget import charge, exhausted, window
from lmroute.telemetry.ledger import STALE_S
from lmroute.telemetry.prices import charged, price_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lmroute.model import Budget, Policy, Profile
    from lmroute.telemetry.events import Usage
    from lmroute.telemetry.ledger import Ledger

_log = logger("lmroute.engine")


class Budgets:
    """Who draws on which budget of a policy, and which of them are used up.

    Args:
        run: tells this run from all others.

    Attributes:
        stale_s: how long an answer of ``spent`` holds, as far as time and other processes go.
    """

    stale_s = STALE_S

    def __init__(self, policy: Policy, providers: Mapping[str, Profile], ledger: Ledger, run: str) -> None:
        self._budgets = policy.budgets
        self._providers = providers
        self._ledger, self._run = ledger, run
        self._drawn = {
            id_: drawn
            for id_, profile in providers.items()
            if (drawn := tuple(budget for budget in policy.budgets if budget.select.matches(profile)))
        }
        self._noted: set[tuple[str, str]] = set()

    def spent(self) -> frozenset[str]:
        """Names of the budgets that are used up at the moment."""
        return frozenset(budget.name for budget in self._budgets if self._is_spent(budget))

    def charge(self, provider: str, model: str, usage: Usage) -> bool:
        """Count what an answer cost, the dollars as its record has them; whether there was a budget to count it for."""
        drawn = self._drawn.get(provider)
        if not drawn:
            return False
        price = price_of(self._providers[provider], model)
        cost = charge(usage.input_tokens, usage.output_tokens, price.cost)
        usd = charged(price, usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.written_tokens)
        for budget in drawn:
            self._ledger.add(
                budget.name, self._window(budget), cost.spent.tokens, cost.spent.usd if usd is None else usd
            )
        if cost.note and (provider, cost.note) not in self._noted:
            self._noted.add((provider, cost.note))
            _log.warning("budgets: %s: %s", provider, cost.note)
        return True

    def _is_spent(self, budget: Budget) -> bool:
        spent = self._ledger.spent(budget.name, self._window(budget))
        return bool(exhausted(budget.name, budget.per, spent, tokens=budget.tokens, usd=budget.usd))

    def _window(self, budget: Budget) -> str:
        return window(budget.per, time.time(), self._run)


class NoBudgets:
    """Nothing is limited, so nothing is counted."""

    stale_s = float("inf")

    def spent(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def charge(self, provider: str, model: str, usage: Usage) -> bool:  # noqa: ARG002
        """There is nothing to count it for."""
        return False
