"""The benchmarks measure and show every contender. How fast anything is decides no test."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTENDERS = (
    "dspy.LM(engine=<the child>)",
    "routed, records included",
    "routed, not watched",
    "routed, no records",
    "dspy.LM native",
    "litellm.Router",
)
WAYS = ("validate", "validate --files-only", "validate provider=vllm")


def run(script, tmp_path, *words):
    own = {
        "LMROUTE_CONFIG_HOME": str(tmp_path / "nobody"),
        "DSPY_CACHEDIR": str(tmp_path / "dspy"),
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *words],
        cwd=tmp_path,
        env={**os.environ, **own},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


@pytest.mark.slow
def test_every_contender_is_shown_with_its_median_and_the_ratios(tmp_path):
    done = run("overhead.py", tmp_path, "--calls", "20")
    assert done.returncode == 0, done.stderr
    for name in CONTENDERS:
        [(median, slowest)] = re.findall(rf"^{re.escape(name)} +(\d+) +(\d+)$", done.stdout, re.MULTILINE)
        assert 0 < int(median) <= int(slowest)
    assert re.search(r"^routing adds -?\d+ us to a call of its child$", done.stdout, re.MULTILINE)
    assert re.search(r"by CPU time it is -?\d+ us,\n  of which -?\d+ us decide and trace, -?\d+ us", done.stdout)
    assert re.search(
        r"^it would add -?\d+ us, -?\d+ us by CPU time, if nobody watched the servers$", done.stdout, re.MULTILINE
    )
    ratios = r"routed is \d+\.\d\dx of dspy\.LM native and \d+\.\d\dx of litellm\.Router"
    assert re.search(ratios, done.stdout)
    assert [file.name for file in tmp_path.iterdir() if file.name != "dspy"] == []


@pytest.mark.slow
def test_decisions_are_shown_beside_the_routers_selection_ratios_first(tmp_path):
    done = run("decide.py", tmp_path, "--rounds", "1")
    assert done.returncode == 0, done.stderr
    times = re.findall(r"^(\S+) +(\d+\.\d) +(\d+\.\d) +(\d+\.\d)$", done.stdout, re.MULTILINE)
    assert [name for name, *_ in times] == ["memoised", "cold", "litellm.Router"]
    assert all(0 < float(p50) <= float(p99) for _, p50, p99, _ in times)
    ratio = r"takes \d+\.\d\dx of litellm\.Router's selection at the median, \d+\.\d\dx at the 99th percentile"
    for line, name in zip(done.stdout.splitlines(), ("memoised", "cold"), strict=False):
        assert re.fullmatch(f"{name} {ratio}", line)


@pytest.mark.slow
def test_every_proof_is_timed_for_the_shape_that_is_asked(tmp_path):
    done = run("verify.py", tmp_path, "--seeds", "1", "--shapes", "tree")
    assert done.returncode == 0, done.stderr
    assert "tree" in done.stdout
    assert all(proof in done.stdout for proof in ("verify", "outages", "diff"))


@pytest.mark.slow
def test_no_round_at_all_is_too_few(tmp_path):
    done = run("decide.py", tmp_path, "--rounds", "0")
    assert done.returncode == 2
    assert "--rounds must be at least 1" in done.stderr


@pytest.mark.slow
def test_one_call_is_too_few(tmp_path):
    done = run("overhead.py", tmp_path, "--calls", "1")
    assert done.returncode == 2
    assert "--calls must be at least 20" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_every_way_to_validate_is_shown_beside_hydra_and_imports_nothing_heavy(tmp_path):
    done = run("validate.py", tmp_path, "--runs", "1")
    assert done.returncode == 0, done.stderr
    shown = re.findall(r"^(\S.*?) +(\d+\.\d\d) +(\d+\.\d\d) +(\d+\.\d\d)$", done.stdout, re.MULTILINE)
    assert [name for name, *_ in shown] == ["import hydra", *WAYS]
    assert shown[0][-1] == "1.00"
    assert [f"{way} imports none of dspy, httpx, litellm" in done.stdout for way in WAYS] == [True] * len(WAYS)


@pytest.mark.slow
def test_no_run_at_all_is_too_few(tmp_path):
    done = run("validate.py", tmp_path, "--runs", "0")
    assert done.returncode == 2
    assert "--runs must be at least 1" in done.stderr


@pytest.mark.slow
def test_writing_and_reading_records_are_shown_beside_their_peers_and_targets(tmp_path):
    done = run("telemetry.py", tmp_path, "--rounds", "1", "--events", "3000")
    assert done.returncode == 0, done.stderr
    ratios = re.findall(r"^(\w+)\b.* takes (\d+\.\d\d)x of logging", done.stdout, re.MULTILINE)
    assert [name for name, _ in ratios] == ["DailySink", "QueuedSink"]
    times = re.findall(r"^(\S.*?) +(\d+\.\d) +(\d+\.\d) *(\d+)?$", done.stdout, re.MULTILINE)
    assert {name: target for name, _, _, target in times if target} == {
        "DailySink": "10",
        "QueuedSink, caller's side": "2",
    }
    assert all(0 <= float(event) <= float(call) for _, call, event, _ in times)
    assert re.search(r"^3000 events: ingested in \d+\.\d\d s \(target 0\.07 s\)$", done.stdout, re.MULTILINE)
    asked = re.findall(r"^(.+?) +\d+\.\d ms, \d+\.\d+x of a scan \(target 300 ms\)$", done.stdout, re.MULTILINE)
    assert asked == ["usage by provider", "by model, task"]


@pytest.mark.slow
def test_no_event_at_all_is_too_few(tmp_path):
    done = run("telemetry.py", tmp_path, "--events", "0")
    assert done.returncode == 2
    assert "--events must be at least 1" in done.stderr
