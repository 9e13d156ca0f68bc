"""Budgets: the window of a moment, what a call costs, and when there is no more."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import Cost, Period
from lmroute.routing.budget import Spent, charge, exhausted, is_shared, window

MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - UTC is given


def test_windows_by_example():
    at = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC).timestamp()
    assert window(Period.HOUR, at, "r1") == "hour 2026-03-01T23Z"
    assert window(Period.DAY, at, "r1") == "day 2026-03-01Z"
    assert window(Period.RUN, at, "r1") == "run r1"
    assert window(Period.HOUR, at + 1, "r1") == "hour 2026-03-02T00Z"


@given(a=MOMENTS, b=MOMENTS, per=st.sampled_from([Period.HOUR, Period.DAY]))
def test_moments_share_a_window_exactly_when_they_share_the_hour_or_day(a, b, per):
    seconds = 3600 if per is Period.HOUR else 86_400
    same = a.timestamp() // seconds == b.timestamp() // seconds
    assert (window(per, a.timestamp(), "x") == window(per, b.timestamp(), "y")) == same


def test_only_a_runs_window_is_its_own():
    assert not is_shared(window(Period.RUN, 0, "hour"))
    assert is_shared(window(Period.HOUR, 0, "run x"))
    assert is_shared(window(Period.DAY, 0, ""))


def test_what_a_call_costs():
    assert charge(1_000, 500, Cost(3, 15)).spent == Spent(1_500, 0.0105)
    assert charge(1_000, 500, Cost()).spent == Spent(1_500, 0.0)
    assert charge(1, 1, Cost(3, 15)).note == ""


@pytest.mark.parametrize(
    ("usage", "cost", "spent", "said"),
    [
        ((10, 5), None, Spent(15, 0.0), ["no cost"]),
        ((None, 5), Cost(1, 1), Spent(5, 5e-6), ["no usage"]),
        ((10, None), Cost(1, 1), Spent(10, 1e-5), ["no usage"]),
        ((None, None), None, Spent(), ["no usage", "no cost"]),
    ],
)
def test_what_is_unknown_counts_as_nothing_and_is_said(usage, cost, spent, said):
    charged = charge(*usage, cost)
    assert charged.spent == spent
    assert [part in charged.note for part in ("no usage", "no cost")] == [w in said for w in ("no usage", "no cost")]


@given(st.integers(), st.integers(), st.builds(Cost, st.floats(0, 1e4), st.floats(0, 1e4)))
def test_no_server_can_give_tokens_back_or_end_all_budgets_with_one_number(prompt, answer, cost):
    spent = charge(prompt, answer, cost).spent
    assert 0 <= spent.tokens <= 200_000_000
    assert 0 <= spent.usd <= 2e6
    assert spent.tokens == max(prompt, 0) + max(answer, 0) or max(prompt, answer) > 100_000_000


@pytest.mark.parametrize(
    ("limits", "spent", "reason"),
    [
        ({"tokens": 12_000, "usd": 1.0}, Spent(11_999, 0.99), ""),
        ({"tokens": 12_000, "usd": 1.0}, Spent(12_000, 0), "budget b: its 12,000 tokens per day are spent"),
        ({"tokens": 12_000, "usd": 2.5}, Spent(0, 2.5), "budget b: its $2.5 per day are spent"),
        ({"tokens": 100}, Spent(0, 1e9), ""),
        ({"usd": 1.0}, Spent(10**12, 0), ""),
        ({"tokens": 0}, Spent(), "budget b: its 0 tokens per day are spent"),
        ({"usd": 0.0}, Spent(), "budget b: its $0 per day are spent"),
        ({}, Spent(10**12, 1e9), ""),
    ],
)
def test_a_budget_ends_at_its_limit(limits, spent, reason):
    assert exhausted("b", Period.DAY, spent, **limits) == reason


def test_the_reason_stays_the_same_while_calls_under_way_add_up():
    reasons = {exhausted("b", Period.DAY, Spent(n, 0), tokens=12_000) for n in (12_000, 12_001, 20_000)}
    assert len(reasons) == 1


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**4))))
def test_spendings_add_up(amounts):
    total = sum((Spent(tokens, float(usd)) for tokens, usd in amounts), Spent())
    assert total == Spent(sum(t for t, _ in amounts), float(sum(u for _, u in amounts)))
