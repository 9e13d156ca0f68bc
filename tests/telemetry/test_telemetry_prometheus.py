"""Prometheus' text: read back by the official parser, whatever the names are, and never a count too many."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from lmroute.providers.probe.states import SERVING, State
from lmroute.telemetry.index import Index
from lmroute.telemetry.index.latency import bucket
from lmroute.telemetry.prometheus import Attempts, Calls, Counts, Server, counted, exposition, metrics

SINCE = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
OK = Calls("a", "m", "r", "t", "ok", None, 3, 1, 30, 12, 1, 0.5, 2, {bucket(12.0): 2, bucket(9.0): 1})
REFUSED = Calls(None, None, None, None, "error", "no_candidate", 2)
ODD = st.sampled_from(['"', "\\", "\n", '\\n"', "\r", "other", "{}=,#"])
NAMES = st.none() | ODD | st.text(st.characters(codec="utf-8"), max_size=12)
ROWS = st.lists(
    st.builds(
        Calls, NAMES, NAMES, NAMES, NAMES, st.sampled_from(["ok", "error", "cancelled"]), NAMES,
        calls=st.integers(0, 10**12), fallbacks=st.integers(0, 99), input_tokens=st.integers(0, 10**15),
        usd=st.floats(0, 1e6), durations=st.dictionaries(st.integers(-80, 320), st.integers(1, 10**6), max_size=5),
    ),
    max_size=12,
)  # fmt: skip


def read(calls=(), attempts=(), servers=(), lost=None):
    """``{sample's name: {its labels: value}}``; each metric has its type and its help, and no sample comes twice."""
    text = exposition(Counts(SINCE, calls, attempts, lost or {}), servers)
    samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert family.type in {"counter", "gauge", "histogram"}
        for sample in family.samples:
            labels = frozenset(sample.labels.items())
            assert labels not in samples.setdefault(sample.name, {})
            samples[sample.name][labels] = sample.value
    return samples


def by(**labels):
    return frozenset(labels.items())


def test_calls_by_example():
    found = read([OK, REFUSED])
    assert found["lmroute_calls_total"] == {
        by(provider="a", model="m", rule="r", task="t", status="ok"): 3,
        by(status="error", error_code="no_candidate"): 2,
    }
    who = {"provider": "a", "model": "m"}
    assert found["lmroute_tokens_total"] == {by(**who, direction="input"): 30, by(**who, direction="output"): 12}
    assert found["lmroute_fallbacks_total"][by(**who, rule="r", status="ok")] == 1
    assert found["lmroute_cost_usd_total"] == {by(**who): 0.5}
    assert found["lmroute_untold_calls_total"] == {by(**who): 1}
    assert found["lmroute_unpriced_calls_total"] == {by(**who): 1}
    assert found["lmroute_counted_since_timestamp_seconds"] == {by(): SINCE}


def test_attempts_and_losses_by_example():
    rows = [Attempts("a", "m", "error", "timeout", 4), Attempts("b", "m", "ok", None, 1)]
    found = read(attempts=rows, lost={"otlp": 7, "records": 0})
    assert found["lmroute_attempts_total"] == {
        by(provider="a", model="m", status="error", error_code="timeout"): 4,
        by(provider="b", model="m", status="ok"): 1,
    }
    assert found["lmroute_records_lost_total"] == {by(sink="otlp"): 7, by(sink="records"): 0}


def test_servers_by_example():
    found = read(servers=[Server("a", "degraded", 1.5), Server("b", "throttled"), Server("c", "unknown")])
    assert found["lmroute_provider_up"] == {by(provider="a"): 1, by(provider="b"): 0}
    assert found["lmroute_health_last_checked_timestamp_seconds"] == {by(provider="a"): 1.5}
    states = {labels for labels, value in found["lmroute_provider_state"].items() if value}
    expected = [("a", "degraded"), ("b", "throttled"), ("c", "unknown")]
    assert states == {by(provider=name, state=state) for name, state in expected}
    assert len(found["lmroute_provider_state"]) == 3 * len(State)


def test_the_states_are_those_of_health():
    assert set(metrics.STATES) == {state.value for state in State}
    assert {state.value for state in SERVING} == metrics.SERVING


def test_with_nothing_known_there_is_nothing_but_the_beginning():
    assert set(read()) == {"lmroute_counted_since_timestamp_seconds"}


@given(st.lists(st.floats(0.0001, 1e7), min_size=1, max_size=40))
def test_a_histogram_counts_each_duration_where_it_belongs(durations_ms):
    rows = [replace(OK, task=str(at), durations={bucket(ms): 1}) for at, ms in enumerate(durations_ms)]
    found = read(rows)
    buckets = {dict(labels)["le"]: count for labels, count in found["lmroute_call_duration_seconds_bucket"].items()}
    (count,), (total,) = (found[f"lmroute_call_duration_seconds_{what}"].values() for what in ("count", "sum"))
    assert count == buckets["+Inf"] == len(durations_ms)
    assert total == pytest.approx(sum(durations_ms) / 1000, rel=0.0443, abs=1e-6 * count)
    for bound, calls in buckets.items():
        limit, near = float(bound) * 1000, 1e-4  # the bounds are shown in six digits
        assert sum(ms <= limit * (1 - near) for ms in durations_ms) <= calls
        assert calls <= sum(ms <= limit * (1 + near) for ms in durations_ms)


@given(ROWS)
def test_whatever_things_are_called_everything_is_counted_once(rows):
    found = read(rows)
    total = sum(row.calls for row in rows)
    assert sum(found.get("lmroute_calls_total", {}).values()) == pytest.approx(total, rel=1e-9)
    expected = {(row.provider or None, row.model or None, row.task or None) for row in rows}
    labels = [dict(labels) for labels in found.get("lmroute_calls_total", {})]
    assert {(each.get("provider"), each.get("model"), each.get("task")) for each in labels} == expected
    usd = math.fsum(row.usd for row in rows if row.status != "error")
    assert math.fsum(found.get("lmroute_cost_usd_total", {}).values()) == pytest.approx(usd)


def test_half_of_a_surrogate_pair_can_still_be_sent():
    text = exposition(Counts(SINCE, [replace(OK, model="\ud800x")]))
    assert b'model="?x"' in text.encode("utf-8")


class TestCardinality:
    many = tuple(replace(OK, model=f"m{at}", task=f"t{at}") for at in range(metrics.MOST_NAMES + 30))

    def test_names_beyond_the_first_so_many_are_other(self):
        found = read(self.many)["lmroute_calls_total"]
        for label in ("model", "task"):
            names = [dict(labels)[label] for labels in found]
            assert len(set(names)) == metrics.MOST_NAMES + 1
            assert set(names) - {metrics.OTHER} == {getattr(row, label) for row in self.many[: metrics.MOST_NAMES]}
        other = by(provider="a", model="other", rule="r", task="other", status="ok")
        assert found[other] == 30 * OK.calls

    def test_no_count_shrinks_when_more_models_come(self):
        before, after = read(self.many[:60])["lmroute_calls_total"], read(self.many)["lmroute_calls_total"]
        assert all(after[labels] >= value for labels, value in before.items())

    def test_who_is_only_tried_displaces_nobody_who_answers(self):
        tried = [Attempts("a", f"never{at}", "error", "timeout", 1) for at in range(metrics.MOST_NAMES)]
        assert read([OK], tried)["lmroute_calls_total"] == read([OK])["lmroute_calls_total"]


class TestTheIndex:
    @pytest.fixture
    def index(self, tmp_path):
        """``index(record, ...)``: an index of some call records and their attempts."""
        with Index() as made:

            def of(*records):
                lines = (json.dumps({"v": 1, "rule": "r", "status": "ok", **record}) for record in records)
                (tmp_path / "calls.jsonl").write_text("\n".join([*lines, ""]), encoding="utf-8")
                made.ingest([tmp_path / "calls.jsonl"], keep_days=None)
                return made

            yield of

    @staticmethod
    def records(call, ts, model="m", **fields):
        common = {"call": call, "ts": ts, "provider": "a", "model": model, "duration": 12.0}
        told = {"attempts": 1, "input_tokens": 10, "output_tokens": 4, "cost_usd": 0.25, "first_token": 3.0}
        task = {"attributes": {"task": "t"}}
        return {**common, "kind": "attempt", "attempt": 1}, {**common, "kind": "call", **told, **task, **fields}

    def test_what_is_counted_begins_with_the_day(self, index):
        early = self.records("1", "2026-02-28T23:59:59.999Z")
        today = self.records("2", "2026-03-01T00:00:00.000Z"), self.records("3", "2026-03-01T07:00:00Z", cost_usd=None)
        lost = [
            {"kind": "lost", "run": "r", "sink": "otlp", "ts": ts, "count": 5} for ts in ("2026-02-28", "2026-03-01")
        ]
        found = index(*early, *today[0], *today[1], *lost)
        counts = counted(found, SINCE + 8 * 3600)
        row = Calls("a", "m", "r", "t", "ok", None, 2, 0, 20, 8, 0, 0.25, 1, {bucket(12.0): 2})
        assert counts == Counts(SINCE, [row], [Attempts("a", "m", "ok", None, 2)], {"otlp": 5})
        assert counted(found, SINCE - 1).since == SINCE - 86_400
        assert read(counts.calls, counts.attempts)["lmroute_call_duration_seconds_count"] == {
            by(provider="a", model="m", status="ok"): 2
        }

    def test_who_occurred_first_comes_first(self, index):
        found = index(*self.records("1", "2026-03-01T09:00:00Z", "z"), *self.records("2", "2026-03-01T08:00:00Z", "b"))
        counts = counted(found, SINCE + 10 * 3600)
        assert [row.model for row in counts.calls] == [row.model for row in counts.attempts] == ["b", "z"]

    @pytest.mark.parametrize("now", [0, 1, 86_399.9, 86_400, 1.7e9 + 0.5, 4e9])
    def test_any_moment_lies_in_its_day(self, index, now):
        since = counted(index(), now).since
        assert since % 86_400 == 0
        assert since <= now < since + 86_400
