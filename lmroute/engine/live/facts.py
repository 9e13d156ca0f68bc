"""What is known right now about the servers of a stack: the facts that the next decision takes into account.

A sync and an async engine share one ``Live``, and it outlives a change of the policy.
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from lmroute.config import paths
from lmroute.engine.live.budgets import Budgets, NoBudgets
from lmroute.engine.live.learnt import Learnt
from lmroute.engine.live.pins import Pins
from lmroute.engine.live.slots import Slots
from lmroute.engine.live.turns import Turn
from lmroute.forks import Locked
from lmroute.health.monitor import Monitor
from lmroute.health.sharing import Shared
from lmroute.model import Candidate, Facts, Failure
from lmroute.routing.breaker import THROTTLED, Breaker
from lmroute.routing.quota import RetryQuota
from lmroute.telemetry.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.model import Profile, Stack
    from lmroute.routing.policy import CompiledPolicy
    from lmroute.telemetry.events import Usage

_RECHECK_S = 1.0
"""How often is looked whether somebody who is out may be asked again."""
_NEWEST = 0.2
"""The weight of the latest call in a candidate's latency."""
_REMEMBERED_S = 60.0
"""How long a latency holds after the candidate's last answer. Who was slow once is not asked, so not measured again."""


class Live(Locked):
    """The facts of one configuration, kept up to date by its calls. Safe to use from threads and event loops together.

    Args:
        learnt: what the children learn from their servers.
        ledger: where budgets are kept; by default in the user's own state folder, and only if there are budgets.
        health: watches the servers beside the calls, and learns from them; nobody does by default.
    """

    def __init__(
        self, learnt: Learnt | None = None, ledger: Ledger | None = None, health: Monitor | None = None
    ) -> None:
        super().__init__()
        self.learnt = learnt or Learnt()
        self.pins = Pins()
        self.health = health
        self._given_ledger = ledger
        self._run = os.urandom(6).hex()
        self._slots = Slots()
        self._breakers: dict[Candidate, Breaker] = {}
        self._quotas: dict[str, RetryQuota] = {}
        self._latency_ms: dict[Candidate, float] = {}
        self._answered_at: dict[Candidate, float] = {}
        self._forgets_at = float("inf")
        self._budgets: Budgets | NoBudgets = NoBudgets()
        self._is_stale, self._holds_until = True, 0.0
        self._stated: dict[str, int | None] = {}
        self._told: object = None
        self._asked_for: dict[str, tuple[Candidate, ...]] = {}
        self._unusable: Mapping[str, str] = {}
        self._health_epoch = -1
        self._facts = Facts(load=self._counted(), latency_ms=MappingProxyType(self._latency_ms))

    @classmethod
    def of(cls, stack: Stack) -> Self:
        """The facts of a configuration, with the watch that it asks for."""
        if not stack.health.watch:
            return cls()
        shared = Shared(paths.user_state_dir() / "health") if stack.health.share else None
        monitor = Monitor((), stack.health, results=shared)
        live = cls(health=monitor)
        weakref.finalize(live, monitor.close)  # who forgets an LM has no use for its threads
        return live

    def adopt(self, policy: CompiledPolicy) -> None:
        """Go by this policy from now on: by its budgets, and without pins to candidates that it does not have."""
        source, profiles = policy.source, policy.providers
        self._stated = {name: profile.context_window for name, profile in profiles.items()}
        self._budgets = Budgets(source, profiles, self._ledger, self._run) if source.budgets else NoBudgets()
        self.pins.keep({rule.name: {option.candidate for option in rule.options} for rule in policy.rules if rule.pin})
        options = {option.candidate for rule in policy.rules for option in rule.options}
        self._asked_for = {name: tuple(sorted(c for c in options if c.provider == name)) for name in profiles}
        if self.health is not None:
            self.health.adopt(profiles[name] for name in policy.providers_in_use())
        self._is_stale = True

    @cached_property
    def _ledger(self) -> Ledger:
        return self._given_ledger or Ledger(paths.user_state_dir() / "budgets.sqlite")

    def facts(self, now: float) -> Facts:
        """The facts as they are. The same object for as long as nothing changed."""
        if now >= self._forgets_at:
            self._forget_latencies(now)
        learnt, health = self.learnt, self.health
        if health is not None and health.epoch != self._health_epoch:
            self._hear(health, now)
        if self._is_stale or now >= self._holds_until or self._told != (learnt.windows, learnt.stale_at):
            self._refresh(now)
        return self._facts

    def admits(self, candidate: Candidate, profile: Profile, now: float) -> bool:
        """Whether a candidate may be asked at once; if so, a breaker that is half open counts the call as its probe."""
        if profile.concurrency is not None and self._slots.load(candidate) >= profile.concurrency:
            return False
        breaker = self._breaker(candidate)
        if not breaker.admit(now):
            return False
        if breaker.is_open(now):  # for all others, now that it has its probe
            self._is_stale = True
        return True

    def turn(self, candidate: Candidate, profile: Profile, tokens: int = 0) -> Turn:
        """A turn at a candidate, still to be waited for, for a call that may take so much of the context window."""
        if self.health is not None:
            self.health.start()  # who is never called needs no watch
        return Turn(self._slots, self.learnt, candidate, profile, tokens)

    def next_try(self, candidate: Candidate, now: float) -> float:
        """When a candidate may be asked again."""
        return self._breaker(candidate).next_try(now)

    def retries(self, provider: str) -> RetryQuota:
        """What is left for asking a provider a second time."""
        return self._quotas.get(provider) or self._quotas.setdefault(provider, RetryQuota())

    def succeeded(self, candidate: Candidate, now: float, *, since: float, paid: int = 0) -> None:
        """The call that began at ``since`` was answered. ``paid`` is what it cost as a retry."""
        self._breaker(candidate).succeeded(now, since=since)
        if self._facts.out or self._facts.throttled:
            self._is_stale = True
        if candidate.provider in self._quotas:
            self._quotas[candidate.provider].succeeded(paid)
        if self.health is not None:
            self.health.answered(candidate.provider, now - since)
        latest = (now - since) * 1000
        with self._lock:
            known = self._latency_ms.get(candidate, latest)
            self._latency_ms[candidate] = known + _NEWEST * (latest - known)
            self._answered_at[candidate] = now
            self._forgets_at = min(self._forgets_at, now + _REMEMBERED_S)

    def failed(
        self,
        candidate: Candidate,
        failure: Failure,
        now: float,
        *,
        since: float,
        retry_after: float | None,
        message: str = "",
    ) -> None:
        """The call that began at ``since`` failed.

        Args:
            retry_after: seconds that the server asked to be left alone.
            message: one line without secrets.
        """
        breaker = self._breaker(candidate)
        breaker.failed(failure, now, since=since, retry_after=retry_after)
        if self.health is not None:
            pause_s = breaker.throttled_s(now) or None if failure is Failure.RATE_LIMIT else None
            self.health.failed(candidate.provider, failure, pause_s, message, now - since)
        self._is_stale = True

    def cancelled(self, candidate: Candidate, since: float) -> None:
        """The call that began at ``since`` ended without telling anything of the server."""
        self._breaker(candidate).cancelled(since)
        self._is_stale = True

    def charge(self, provider: str, model: str, usage: Usage) -> None:
        """Count an answer's tokens for the budgets that the provider draws on. ``model``: as in ``price_of``."""
        if self._budgets.charge(provider, model, usage):
            self._is_stale = True

    def frozen(self) -> tuple[dict[Candidate, int], dict[Candidate, float]]:
        """The load and the latencies of this moment."""
        return dict(self._facts.load), dict(self._latency_ms)

    def close(self) -> None:
        """Stop watching the servers, until the next call."""
        if self.health is not None:
            self.health.close()

    def _begin_in_child(self) -> None:
        super()._begin_in_child()
        self._slots = Slots()  # calls under way are the parent's
        self._facts = replace(self._facts, load=self._counted())
        self._is_stale = True  # whoever was refreshing it is not here

    def _counted(self) -> Mapping[Candidate, int]:
        """The calls under way. The watch is told of them too: a server that is busy may be late."""
        load = _Load(self._slots, self._breakers)
        if self.health is not None:
            self.health.under_way = load.at
        return load

    def _hear(self, health: Monitor, now: float) -> None:
        """Take over what the watch found out. Who is back may be tried at once, whatever calls found before."""
        self._health_epoch = health.epoch  # first: what changes meanwhile is heard next time
        unusable = health.unusable()
        for provider in self._unusable.keys() - unusable.keys():
            for candidate in self._asked_for.get(provider, ()):
                self._breaker(candidate).may_be_back(now)
        self._unusable = unusable
        self._is_stale = True

    def _breaker(self, candidate: Candidate) -> Breaker:
        return self._breakers.get(candidate) or self._breakers.setdefault(candidate, Breaker())

    def _forget_latencies(self, now: float) -> None:
        with self._lock:
            for candidate, at in list(self._answered_at.items()):
                if now >= at + _REMEMBERED_S:
                    del self._answered_at[candidate], self._latency_ms[candidate]
            self._forgets_at = min(self._answered_at.values(), default=float("inf")) + _REMEMBERED_S

    def _refresh(self, now: float) -> None:
        with self._lock:
            self._is_stale = False  # first: what changes meanwhile has to be looked at once more
            holds = now + self._budgets.stale_s
            out = {c: reason for name, reason in self._unusable.items() for c in self._asked_for.get(name, ())}
            throttled: dict[Candidate, str] = {}
            for candidate, breaker in list(self._breakers.items()):
                if reason := breaker.is_open(now):
                    (throttled if reason == THROTTLED else out)[candidate] = reason
                    holds = min(holds, breaker.next_try(now), now + _RECHECK_S)
            self._holds_until = holds
            windows = self._windows(now)
            known, spent = self._facts, self._budgets.spent()
            if (known.out, known.throttled, known.windows, known.spent) != (out, throttled, windows, spent):
                self._facts = Facts(out, throttled, windows, spent, load=known.load, latency_ms=known.latency_ms)

    def _windows(self, now: float) -> dict[Candidate, int]:
        """The windows that candidates are judged by, ``_holds_until`` the first of them is stale.

        A stale one speaks against nobody, for the model may have been loaded anew: whoever is sent there looks again.
        Where it is larger than what the profile states it counts all the same, or that would speak against them.
        """
        told, stale_at = dict(self.learnt.windows), dict(self.learnt.stale_at)
        self._told = (told, stale_at)
        self._holds_until = min(self._holds_until, *(at for at in stale_at.values() if at > now), math.inf)
        return {c: w for c, w in told.items() if now < stale_at.get(c, math.inf) or w > self._stated_for(c, w)}

    def _stated_for(self, candidate: Candidate, otherwise: int) -> int:
        return self._stated.get(candidate.provider) or otherwise


class _Load(Mapping[Candidate, int]):
    """The calls under way, as they are when somebody looks."""

    def __init__(self, slots: Slots, asked: Mapping[Candidate, object]) -> None:
        self._slots, self._asked = slots, asked

    def __getitem__(self, candidate: Candidate) -> int:
        return self._slots.load(candidate)

    def at(self, provider: str) -> int:
        """The calls under way to all of a provider's models."""
        return sum(self._slots.load(candidate) for candidate in list(self._asked) if candidate.provider == provider)

    def __iter__(self) -> Iterator[Candidate]:
        return (candidate for candidate in list(self._asked) if self._slots.load(candidate))

    def __len__(self) -> int:
        return sum(1 for _ in self)
