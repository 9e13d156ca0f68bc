"""Times as people write them."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.telemetry.usage.when import FORMS, moment

NOW = datetime(2026, 11, 23, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("24h", datetime(2026, 11, 22, 8, 30, tzinfo=UTC)),
        ("24 H ago", datetime(2026, 11, 22, 8, 30, tzinfo=UTC)),
        ("7d", datetime(2026, 11, 16, 8, 30, tzinfo=UTC)),
        ("90m", datetime(2026, 11, 23, 7, 0, tzinfo=UTC)),
        ("90min", datetime(2026, 11, 23, 7, 0, tzinfo=UTC)),
        ("30s", datetime(2026, 11, 23, 8, 29, 30, tzinfo=UTC)),
        ("2w", datetime(2026, 11, 9, 8, 30, tzinfo=UTC)),
        ("now", NOW),
        ("today", datetime(2026, 11, 23, tzinfo=UTC)),
        ("Yesterday", datetime(2026, 11, 22, tzinfo=UTC)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        (" 2026-11-01T14:30 ", datetime(2026, 11, 1, 14, 30, tzinfo=UTC)),
        ("2026-11-01 14:30:05Z", datetime(2026, 11, 1, 14, 30, 5, tzinfo=UTC)),
        ("2026-11-01T14:30+02:00", datetime(2026, 11, 1, 12, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_what_it_says(words, meant):
    assert moment(words, NOW) == meant


def test_a_day_is_one_of_utc_wherever_one_is():
    west = NOW.astimezone(timezone(timedelta(hours=-10)))
    assert moment("today", west) == datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    "words", ["", "h", "-3h", "3 fortnights", "2026-13-01", "999999w", "24hh", "0001-01-01T00:00+14:00"]
)
def test_what_is_no_time_is_told_what_is(words):
    with pytest.raises(ValueError, match="is no time") as raised:
        moment(words, NOW)
    assert FORMS in str(raised.value)


@pytest.mark.parametrize("words", FORMS.split(", "))
def test_what_the_message_advises_is_a_time(words):
    assert moment(words, NOW) < NOW


@given(st.text(max_size=12))
def test_any_words_are_a_time_in_utc_or_refused(words):
    with suppress(ValueError):
        assert moment(words, NOW).utcoffset() == timedelta()
