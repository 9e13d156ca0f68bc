"""What became of the rows, added up and written down."""

import json
import os
import stat
import sys

import pytest

from lmroute import redact
from lmroute.experiments.data import Row
from lmroute.experiments.files import RESULTS, SUMMARY, RunFiles
from lmroute.experiments.outcomes import Fallback, Outcome, fallbacks, summarise


def attempt(provider, error=None, message=""):
    shown = {
        "provider": provider,
        "model": "m",
        "duration": 1.0,
        "status": "error" if error else "ok",
        "errorCode": error,
    }
    return {**shown, "message": message} if message else shown


def call(*attempts, rule="local"):
    return {"provider": attempts[-1]["provider"], "model": "m", "rule": rule, "attempts": list(attempts)}


SERVED = (call(attempt("lmstudio")),)


def outcome(line, expected="positive", answer="positive", calls=SERVED, **rest):
    row = Row(line, {"text": f"text {line}"}, {"sentiment": expected} if expected else {})
    return Outcome(row, {"sentiment": answer} if answer else {}, calls, duration_ms=10.0 * line, **rest)


REFUSED = attempt("lmstudio", "transport", "connection refused")
MIXED = [
    outcome(1),
    outcome(2, answer="Negative"),
    outcome(3, expected="negative", answer="negative.", calls=(call(REFUSED, attempt("embedded")),)),
    outcome(4, calls=(call(REFUSED, attempt("embedded")), call(attempt("embedded"), rule="again"))),
    outcome(5, answer="", error="unusable answer: no JSON"),
    outcome(6, answer="", calls=(), error="no provider answered", unserved=True),
]


def test_the_figures_of_a_run():
    assert summarise(MIXED, duration_s=1.23456) == {
        "format_version": 1,
        "rows": 6,
        "answered": 4,
        "unserved": 1,
        "unusable": 1,
        "right": 3,
        "accuracy": 0.5,
        "interval": pytest.approx([0.1876, 0.8124], abs=1e-4),
        "baseline": 5 / 6,
        "baseline_answer": "positive",
        "fields": {"sentiment": 0.5},
        "by_provider": {"lmstudio/m": 3, "embedded/m": 2},
        "by_rule": {"local": 4, "again": 1},
        "fallbacks": [{"provider": "lmstudio", "errorCode": "transport", "message": "connection refused", "count": 2}],
        "duration_s": 1.235,
        "p50_ms": 30.0,
        "p95_ms": 50.0,
    }


def test_no_rows_and_no_labels_have_figures_too():
    nothing = summarise([], duration_s=0)
    assert (nothing["rows"], nothing["accuracy"], nothing["interval"], nothing["p95_ms"]) == (0, None, None, 0)
    asked = summarise([outcome(0, expected="")], duration_s=0.1)
    assert (asked["answered"], asked["right"], asked["accuracy"], asked["baseline"]) == (1, 0, None, None)
    json.dumps([nothing, asked], allow_nan=False)


def test_failures_are_counted_by_kind_the_most_frequent_first():
    slow = attempt("vllm", "timeout", "too slow")
    rows = [
        outcome(1, calls=(call(slow, REFUSED, attempt("embedded")),)),
        outcome(2, calls=(call(REFUSED, attempt("embedded")), call(REFUSED, attempt("embedded")))),
    ]
    assert fallbacks(rows) == [
        Fallback("lmstudio", "transport", "connection refused", 3),
        Fallback("vllm", "timeout", "too slow", 1),
    ]
    assert fallbacks(MIXED[:2]) == fallbacks([]) == []


def test_a_line_of_the_results_says_what_was_asked_answered_and_by_whom():
    line = MIXED[3].as_dict()
    assert line["inputs"] == {"text": "text 4"}
    assert (line["line"], line["right"], line["provider"], line["model"], line["rule"]) == (
        4,
        True,
        "embedded",
        "m",
        "again",
    )
    assert (line["duration"], line["error"], len(line["calls"])) == (40.0, "", 2)


def test_without_an_answer_nobody_answered_and_without_a_label_nothing_is_right():
    unserved = MIXED[5].as_dict()
    assert (unserved["provider"], unserved["right"], unserved["calls"]) == (None, False, [])
    assert outcome(0, expected="").as_dict()["right"] is None


def lines_of(folder):
    return [json.loads(line) for line in (folder / RESULTS).read_text(encoding="utf-8").splitlines()]


def test_each_result_is_in_the_file_before_the_next_is_asked(tmp_path):
    with RunFiles(tmp_path / "run") as files:
        for number, one in enumerate(MIXED, 1):
            files.add(one)
            assert len(lines_of(tmp_path / "run")) == number
        files.finish({"rows": 6})
    assert json.loads((tmp_path / "run" / SUMMARY).read_text(encoding="utf-8")) == {"rows": 6}
    assert {file.name for file in (tmp_path / "run").iterdir()} == {RESULTS, SUMMARY}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such bits")
def test_what_was_asked_is_for_this_user_only(tmp_path):
    before = os.umask(0)
    try:
        with RunFiles(tmp_path) as files:
            files.add(MIXED[0])
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / RESULTS).stat().st_mode) == 0o600


def test_any_answer_can_be_written_and_read_back(tmp_path):
    hostile = 'half a pair \ud83d, \u2028 a line, "quotes", \x1b[31m and 素晴らしい'
    with RunFiles(tmp_path) as files:
        files.add(outcome(1, answer=hostile))
        files.finish({"message": hostile})
    [line] = lines_of_bytes(tmp_path)
    assert line["answer"]["sentiment"] == hostile
    assert json.loads((tmp_path / SUMMARY).read_bytes())["message"] == hostile


def lines_of_bytes(folder):
    return [json.loads(line) for line in (folder / RESULTS).read_bytes().splitlines()]


def test_secrets_that_a_server_echoes_are_not_written(tmp_path):
    redact.remember("hunter2-hunter2")
    with RunFiles(tmp_path) as files:
        files.add(outcome(1, answer="", error="401: hunter2-hunter2 is wrong"))
        files.finish({"message": "hunter2-hunter2"})
    assert all("hunter2" not in file.read_text(encoding="utf-8") for file in tmp_path.iterdir())
