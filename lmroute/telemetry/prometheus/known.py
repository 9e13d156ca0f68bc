"""What metrics are made of: counts of calls and attempts that have their words in common, and how servers are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Calls:
    """Some calls, as the index's ``dims``, ``minutes`` and ``latencies`` have them.

    Attributes:
        provider, model: who answered; ``None`` when nobody did.
        fallbacks: how many had been tried at somebody else before.
        untold: how many told no tokens.
        priced: of how many the cost is known, which is ``usd`` together.
        durations: how many took how long, by ``index.latency.bucket``.
    """

    provider: str | None
    model: str | None
    rule: str | None
    task: str | None
    status: str
    error_code: str | None
    calls: int
    fallbacks: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    untold: int = 0
    usd: float = 0.0
    priced: int = 0
    durations: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attempts:
    """Some attempts, as the index's ``dims`` and ``tries`` have them."""

    provider: str | None
    model: str | None
    status: str
    error_code: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted.

    Attributes:
        since: when the count began, in seconds since the epoch.
        calls, attempts: in the order in which they first occurred.
        lost: how many records each sink could not write.
    """

    since: float
    calls: Sequence[Calls] = ()
    attempts: Sequence[Attempts] = ()
    lost: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Server:
    """How a provider is.

    Attributes:
        state: the word of a ``providers.probe.states.State``.
        last_checked: seconds since the epoch; ``None`` if it never was.
    """

    provider: str
    state: str
    last_checked: float | None = None
