"""What call records cost: writing them beside the standard library's logging, reading them beside a plain scan.

    python benchmarks/telemetry.py [--rounds 15] [--events 200000]

All are measured in turns in one run, a round after the other; what is shown is medians of the rounds. A call is one
that the second candidate answered: two attempts and the call itself, so three lines, and three secrets are known that
each line is searched for. Times depend on the machine; the ratios are what to look at.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import logging.handlers
import os
import queue
import random
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmroute import redact
from lmroute.model import Attempt, Attributes, Candidate, Considered, Decision, Failure
from lmroute.telemetry.events import CallEvent, Usage, records
from lmroute.telemetry.index import Index
from lmroute.telemetry.sinks.daily import DailySink
from lmroute.telemetry.sinks.queued import QueuedSink
from lmroute.telemetry.usage.queries import usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Times = dict[str, list[float]]
    """Microseconds of one call by contender, a value for each round."""

MAKING, REDACTION = "making the records", "of which redaction"
DAILY, LOGGING = "DailySink", "logging with JSON"
QUEUED, QUEUE_HANDLER = "QueuedSink, caller's side", "logging.QueueHandler"
TARGETS = {DAILY: 10.0, QUEUED: 2.0}
"""Microseconds: of an event (a line) through the sink, of handing a whole call over."""
INGEST_S, USAGE_S = 5.0, 0.3
CALLS = 500
DAYS = 7
MODELS = ("qwen3-8b", "gemma-3-4b", "gpt-5-mini", "llama-3.2-3b")


class Nowhere:
    """A sink that takes no time, so that only the way to it is measured."""

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Forget them."""


class JsonFormatter(logging.Formatter):
    """What one writes in ten lines when one has no library."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"level": record.levelname, **record.__dict__["fields"]}, separators=(",", ":"))


def event(dice: random.Random, at: float) -> CallEvent:
    """A call that the first candidate failed and the second answered."""
    first, second = (Candidate(provider, dice.choice(MODELS)) for provider in ("lmstudio", "openai"))
    duration = dice.lognormvariate(6.5, 0.8)
    return CallEvent(
        call_id=dice.randbytes(12).hex(),
        stack="local_first@1a2b3c4d5e6f",
        attributes=Attributes(
            task=dice.choice(("sentiment", "summary", "extraction")),
            module="Predict",
            signature="text -> label",
            prompt_tokens=dice.randrange(50, 4000),
            max_output_tokens=256,
        ),
        decision=Decision(rule=dice.choice(("small", "default")), considered=(Considered(first), Considered(second))),
        attempts=(
            Attempt(first, 1.2, failure=Failure.TRANSPORT, message="connection refused"),
            Attempt(second, duration, answered=second.model, started_ms=1.4),
        ),
        usage=Usage(dice.randrange(50, 4000), dice.randrange(1, 256)),
        duration_ms=duration + 1.5,
        overhead_us=64.2,
        at=at,
    )


def measure(folder: Path, rounds: int) -> tuple[Times, int]:
    """Times of a call in each way, and how many lines it has."""
    happened = event(random.Random(6), time.time())
    lines = list(records(happened))
    daily, queued = DailySink(folder / "events"), QueuedSink(Nowhere(), limit=2 * CALLS)
    to_file = logging.FileHandler(folder / "log.jsonl", encoding="utf-8")
    to_file.setFormatter(JsonFormatter())
    waiting: queue.Queue[Any] = queue.Queue()
    text = "".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines)
    ways: dict[str, Callable[[], object]] = {
        MAKING: lambda: list(records(happened)),
        DAILY: lambda: daily.write(lines),
        REDACTION: lambda: redact.text(text),
        LOGGING: _logging(to_file, lines),
        QUEUED: lambda: queued.write(lines),
        QUEUE_HANDLER: _logging(logging.handlers.QueueHandler(waiting), lines),
    }
    times: Times = {name: [] for name in ways}
    order = list(ways)
    gc.collect()
    gc.freeze()  # the imports are nobody's garbage
    for _ in range(rounds + 1):  # the first opens the files and begins the thread
        for name in order:
            times[name].append(_timed(ways[name]))
            queued.flush(60)
            waiting.queue.clear()
        order.reverse()
    daily.close()
    queued.close()
    to_file.close()
    assert daily.dropped == queued.dropped == 0
    return {name: found[1:] for name, found in times.items()}, len(lines)


def _logging(handler: logging.Handler, lines: list[dict[str, Any]]) -> Callable[[], object]:
    log = logging.Logger(type(handler).__name__)
    log.addHandler(handler)

    def call() -> None:
        for line in lines:
            log.info("call", extra={"fields": line})

    return call


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - began) / CALLS * 1e6


def show_writing(times: Times, lines: int) -> None:
    typical = {name: statistics.median(found) for name, found in times.items()}
    for name, peer in ((DAILY, LOGGING), (QUEUED, QUEUE_HANDLER)):
        ratio = statistics.median(own / other for own, other in zip(times[name], times[peer], strict=True))
        print(f"{name} takes {ratio:.2f}x of {peer}")
    print(f"\n{'':<28}{'us a call':>10}{'us an event':>13}{'target':>8}")
    for name, found in typical.items():
        target = f"{TARGETS[name]:.0f}" if name in TARGETS else ""
        print(f"{name:<28}{found:>10.1f}{found / lines:>13.1f}{target:>8}")


def history(folder: Path, events: int) -> int:
    """Write a week of records as eight processes would have; how many lines that are."""
    dice, now, written = random.Random(7), datetime.now(UTC), 0
    while written < events:
        begin = now - timedelta(days=DAYS * (1 - written / events))
        batch = [line for calls in range(1000) for line in records(event(dice, begin.timestamp() + calls / 3))]
        file = folder / f"{begin:%Y-%m-%d}" / f"host-{written % 8}-x.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as out:
            out.writelines(f"{json.dumps(line, separators=(',', ':'))}\n" for line in batch[: events - written])
        written += len(batch[: events - written])
    return written


def show_reading(folder: Path, events: int, rounds: int) -> None:
    """Ingest once (a second time would find nothing new), then ask in turns with a scan of the same files."""
    count = history(folder / "history", events)
    with Index(folder / "usage.sqlite") as index:
        began = time.perf_counter()
        taken = index.ingest([folder / "history"])
        took = time.perf_counter() - began
        assert taken.lines == count
        asked = {"usage by provider": lambda: usage(index, by="provider"), "by model, task": _by_two(index)}
        times: dict[str, list[float]] = {name: [] for name in (*asked, "a scan of the files")}
        for _ in range(rounds):
            for name, ask in asked.items():
                times[name].append(_seconds(ask))
        times["a scan of the files"].append(_seconds(lambda: sum(_scanned(folder / "history"))))
    print(f"\n{count} events: ingested in {took:.2f} s (target {INGEST_S * count / 200_000:.2f} s)")
    scan = statistics.median(times["a scan of the files"])
    for name, found in times.items():
        middle = statistics.median(found)
        target = f" (target {USAGE_S * 1000:.0f} ms)" if name in asked else ""
        print(f"{name:<28}{middle * 1000:>10.1f} ms, {middle / scan:.3f}x of a scan{target}")


def _by_two(index: Index) -> Callable[[], object]:
    return lambda: usage(index, by=("model", "task"))


def _scanned(folder: Path) -> Iterator[float]:
    for file in folder.rglob("*.jsonl"):
        with file.open(encoding="utf-8") as lines:
            yield sum(json.loads(line)["duration"] for line in lines)


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help=f"rounds of {CALLS} calls each (default 15)")
    parser.add_argument("--events", type=int, default=200_000, help="records to ingest (default 200000)")
    options = parser.parse_args()
    if options.rounds < 1 or options.events < 1:
        parser.error("--rounds and --events must be at least 1")
    for _ in range(3):
        redact.remember(f"secret-{os.urandom(16).hex()}")
    with tempfile.TemporaryDirectory() as name:
        show_writing(*measure(Path(name), options.rounds))
        show_reading(Path(name), options.events, min(5, options.rounds))


if __name__ == "__main__":
    main()
