"""Processes that are killed while they write, and one whose file may not grow: only a last line is torn."""

import json
import os
import random
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGKILL, nor limits of a file's size"),
]

ROOT = Path(__file__).resolve().parents[2]
TS = "2026-03-31T12:00:00.000+00:00"

WRITER = """
import os, random, sys
from pathlib import Path
from lmroute.telemetry.sinks.daily import DailySink
sink, dice = DailySink(Path(sys.argv[1])), random.Random(int(sys.argv[2]))
common, n = {"v": 1, "ts": sys.argv[3], "pid": os.getpid()}, 0
while True:
    pad = "x" * int(10 ** dice.uniform(1, 4.5))  # up to several pages, between which a kill may come
    sink.write([{**common, "kind": "attempt", "n": n, "pad": pad}, {**common, "kind": "call", "n": n}])
    os.write(1, b".")
    n += 1
"""

LIMITED = """
import resource, sys
from pathlib import Path
from lmroute.telemetry.sinks.daily import DailySink
sink, given = DailySink(Path(sys.argv[1])), 0
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for room in (1234, 3001, 3002, 4567):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    for _ in range(60):
        sink.write([{"ts": sys.argv[2], "n": given}, {"ts": sys.argv[2], "n": given + 1}])
        given += 2
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
sink.close()
print(given, sink.dropped)
"""


def start(script, *words):
    command = [sys.executable, "-c", script, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})


def whole(file):
    """The records of a file of which only the last line may be torn."""
    *lines, last = file.read_bytes().split(b"\n")
    records = [json.loads(line) for line in lines]
    with suppress(ValueError):
        records += [json.loads(last)]  # it lacks nothing but its end
    return records


def killed_after(writer, calls):
    """Kill a writer when it has acknowledged so many calls; how many it has in the end."""
    acknowledged = len(writer.stdout.read(calls))
    writer.kill()
    return acknowledged + len(writer.stdout.read())


def test_of_eight_that_are_killed_every_acknowledged_call_is_there(tmp_path):
    dice = random.Random()
    writers = [start(WRITER, tmp_path, seed, TS) for seed in range(8)]
    acknowledged = {}

    def kill(writer, calls):
        acknowledged[writer.pid] = killed_after(writer, calls)

    killers = [threading.Thread(target=kill, args=(writer, dice.randrange(50, 1500))) for writer in writers]
    for killer in killers:
        killer.start()
    for killer in killers:
        killer.join()
    for writer in writers:
        writer.wait()
        writer.stdout.close()
    files = list(tmp_path.glob("2026-03-31/*.jsonl"))
    assert len(files) == 8
    for file in files:
        records = whole(file)
        [pid] = {record["pid"] for record in records}
        calls = [record["n"] for record in records if record["kind"] == "call"]
        attempts = [record["n"] for record in records if record["kind"] == "attempt"]
        assert calls == list(range(len(calls)))
        assert acknowledged[pid] <= len(calls) <= acknowledged[pid] + 1  # written, and killed before it could say so
        assert len(calls) <= len(attempts) <= len(calls) + 1
        assert attempts == list(range(len(attempts)))


def test_a_file_that_may_not_grow_loses_what_it_says(tmp_path):
    writer = start(LIMITED, tmp_path, TS)
    given, dropped = map(int, writer.communicate(timeout=60)[0].split())
    assert writer.returncode == 0
    there, lost, torn = [], 0, 0
    for file in sorted(tmp_path.glob("*/*.jsonl")):
        for line in file.read_bytes().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                torn += 1
                continue
            there += [record["n"]] if "n" in record else []
            lost += record.get("count", 0)
    assert torn <= 4  # each limit, one
    assert there == sorted(set(there))
    assert 0 < lost == dropped
    assert len(there) + lost == given
