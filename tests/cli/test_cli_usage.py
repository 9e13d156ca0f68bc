"""``lmroute usage``: what calls cost, as text, JSON, CSV and a chart."""

import csv
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lmroute.cli import main, records
from lmroute.errors import LmrouteError
from lmroute.telemetry.index import Index
from lmroute.telemetry.usage import cells

ROOT = Path(__file__).resolve().parents[2]


def call(number, provider="lmstudio", **more):
    """The records of a call that ended now or some ``minutes`` ago; ``failed`` were asked before."""
    at = datetime.now(UTC) - timedelta(minutes=more.pop("minutes", 0))
    failed = more.pop("failed", ())
    common = {"v": 1, "ts": at.isoformat(timespec="milliseconds"), "run": "r", "call": f"call{number}", "rule": "all"}
    local = {"lmstudio": "loopback"}.get(provider, "cloud")
    for attempt, who in enumerate([*failed, provider], 1):
        ended = ("ok", None) if attempt > len(failed) else ("error", "timeout")
        yield {**common, "kind": "attempt", "attempt": attempt, "provider": who, "model": "m", "asked": "m",
               "status": ended[0], "errorCode": ended[1], "duration": 5.0}  # fmt: skip
    cost = (
        {"cost_usd": 0.0, "cost_from": "local"} if local == "loopback" else {"cost_usd": 0.25, "cost_from": "profile"}
    )
    yield {**common, "kind": "call", "provider": provider, "model": "m", "locality": local, "duration": 20.0,
           "status": "ok", "errorCode": None, "attempts": len(failed) + 1, "input_tokens": 1000, "output_tokens": 5,
           "attributes": {"task": "qa"}, **cost, **more}  # fmt: skip


FAILED = {"provider": None, "model": None, "locality": None, "status": "error", "errorCode": "rate_limited",
          "cost_usd": None, "cost_from": None, "input_tokens": None, "output_tokens": None}  # fmt: skip


@pytest.fixture
def recorded(tmp_path):
    """Write records to the events of all programs, or to a file below ``tmp_path``."""

    def write(*records, file=None, tail=""):
        events = Path(os.environ["LMROUTE_STATE_HOME"]) / "events" / "2026-11-20" / "host-1-1.jsonl"
        path = tmp_path / file if file else events
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", newline="\n") as out:
            out.write("".join(f"{json.dumps(record)}\n" for record in records) + tail)
        return path

    return write


@pytest.fixture
def usage(capsys):
    def run(*words, code=0):
        assert main(["usage", *map(str, words)]) == code
        return capsys.readouterr()

    return run


@pytest.fixture
def document(usage):
    return lambda *words: json.loads(usage(*words, "--json").out)


def test_without_records_it_tells_how_to_get_some(usage):
    shown = usage()
    assert "no calls recorded yet" in shown.out
    assert "telemetry=local" in shown.out
    assert shown.err == ""


def test_totals_a_table_and_what_failed(usage, recorded):
    recorded(*call(1), *call(2, "openai", failed=["lmstudio"]), *call(3, **FAILED, duration=5000.0))
    lines = usage().out.splitlines()
    assert lines[0].startswith("3 calls from ")
    assert lines[1] == "2 ok, 1 failed, 0 cancelled, 1 answered by a fallback; half within 20 ms, 95 % within 5,000 ms"
    assert lines[2] == "tokens: 2,000 in, 10 out"
    assert lines[3] == "cost: $0.2500; 1 local call at $0; 50% answered locally"
    table = {line.split()[0]: line.split()[1:] for line in lines[6:9]}
    assert table["lmstudio"] == ["1", "0", "0", "0", "20", "20", "-", "1,000", "5", "$0"]
    assert table["openai"] == ["1", "0", "0", "1", "20", "20", "-", "1,000", "5", "$0.2500"]
    assert table["(nobody)"] == ["1", "1", "0", "0", "5,000", "5,000", "-", "-", "-", "-"]
    rest = "\n".join(lines[9:])
    assert "1  rate_limited  (nobody)" in rest


def test_calls_that_nobody_answered_tell_who_was_asked_last(usage, document, recorded):
    def unanswered(number, last, code="timeout", status="error", **more):
        *attempts, ended = call(number, last, **more)
        return [*attempts, ended | FAILED | {"status": status, "errorCode": code}]

    recorded(*unanswered(1, "openai", failed=["lmstudio"]), *unanswered(2, "openai"), *unanswered(3, "lmstudio"))
    recorded(*unanswered(4, "lmstudio", "cancelled", "cancelled"), *unanswered(5, "x", "no_candidate")[1:], *call(6))
    lines = [line.split() for line in usage().out.splitlines()]
    at = lines.index(["calls", "that", "were", "not", "answered,", "and", "why:"])
    assert lines[at + 1 : at + 4] == [
        ["3", "timeout", "(nobody)", "asked", "last:", "openai/m", "2,", "lmstudio/m", "1"],
        ["1", "cancelled", "(nobody)", "asked", "last:", "lmstudio/m", "1"],
        ["1", "no_candidate", "(nobody)"],
    ]
    [row] = [row for row in document()["rows"] if row["provider"] is None]
    assert row["asked_last"] == {"cancelled": {"lmstudio/m": 1}, "timeout": {"openai/m": 2, "lmstudio/m": 1}}


def test_a_provider_that_is_always_saved_is_seen(usage, recorded):
    for number in range(3):
        recorded(*call(number, "openai", failed=["lmstudio"]))
    lines = usage().out.splitlines()
    at = lines.index("attempts, those that failed included:")
    assert lines[at + 2].split() == ["lmstudio", "3", "3", "3", "timeout", "3"]
    assert lines[at + 3].split() == ["openai", "3", "0", "0"]


def test_the_document_has_all_of_it(document, recorded):
    recorded(*call(1), *call(2, "openai", failed=["lmstudio"]), tail="torn\n")
    recorded({"v": 1, "kind": "lost", "ts": datetime.now(UTC).isoformat(), "run": "r", "count": 7, "sink": "otlp"})
    found = document("--by", "provider, model")
    assert found["format_version"] == "1.0"
    assert found["by"] == ["provider", "model"]
    assert {(row["provider"], row["model"], row["calls"], row["cost_usd"]) for row in found["rows"]} == {
        ("lmstudio", "m", 1, 0.0),
        ("openai", "m", 1, 0.25),
    }
    assert found["totals"]["calls"] == 2
    assert found["totals"]["fallbacks"] == 1
    assert [(each["provider"], each["failed"]) for each in found["attempts"]] == [("lmstudio", 1), ("openai", 0)]
    assert (found["lost"], found["left_out"]) == ({"otlp": 7}, {"torn": 1})
    assert datetime.fromisoformat(found["since"]) < datetime.fromisoformat(found["until"])
    assert found["percentiles"] == {"approximate": False, "within": 0}


def test_the_footer_tells_what_is_missing(usage, recorded):
    lost = {"v": 1, "kind": "lost", "ts": datetime.now(UTC).isoformat(), "run": "r", "count": 7, "sink": "records"}
    recorded(*call(1), lost, {"v": 2}, {"v": 1, "kind": "call"}, tail='torn\n{"v": 1')
    out = usage().out
    assert "lost: 7 records could not be written, so what is told here is too little" in out
    for told in (
        "1 line that is no record",
        "1 record of version 2",
        "1 record of an unknown shape",
        "1 last line without",
    ):
        assert told in out


def test_about_is_said_where_it_is_about(usage, document, recorded, monkeypatch):
    monkeypatch.setattr(cells, "EXACT", 0)
    recorded(*call(1))
    out = usage().out
    assert "half within ~" in out
    assert "latencies (~) are within 4.4%" in out
    assert document()["percentiles"] == {"approximate": True, "within": pytest.approx(0.0443, abs=1e-4)}


@pytest.mark.parametrize(
    ("words", "calls"),
    [
        ([], 4),
        (["--since", "1h"], 3),
        (["--until", "1h"], 1),
        (["--since", "2020-01-01", "--until", "now"], 4),
        (["--provider", "openai"], 1),
        (["--provider", "openai", "--provider", "lmstudio"], 3),
        (["--task", "qa", "--status", "error"], 1),
        (["--error-code", "rate_limited"], 1),
        (["--locality", "cloud"], 1),
        (["--rule", "none"], 0),
        (["--model", "m"], 3),
    ],
)
def test_only_the_calls_that_are_asked_for(document, recorded, words, calls):
    recorded(*call(1), *call(2, "openai"), *call(3, minutes=90), *call(4, **FAILED))
    assert document(*words)["totals"]["calls"] == calls


def test_what_is_asked_for_and_not_there_is_said(usage, recorded):
    recorded(*call(1))
    assert usage("--provider", "nobody").out.startswith("no such calls are recorded")


def test_named_folders_are_read_and_nothing_is_left_behind(usage, document, recorded, tmp_path):
    recorded(*call(1))
    recorded(*call(2), *call(3), file="outputs/1/calls.jsonl")
    recorded(*call(3), file="outputs/2/calls.jsonl")
    assert document(tmp_path / "outputs")["totals"]["calls"] == 2
    assert document(tmp_path / "outputs" / "2" / "calls.jsonl")["totals"]["calls"] == 1
    assert not (Path(os.environ["LMROUTE_STATE_HOME"]) / "usage.sqlite").exists()
    (tmp_path / "empty").mkdir()
    assert usage(tmp_path / "empty").out.startswith("there are no such calls in ")


def test_a_path_that_is_not_there_is_named(usage, tmp_path):
    shown = usage(tmp_path / "gone", "--json", code=2)
    assert "gone: there is no such file or folder of call records" in shown.err
    assert "gone" in json.loads(shown.out)["error"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--since", "3 fortnights"], "'3 fortnights' is no time; what is: 24h, 7d"),
        (["--by", "provider,weather"], "told apart by 'weather', but by provider, model"),
        (["--by", ","], "name what calls are told apart by"),
        (["--status", "fine"], "choose from"),
        (["--csv", "--json"], "not allowed with"),
    ],
)
def test_wrong_usage_is_told_what_is_right(words, told, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["usage", *words])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


HOSTILE = "\x1b[31m=cmd|'/c calc'!A1\x9b2J\r\n\u202e"


def test_csv_is_a_table_that_no_spreadsheet_runs(recorded, usage):
    formulas = ["=1+1", "+1", "-1", "@x", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20x"]
    names = [*formulas, 'quoted "name", with a comma', HOSTILE, "plain"]
    for number, name in enumerate(names):
        recorded(*call(number, model=name))
    out = usage("--by", "provider,model", "--csv").out
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert out.count("\r\n") == len(names) + 1 == len(out.splitlines())
    assert {row["model"] for row in rows} == {
        *(f"'{name}" for name in formulas), 'quoted "name", with a comma', "[31m=cmd|'/c calc'!A1 2J", "plain",
    }  # fmt: skip
    assert {row["calls"] for row in rows} == {"1"}
    assert list(rows[0])[:4] == ["provider", "model", "calls", "ok"]


@pytest.mark.parametrize("form", [[], ["--csv"], ["--json"], ["--by", "task,rule,errorCode"]])
def test_what_others_wrote_reaches_no_terminal(recorded, usage, form):
    hostile = {"model": HOSTILE, "rule": HOSTILE, "errorCode": HOSTILE, "attributes": {"task": HOSTILE}}
    recorded(*call(1, provider=HOSTILE, failed=[HOSTILE], **hostile, status="error"))
    recorded({"v": HOSTILE}, {"v": 1, "kind": "lost", "ts": datetime.now(UTC).isoformat(), "count": 1, "sink": HOSTILE})
    out = usage("--by", "provider,model", *form).out
    assert "\x1b" not in out
    assert "\x9b" not in out
    assert "\u202e" not in out


def test_a_key_that_came_into_a_record_is_not_shown(recorded, usage):
    recorded(*call(1, provider="sk-abcdefghij0123456789"))
    for form in ([], ["--csv"], ["--json"]):
        out = usage(*form).out
        assert "abcdefghij" not in out
        assert "***" in out


def test_the_chart_is_a_file_beside_the_table(recorded, usage, tmp_path):
    recorded(*call(1), *call(2, "openai"))
    out = usage("--since", "24h", "--provider", "openai", "--chart", tmp_path / "week.svg").out
    assert "1 call from" in out
    root = ET.fromstring((tmp_path / "week.svg").read_text(encoding="utf-8"))
    texts = [*root.itertext()]
    assert "Calls (provider openai)" in texts
    assert any("1 call, a bar is" in text for text in texts)


def test_a_chart_that_cannot_be_written_is_named(recorded, usage, tmp_path):
    recorded(*call(1))
    assert "week.svg: cannot be written" in usage("--chart", tmp_path / "gone" / "week.svg", code=2).err


def test_a_stream_that_cannot_hold_bars_gets_plain_ones(recorded, monkeypatch):
    recorded(*call(1))
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["usage"]) == 0
    stream.seek(0)
    assert stream.read().splitlines()[0].endswith("UTC  #")


@pytest.fixture
def busy(monkeypatch):
    """Another process keeps the index to itself, for longer than anybody waits."""
    monkeypatch.setattr(records, "WAIT_S", 0.01)
    with Index(Path(os.environ["LMROUTE_STATE_HOME"]) / "usage.sqlite") as index, index._lock():
        yield index


@pytest.mark.usefixtures("busy")
def test_what_is_there_is_told_while_another_process_keeps_the_index(recorded, usage, document):
    recorded(*call(1), *call(2))
    shown = usage()
    assert shown.out.startswith("2 calls from")
    assert "usage.sqlite: another process keeps the usage index to itself; reading the records without it" in shown.err
    table = usage("--csv")
    assert next(csv.DictReader(io.StringIO(table.out)))["calls"] == "2"
    assert "another process" in table.err
    found = document()
    assert (found["totals"]["calls"], found["index_busy"]) == (2, True)


@pytest.mark.usefixtures("busy")
def test_nothing_found_is_not_nothing_there_while_the_index_is_kept(usage):
    out = usage().out
    assert "no calls recorded yet" not in out
    assert "the usage index may know more" in out


def test_who_has_the_index_says_so(document, recorded):
    recorded(*call(1))
    assert document()["index_busy"] is False


def test_a_record_of_the_year_9999_is_counted_and_no_end(usage, document, recorded):
    recorded(*call(1), *call(2, ts="9999-12-31T23:59:59.999+00:00"))
    assert usage().out.startswith("1 call from")
    assert document()["left_out"] == {"misshapen": 1}


@pytest.mark.parametrize("words", [("--until", "9999-12-31T23:59:59.999"), ("--since", "0001-01-01")])
def test_all_times_that_there_are_can_be_asked_for(usage, recorded, tmp_path, words):
    recorded(*call(1))
    assert usage(*words, "--chart", tmp_path / "all.svg").out.startswith("1 call from")


def test_what_goes_wrong_inside_is_a_document_too(usage, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("sk-abcdefghij0123456789")

    monkeypatch.setattr(Index, "rows", fail)
    shown = usage("--json", code=2)
    assert json.loads(shown.out)["error"] == "internal error: ZeroDivisionError: ***"
    assert "please report it" in shown.err


def lost(count, sink):
    return {"v": 1, "kind": "lost", "ts": datetime.now(UTC).isoformat(), "run": "r", "count": count, "sink": sink}


@pytest.mark.parametrize(("form", "stream"), [((), "out"), (("--csv",), "err")])
def test_what_is_lost_is_told_beside_a_table_too(usage, recorded, form, stream):
    recorded(*call(1), lost(7, "records"), lost(1, "otlp"), tail="torn\n")
    told = getattr(usage(*form), stream)
    assert "lost: 7 records could not be written" in told
    assert "1 record not sent to otlp (the records here are complete)" in told
    assert "left out, of all files: 1 line that is no record" in told


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("verb", ["usage", "logs"])
def test_a_pipe_is_refused_and_not_waited_for(verb, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    assert main([verb, str(tmp_path / "pipe")]) == 2
    err = capsys.readouterr().err
    assert "pipe: is neither a file nor a folder" in err
    assert "\n  help: write the call records to a file" in err


def test_tokens_that_nobody_told_are_no_zero(usage, document, recorded):
    recorded(*call(1, input_tokens=None, output_tokens=None), *call(2, **FAILED))
    out = usage().out
    assert "tokens: - in, - out (not told for 1 call)" in out
    assert [row["input_tokens"] for row in document()["rows"]] == [None, None]
    recorded(*call(3, input_tokens=0, output_tokens=0))
    assert "tokens: 0 in, 0 out (not told for 1 call)" in usage().out


def test_a_small_price_is_no_zero(usage, recorded):
    recorded(*call(1, cost_usd=0.000_02, cost_from="profile"))
    assert "cost: <$0.0001" in usage().out


def test_it_ends_with_the_minute_of_the_last_call(usage, recorded):
    at = datetime.now(UTC) - timedelta(hours=1)
    recorded(*call(1, ts=at.isoformat()))
    assert f"to {at:%Y-%m-%d %H:%M} UTC" in usage().out
    assert (
        f"to {at + timedelta(minutes=5):%Y-%m-%d %H:%M} UTC"
        in usage("--until", f"{at + timedelta(minutes=5):%Y-%m-%dT%H:%M}").out
    )


def test_who_only_failed_is_not_said_to_be_unknown(usage, recorded):
    recorded(*call(1, "openai", failed=["lmstudio"]))
    lines = usage("--provider", "lmstudio").out.splitlines()
    assert lines[0] == "lmstudio answered none; its attempts are below"
    assert lines[-1].split() == ["lmstudio", "1", "1", "1", "timeout", "1"]
    assert usage("--error-code", "timeout").out.startswith("no such calls are recorded, but such attempts:\n")


def test_a_chart_is_an_svg(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["usage", "--chart", str(tmp_path / "week.png")])
    assert ended.value.code == 2
    assert "week.png.svg" in capsys.readouterr().err


def test_a_damaged_index_is_made_anew_and_told_in_a_line(recorded, usage):
    recorded(*call(1))
    usage()
    index = Path(os.environ["LMROUTE_STATE_HOME"]) / "usage.sqlite"
    index.write_bytes(b"what is this? " * 999)
    shown = usage()
    assert shown.out.startswith("1 call from")
    assert shown.err.count("\n") == 1
    assert "it was made anew from the call records" in shown.err
    data = bytearray(index.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    index.write_bytes(data)
    assert usage().out.startswith("1 call from")


def test_an_index_that_cannot_be_kept_is_done_without(recorded, usage, monkeypatch):
    recorded(*call(1))

    def full(self, *_, **__):
        if self.path:
            raise LmrouteError(f"{self.path}: the usage index cannot be used: database or disk is full")
        return ingest(self, *_, **__)

    ingest = Index.ingest
    monkeypatch.setattr(Index, "ingest", full)
    shown = usage()
    assert shown.out.startswith("1 call from")
    assert "disk is full; reading the records without it" in shown.err


def test_it_needs_nothing_that_talks_to_servers():
    script = """
import sys
from prometheus_client.parser import text_string_to_metric_families

from lmroute.cli import main
main(["usage"]), main(["logs"])
print(sorted({name.partition(".")[0] for name in sys.modules} & {"dspy", "litellm", "httpx", "hydra", "omegaconf"}))
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_prometheus_gets_what_there_is_of_today(recorded, usage, tmp_path):
    recorded(*call(1), *call(2, failed=["openai"]), *call(3, minutes=3 * 24 * 60))
    text = usage("--prometheus").out
    families = {metric.name: metric for metric in text_string_to_metric_families(text)}
    assert [sample.value for sample in families["lmroute_calls"].samples] == [2.0]
    (file,) = (recorded(*call(4), file="run/calls.jsonl"),)
    assert 'lmroute_calls_total{provider="lmstudio"' in usage("--prometheus", file).out


@pytest.mark.parametrize("words", [("--since", "1d"), ("--by", "model"), ("--status", "ok"), ("--chart", "a.svg")])
def test_prometheus_chooses_by_itself(usage, words):
    assert "filters, times, --by and --chart do not go with it" in usage("--prometheus", *words, code=2).err
