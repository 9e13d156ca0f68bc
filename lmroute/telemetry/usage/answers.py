"""What ``usage`` answers with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lmroute.telemetry.index.latency import WITHIN

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Row:
    """Calls that have the same ``key``.

    Attributes:
        key: what they are told apart by; ``None`` for a word that they do not have, such as the provider of a call
            that nobody answered.
        calls: ``ok``, ``errors`` and ``cancelled`` together.
        error_codes: how many failed with which.
        asked_last: who that was, of the calls that were not answered, by the same codes; none where nobody was asked.
        fallbacks: those answered by another candidate than the first that was asked.
        p50_ms, p95_ms: of their durations, those that failed included. ``None`` when there are none.
        first_token_p50_ms: of those that were streamed.
        input_tokens, output_tokens: as far as they were told; ``None`` when they were for no call.
        untold: answered calls whose tokens were not told, or not all.
        cost_usd: as far as it is known; ``None`` when it is for no call.
        unpriced: calls that were answered, or cancelled, at a cost that is not known.
        free: calls whose cost is 0 because a machine of one's own answered them.
        local_share: of the answered calls, those not answered by a cloud; ``None`` when it is known of none.
    """

    key: dict[str, str | None]
    calls: int = 0
    ok: int = 0
    errors: int = 0
    cancelled: int = 0
    error_codes: dict[str, int] = field(default_factory=dict)
    asked_last: dict[str, dict[str, int]] = field(default_factory=dict)
    fallbacks: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    first_token_p50_ms: float | None = None
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    untold: int = 0
    cost_usd: float | None = None
    unpriced: int = 0
    free: int = 0
    local_share: float | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """The attempts at one provider, whoever answered in the end.

    Attributes:
        failed: attempts that did not succeed, by ``error_codes``.
        saved: failed attempts whose call was answered all the same.
    """

    provider: str | None
    attempts: int = 0
    failed: int = 0
    cancelled: int = 0
    saved: int = 0
    error_codes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """An answer.

    Attributes:
        since, until: what was looked at, ``until`` not included. Where no limit was given, from the minute of the first
            call to the one after the last.
        rows: most calls first; by day or hour, in the order of time.
        totals: all rows together.
        attempts: by provider, most failed first.
        lost: records that a sink did not take, by sink. Those of ``records`` are missing in everything else.
        left_out: lines of all files that are no record of ours, by what is wrong with them.
        is_approximate: percentiles are within ``within`` of the true ones.
    """

    since: datetime | None
    until: datetime | None
    by: tuple[str, ...]
    rows: tuple[Row, ...]
    totals: Row
    attempts: tuple[Asked, ...]
    lost: dict[str, int]
    left_out: dict[str, int]
    is_approximate: bool
    within: float = WITHIN


@dataclass(frozen=True, slots=True)
class Point:
    """A stretch of time, from ``at`` to the next one."""

    at: datetime
    calls: int = 0
    errors: int = 0
    p95_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Equal stretches of time without a gap, oldest first."""

    minutes: int
    points: tuple[Point, ...]
    is_approximate: bool
