"""The rule about settings of a policy that change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.config import decode
from lmroute.model import Order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.diagnostics import Diagnostic
    from lmroute.validate.context import Context
    from lmroute.validate.written import Holder


def shares(holder: Holder) -> Iterator[Diagnostic]:
    """LMR314: shares without the order that reads them, and the order without shares."""
    if (policy := holder.written) is None:
        return
    for path, raw in policy.uses():
        if not isinstance(raw, dict) or not all(policy.readable((*path, key)) for key in ("order", "weights")):
            continue
        weighted = raw.get("order") == Order.WEIGHTED
        if "weights" in raw and not weighted:
            message, advice = "nothing reads these shares", "add order: weighted, or leave them out"
            yield policy.finding("LMR314", (*path, "weights"), message, advice, at_key=True)
        elif weighted and "weights" not in raw:
            message, advice = "weighted by no weights: all get the same share", "add weights: {ID: 3, OTHER: 1}"
            yield policy.finding("LMR314", (*path, "order"), message, advice)


def budgets(context: Context) -> Iterator[Diagnostic]:
    """LMR314: a budget in dollars that some of its providers never draw on, because they have no price."""
    if (policy := context.written) is None:
        return
    for path, raw in policy.listed("budgets"):
        if "usd" in raw and policy.readable(path):
            traits = decode.traits(raw.get("select", {}))
            drawing = [name for name, profile in context.providers.items() if traits.matches(profile)]
            if free := [name for name in drawing if context.providers[name].cost is None]:
                message = f"budget '{raw['name']}' counts nothing for {', '.join(free)}: no cost is known"
                price = f"+providers.{free[0]}.cost={{input_per_mtok: …, output_per_mtok: …}}"
                advice = f"give the profile its price, 0 if it is free: {price}"
                yield policy.finding("LMR314", (*path, "usd"), message, advice)
