"""Times as people write them: how long ago, a day, a moment. All of them in UTC, as records and their folders are."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_AGO = re.compile(r"(\d{1,6})\s*(s|m|min|h|d|w)(?:\s+ago)?", re.IGNORECASE)
_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAYS_AGO = {"today": 0, "yesterday": 1}

FORMS = "24h, 7d, 90m, 2w, today, yesterday, 2026-11-01, 2026-11-01T14:30"


def moment(words: str, now: datetime) -> datetime:
    """What some words mean, seen from ``now``; a time without a zone is in UTC, a day is its beginning.

    Raises:
        ValueError: they mean nothing; the message tells what does.
    """
    plain = words.strip()
    if plain.lower() == "now":
        return now
    if plain.lower() in _DAYS_AGO:
        day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return day - timedelta(days=_DAYS_AGO[plain.lower()])
    try:
        if ago := _AGO.fullmatch(plain):
            return now - timedelta(**{_UNITS[ago[2].lower()]: int(ago[1])})
        at = datetime.fromisoformat(plain)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{words!r} is no time; what is: {FORMS}") from None
