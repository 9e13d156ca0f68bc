"""One probe for the monitor: what another process found out a moment ago will do, else the server is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from lmroute.errors import MissingExtra, SecretError
from lmroute.health.status import Source
from lmroute.health.tokens import Tokens
from lmroute.providers.probe import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from lmroute.health.registry import Registry, Server
    from lmroute.model import Profile, Secret
    from lmroute.providers.probe import Patience, ProbeResult

    Found: TypeAlias = tuple[ProbeResult, float, Source]
    """A result, its age in seconds, and who found it."""


class Results(Protocol):
    """Where processes share the results of their probes: ``lmroute.health.sharing.Shared``."""

    def fresh(self, profile: Profile, token: Secret | None, max_age_s: float) -> tuple[ProbeResult, float] | None:
        """The last result and its age in seconds, if it is not older than that."""

    def probing(self, profile: Profile, token: Secret | None) -> AbstractContextManager[bool]:
        """``False`` inside when another process is at it."""

    def publish(self, profile: Profile, token: Secret | None, result: ProbeResult) -> None:
        """Let the others have it."""


class Asker:
    """How to probe. Safe to use from many threads.

    Args:
        probe: called as ``probe(profile, secret=..., patience=...)``.
        clock: seconds of a clock that never goes back.
        results: what other processes found out; ``None`` to do without.
    """

    def __init__(
        self, probe: Callable[..., ProbeResult], clock: Callable[[], float], results: Results | None = None
    ) -> None:
        self._probe, self._clock, self._results = probe, clock, results
        self._tokens = Tokens(clock)

    def __call__(self, server: Server, registry: Registry) -> Found | None:
        """Ask a server, or ``None`` while another process is at it."""
        profile, patience = server.profile, registry.patience
        try:
            token = self._tokens(profile.auth_token) if profile.auth_token else None
        except (SecretError, MissingExtra):
            return self._asked(profile, patience), 0.0, Source.PROBE
        if self._results is None:
            return self._asked(profile, patience, token), 0.0, Source.PROBE
        return self._shared(server, registry, token, self._results)

    def _shared(self, server: Server, registry: Registry, token: Secret | None, results: Results) -> Found | None:
        profile, patience = server.profile, registry.patience
        longest_age_s = registry.longest_age_s(server, self._clock())
        if found := results.fresh(profile, token, longest_age_s):
            server.waits_since = None
            return *found, Source.SHARED
        with results.probing(profile, token) as is_ours:
            if not is_ours and not self._is_tired(server, patience):
                return None
            server.waits_since = None
            if found := results.fresh(profile, token, longest_age_s):  # published while nobody held that turn
                return *found, Source.SHARED
            began = self._clock()
            result = self._asked(profile, patience, token)
            if not patience.outlasted(
                self._clock() - began
            ):  # else this process was stopped: nobody knows how old it is
                results.publish(profile, token, result)
            return result, 0.0, Source.PROBE

    def _is_tired(self, server: Server, patience: Patience) -> bool:
        """Whether another process has had its turn for longer than a probe takes: it may have been stopped."""
        now = self._clock()
        if server.waits_since is None:
            server.waits_since = now
        return now - server.waits_since > patience.longest_s

    def _asked(self, profile: Profile, patience: Patience, token: Secret | None = None) -> ProbeResult:
        """Without a token the probe looks for it itself, and tells what is wrong about it."""
        secret = self._tokens if token is None else lambda _: token
        result = self._probe(profile, secret=secret, patience=patience)
        if result.error_code is ErrorCode.TOKEN_REFUSED and profile.auth_token is not None:
            self._tokens.refused(profile.auth_token)
        return result
