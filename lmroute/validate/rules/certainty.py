"""The rule about guarantees that rest on what is not always known of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.keypaths import KeyPath
    from lmroute.diagnostics import Diagnostic
    from lmroute.validate.written import Holder

_NAMES = frozenset({"module", "signature", "predictor"})


def names(holder: Holder) -> Iterator[Diagnostic]:
    """LMR315: a guarantee is about the requests of a module, signature or predictor, whose name may be unknown."""
    if (policy := holder.written) is None:
        return
    told: set[KeyPath] = set()
    for path, name, _ in policy.read:
        guarantee = path[: len(policy.path) + 2]
        if name in _NAMES and path[len(policy.path)] == "guarantees" and guarantee not in told:
            told.add(guarantee)
            message = f"the {name} of a request is not always known, and then this guarantee is not about it"
            advice = "say it with privacy, a tag or an attribute of your own, which the program states: lmroute.task(…)"
            yield policy.finding("LMR315", path, message, advice, at_key=True)
