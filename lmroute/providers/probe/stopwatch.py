"""Time a probe's phases: the resolver is wrapped, connection and TLS are watched through httpcore's trace."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lmroute.providers.addresses import resolve
from lmroute.providers.probe.states import PHASES, Outcome, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRACED = {
    "connect_tcp.started": "connect",
    "start_tls.started": "tls",
    "send_request_headers.started": "auth",
    "receive_response_headers.complete": "list",
}
"""httpcore's events that begin a phase, and so end the one before."""


class Stopwatch:
    """One try's phases. What begins ends what came before; what fails is the phase that was running.

    ``auth`` runs until the status line is there; a server that never sends one is not to blame for its tokens, so that
    failure counts as ``list``.

    Attributes:
        addresses: those that the name has.
        answering: the one that a connection stands to; empty before that, and through a proxy.
    """

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.answering = ""
        self._done: dict[str, Phase] = {}
        self._running = ""
        self._since = time.perf_counter()
        self._began = self._since

    def begin(self, name: str) -> None:
        """Start a phase; the running one went well."""
        self.end()
        self._running = name

    def end(self, *, failed: bool = False) -> None:
        """End the running phase."""
        now = time.perf_counter()
        if self._running:
            outcome = Outcome.FAILED if failed else Outcome.OK
            self._done[self._running] = Phase(self._running, (now - self._since) * 1000, outcome)
        self._running, self._since = "", now

    def fail(self) -> str:
        """End the running phase as failed and give its name."""
        if self._running in {"", "auth"}:
            self._running = "list"
        name = self._running
        self.end(failed=True)
        return name

    def blame(self, *, auth: bool) -> None:
        """The server answered, and what it said is that there is no list, or none for this token."""
        if auth:
            self._done["auth"] = replace(self._done["auth"], outcome=Outcome.FAILED)
            self._running = ""
        else:
            self.fail()

    def skip(self, name: str) -> None:
        """Say nothing about a phase: that it went well proves nothing."""
        self._done.pop(name, None)

    def resolve(self, host: str, port: int, timeout: float | None) -> list[str]:
        """``addresses.resolve``, timed. The connection that it is a part of goes on being timed afterwards."""
        if "dns" in self._done:  # a second connection, for what is asked afterwards
            return resolve(host, port, timeout)
        self._running = "dns"
        found = self.addresses = resolve(host, port, timeout)
        self.begin("connect")
        return found

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """See httpcore's ``trace`` extension. Events are called ``part.event.state``."""
        name = event.partition(".")[2]
        if name == "connect_tcp.complete":
            self.answering = str((info["return_value"].get_extra_info("server_addr") or ("",))[0])
        phase = _TRACED.get(name)
        if phase == "tls":  # through a proxy: what was sent before was for the proxy
            self.end()
            self._done.pop("auth", None)
            self._done.pop("list", None)
        if phase is not None and phase not in self._done:
            self.begin(phase)

    @property
    def total_ms(self) -> float:
        """Milliseconds since the start."""
        return (time.perf_counter() - self._began) * 1000

    def phases(self) -> tuple[Phase, ...]:
        """All phases in their order; those that never ran are skipped."""
        return tuple(self._done.get(name, Phase(name)) for name in PHASES)
