"""What the servers of a stack told of their models. The providers fill it; routing and turns read it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from lmroute.engine.live.hosts import Hosts, ours

if TYPE_CHECKING:
    from lmroute.model import Candidate
    from lmroute.providers.inventory import ListedModel

Value = TypeVar("Value")

_MOST_AT_ONCE = 4
"""What LM Studio takes by default. Where somebody has set more, the calls still share one window and one machine."""


@dataclass(slots=True)
class Learnt:
    """By candidate, what its server last told of the model that answers for it.

    Attributes:
        windows: tokens of prompt and answer together, of the loaded model.
        stale_at: when a window has to be asked for again, on the monotonic clock; those without hold for good.
        parallel: predictions at once; they share the window.
        staying: candidates whose model is not unloaded when another one is loaded: a person or lmroute loaded it.
        own_hosts: in place of those that all LMs of the process share, for tests.
    """

    windows: dict[Candidate, int] = field(default_factory=dict)
    parallel: dict[Candidate, int] = field(default_factory=dict)
    staying: set[Candidate] = field(default_factory=set)
    stale_at: dict[Candidate, float] = field(default_factory=dict)
    own_hosts: Hosts | None = None

    @property
    def hosts(self) -> Hosts:
        """What is known of the hosts whose models calls can switch, and who is on them."""
        return self.own_hosts or ours()

    def note(self, candidate: Candidate, listed: ListedModel | None, *, stays: bool, until: float = math.inf) -> None:
        """Keep what is told of a candidate's model; ``None`` when it is not in memory."""
        _keep(self.windows, candidate, listed.context_window if listed else None)
        _keep(self.stale_at, candidate, until if listed else None)  # after the window: no old one seems fresh
        _keep(self.parallel, candidate, listed.parallel if listed else None)
        (self.staying.add if stays else self.staying.discard)(candidate)

    def limits(self, candidate: Candidate, stated: int | None) -> tuple[int | None, int | None]:
        """How many calls a candidate may have at once, and how many tokens these may take together; ``None``: no bound.

        Large prompts side by side fill the window that they share, and LM Studio answers with nothing or aborts all.

        Args:
            stated: the profile's ``concurrency``, which beats what was learnt.
        """
        parallel = self.parallel.get(candidate, 0)
        most = stated if stated is not None else min(parallel, _MOST_AT_ONCE) or None
        return most, self.windows.get(candidate) if parallel > 1 else None


def _keep(told: dict[Candidate, Value], candidate: Candidate, value: Value | None) -> None:
    if value is None:
        told.pop(candidate, None)
    else:
        told[candidate] = value
