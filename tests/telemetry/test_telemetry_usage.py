"""Usage against plain Python over the same records."""

import json
import math
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.telemetry.index import Index
from lmroute.telemetry.index.latency import WITHIN, Latencies, bucket, cell, middle, of_cell
from lmroute.telemetry.usage import cells
from lmroute.telemetry.usage.queries import series, usage

START = datetime(2026, 11, 20, 22, 30, tzinfo=UTC)
PROVIDERS = (("lmstudio", "loopback"), ("openai", "cloud"), ("nas", "private"))
MODELS = ("qwen3-8b", "gpt-4.1-mini")


def history(calls=400, seed=1):
    """Records of some calls over a few hours: answered, failed, saved, cancelled, with and without a price."""
    dice = random.Random(seed)
    for number in range(calls):
        ts = (START + timedelta(seconds=dice.uniform(0, 9000))).isoformat(timespec="milliseconds")
        common = {"v": 1, "run": "r", "ts": ts, "call": f"call-{number}", "stack": "p@1",
                  "rule": dice.choice(["all", "private"])}  # fmt: skip
        status = dice.choice(["ok", "ok", "ok", "error", "cancelled"])
        tries = [
            dice.choice(PROVIDERS) for _ in range(dice.choice([0, 1, 1, 2, 3] if status == "error" else [1, 1, 2, 3]))
        ]
        for attempt, (provider, locality) in enumerate(tries, 1):
            ended = status if attempt == len(tries) else "error"
            code = {"ok": None, "cancelled": "cancelled"}.get(ended, dice.choice(["timeout", "transport"]))
            yield {**common, "kind": "attempt", "attempt": attempt, "provider": provider, "locality": locality,
                   "type": provider, "model": "m", "asked": "m", "duration": 1.0, "status": ended,
                   "errorCode": code}  # fmt: skip
        code = code if tries else "no_candidate"
        provider, locality = tries[-1] if status == "ok" else (None, None)
        cost = dice.choice([None, 0.1, 0.000_000_7]) if provider == "openai" else 0.0 if status == "ok" else None
        yield {**common, "kind": "call", "provider": provider, "type": provider, "locality": locality,
               "model": dice.choice(MODELS) if status == "ok" else None, "attempts": len(tries),
               "duration": round(dice.lognormvariate(5, 1), 3), "status": status, "errorCode": code,
               "first_token": dice.choice([None, round(dice.uniform(1, 50), 3)]),
               "input_tokens": dice.choice([None, 7]), "output_tokens": 3, "cost_usd": cost,
               "cost_from": None if cost is None else "profile" if provider == "openai" else "local",
               "attributes": {"task": dice.choice(["qa", "sum", None])}}  # fmt: skip


RECORDS = list(history())


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    file = tmp_path_factory.mktemp("records") / "a.jsonl"
    file.write_text("".join(f"{json.dumps(record)}\n" for record in RECORDS))
    with Index() as index:
        index.ingest([file])
        yield index


def word(record, name):
    if name in {"day", "hour"}:
        at = datetime.fromisoformat(record["ts"])
        return f"{at:%Y-%m-%d}" if name == "day" else f"{at:%Y-%m-%dT%H:00Z}"
    return record["attributes"]["task"] if name == "task" else record[name]


def rank(values, share):
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1] if values else None


def attempts_of(call):
    return [r for r in RECORDS if r["kind"] == "attempt" and r["call"] == call["call"]]


def fell_back(call):
    tries = attempts_of(call)
    return call["status"] == "ok" and tries[0]["provider"] != tries[-1]["provider"]


def asked_last(calls):
    found = {}
    for call in calls:
        if call["status"] != "ok" and (tries := attempts_of(call)):
            last = f"{tries[-1]['provider']}/{tries[-1]['model']}"
            found.setdefault(call["errorCode"], Counter())[last] += 1
    return found


def naive(calls):
    """What a row says of some calls, computed as its documentation tells it."""
    ended = Counter(call["status"] for call in calls)
    costs = [call["cost_usd"] for call in calls if call["cost_usd"] is not None]
    answered = [call["locality"] for call in calls if call["status"] == "ok"]
    return {
        "calls": len(calls),
        "ok": ended["ok"],
        "errors": ended["error"],
        "cancelled": ended["cancelled"],
        "error_codes": Counter(call["errorCode"] for call in calls if call["errorCode"]),
        "asked_last": asked_last(calls),
        "fallbacks": sum(map(fell_back, calls)),
        "p50_ms": rank([call["duration"] for call in calls], 0.5),
        "p95_ms": rank([call["duration"] for call in calls], 0.95),
        "first_token_p50_ms": rank([c["first_token"] for c in calls if c["first_token"] is not None], 0.5),
        "input_tokens": sum(c["input_tokens"] or 0 for c in calls) or (None if calls else 0),
        "output_tokens": sum(call["output_tokens"] for call in calls),
        "untold": sum(call["input_tokens"] is None and call["status"] == "ok" for call in calls),
        "cost_usd": pytest.approx(sum(costs)) if costs else None,
        "unpriced": sum(call["cost_usd"] is None and call["status"] != "error" for call in calls),
        "free": sum(call["cost_from"] == "local" for call in calls),
        "local_share": pytest.approx(sum(each != "cloud" for each in answered) / len(answered)) if answered else None,
    }


def told(row):
    return {name: getattr(row, name) for name in naive([])}


@pytest.mark.parametrize(
    ("by", "where"),
    [
        ("provider", {}),
        ("model", {"status": "ok"}),
        ("rule", {"provider": ["lmstudio", "nas"]}),
        ("task", {"task": "qa", "rule": "private"}),
        ("status", {}),
        ("errorCode", {"status": ["error", "cancelled"]}),
        ("locality", {"errorCode": "timeout"}),
        ("day", {}),
        (("hour", "provider"), {"locality": "cloud"}),
        (("provider", "model", "rule"), {}),
    ],
)
def test_rows_are_what_the_records_come_to(index, by, where):
    found = usage(index, by=by, where=where)
    names = (by,) if isinstance(by, str) else by
    calls = [
        r
        for r in RECORDS
        if r["kind"] == "call" and all(word(r, n) in [w] + [*w] * isinstance(w, list) for n, w in where.items())
    ]
    groups = {}
    for call in calls:
        groups.setdefault(tuple(word(call, name) for name in names), []).append(call)
    assert {tuple(row.key.values()): told(row) for row in found.rows} == {k: naive(v) for k, v in groups.items()}
    assert all(tuple(row.key) == names for row in found.rows)
    assert told(found.totals) == naive(calls)
    assert not found.is_approximate


def test_rows_stand_in_the_order_of_time_or_of_calls(index):
    hours = [row.key["hour"] for row in usage(index, by=("provider", "hour")).rows]
    assert hours == sorted(hours)
    calls = [row.calls for row in usage(index, by="provider").rows]
    assert calls == sorted(calls, reverse=True)


@pytest.mark.parametrize("where", [{}, {"task": "qa"}, {"provider": "openai"}, {"rule": "all", "status": "error"}])
def test_attempts_show_who_failed_and_was_saved(index, where):
    by_id = {r["call"]: r for r in RECORDS if r["kind"] == "call"}
    expected = {}
    for record in (r for r in RECORDS if r["kind"] == "attempt"):
        call = by_id[record["call"]]
        if all((word(call, n) if n == "task" else record[n]) == w for n, w in where.items()):
            mine = expected.setdefault(record["provider"], Counter())
            mine["attempts"] += 1
            mine["failed"] += record["status"] == "error"
            mine["cancelled"] += record["status"] == "cancelled"
            mine["saved"] += record["status"] == "error" and call["status"] == "ok"
            mine[record["errorCode"]] += record["status"] == "error"
    found = usage(index, where=where).attempts
    assert {each.provider for each in found} == set(expected)
    for each in found:
        mine = expected[each.provider]
        assert (each.attempts, each.failed, each.cancelled, each.saved) == tuple(
            mine[name] for name in ("attempts", "failed", "cancelled", "saved")
        )
        assert each.error_codes == {code: mine[code] for code in ("timeout", "transport") if mine[code]}


def test_a_range_is_of_whole_minutes_and_says_so(index):
    since, until = START + timedelta(minutes=30, seconds=40), START + timedelta(minutes=60, seconds=1)
    found = usage(index, since, until)
    assert (found.since, found.until) == (START + timedelta(minutes=30), START + timedelta(minutes=61))
    calls = [r for r in RECORDS if r["kind"] == "call" and found.since.isoformat() <= r["ts"] < found.until.isoformat()]
    assert told(found.totals) == naive(calls)
    assert sum(each.attempts for each in found.attempts) == sum(len(attempts_of(call)) for call in calls)


def test_without_a_range_it_is_from_the_first_to_the_last_call(index):
    found = usage(index)
    times = sorted(r["ts"] for r in RECORDS)
    assert found.since.isoformat()[:16] == times[0][:16]
    assert (found.until - timedelta(minutes=1)).isoformat()[:16] == times[-1][:16]


def test_of_nothing_there_is_nothing():
    with Index() as index:
        found = usage(index)
        assert (found.rows, found.since, found.until, found.attempts) == ((), None, None, ())
        assert told(found.totals) == naive([])
        assert series(index).points == ()


@pytest.mark.parametrize("what", [{"by": "weather"}, {"by": ("provider", "call")}, {"where": {"day": "2026-11-20"}}])
def test_what_calls_are_not_told_apart_by_is_refused(index, what):
    with pytest.raises(ValueError, match="not told apart by"):
        usage(index, **what)


def test_a_series_has_no_gaps_and_adds_up(index):
    found = series(index, points=20)
    assert len(found.points) <= 20
    assert {b.at - a.at for a, b in zip(found.points, found.points[1:], strict=False)} == {
        timedelta(minutes=found.minutes)
    }
    for point in found.points:
        end = point.at + timedelta(minutes=found.minutes)
        calls = [r for r in RECORDS if r["kind"] == "call" and point.at.isoformat() <= r["ts"] < end.isoformat()]
        assert (point.calls, point.errors) == (len(calls), sum(call["status"] == "error" for call in calls))
        assert point.p95_ms == rank([call["duration"] for call in calls], 0.95)
    assert sum(point.calls for point in found.points) == usage(index).totals.calls


@pytest.mark.parametrize("days", [1, 3, 30, 400, 5000])
def test_a_long_series_is_coarser_and_never_longer(index, days):
    found = series(index, START - timedelta(days=days), START + timedelta(hours=4))
    assert 2 <= len(found.points) <= 61
    assert sum(point.calls for point in found.points) == usage(index).totals.calls


def test_beyond_what_can_be_looked_at_percentiles_are_near_and_say_so(index, monkeypatch):
    exact = {tuple(row.key.values()): row for row in usage(index, by=("rule", "hour")).rows}
    monkeypatch.setattr(cells, "EXACT", 10)
    found = usage(index, by=("rule", "hour"))
    assert found.is_approximate
    assert found.within == WITHIN < 0.05
    for row in found.rows:
        known = exact[tuple(row.key.values())]
        for name in ("p50_ms", "p95_ms", "first_token_p50_ms"):
            assert getattr(row, name) == pytest.approx(getattr(known, name), rel=WITHIN + 1e-3)
        assert (row.calls, row.cost_usd, row.fallbacks) == (known.calls, known.cost_usd, known.fallbacks)
    assert series(index).is_approximate


def test_beyond_that_too_only_the_calls_that_are_asked_for_count(index, monkeypatch):
    where = {"provider": "openai", "task": "qa"}
    (exact,) = usage(index, where=where).rows
    monkeypatch.setattr(cells, "EXACT", 10)
    (row,) = usage(index, where=where).rows
    assert row.p95_ms == pytest.approx(exact.p95_ms, rel=WITHIN + 1e-3)


@given(st.lists(st.floats(0.001, 1e8), min_size=1), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_of_buckets_is_near_the_true_one(values, share):
    counted = Latencies(buckets=Counter(map(bucket, values)))
    assert counted.percentile(share) == pytest.approx(rank(values, share), rel=WITHIN + 1e-9)


@given(st.lists(st.integers(0, 50), min_size=1), st.integers(1, 100))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(values, share):
    found = Latencies(each=[*values]).percentile(share / 100)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= share * len(values)
    assert sum(value < found for value in values) * 100 < share * len(values)


@given(st.integers(1, 10**6), st.integers(0, 1), st.floats(0, 1e300))
def test_a_cell_is_a_dim_a_measure_and_a_bucket(dim, what, ms):
    assert of_cell(cell(dim, what, ms)) == (dim, what, bucket(ms))
    assert middle(bucket(ms)) >= 0
