"""What a routed call costs beside its peers, measured in turns in one run against one stub on loopback.

    python benchmarks/overhead.py [--calls 400]

Timings depend on the machine; the ratios are what to look at. "routed" writes its call records to a file.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import dspy

import lmroute
from lmroute import validate
from lmroute.telemetry.sink import JsonlSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 100
WARM_UP = 5
PROMPT = "Is the sentiment of this text positive or negative? " * 10


@contextmanager
def stub() -> Iterator[str]:
    """The stub server in a process of its own."""
    script = Path(__file__).with_name("stub.py")
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        assert server.stdin is not None
        server.stdin.close()


def contenders(url: str, folder: Path) -> dict[str, Callable[[], Any]]:
    """The calls to compare, by name."""
    stack = validate.load(["provider=vllm", f"providers.vllm.endpoint={url}", "providers.vllm.models=[stub]"])
    routed = lmroute.build(stack, sink=JsonlSink(folder / "calls.jsonl"), cache=False)
    child = dspy.LM("stub", engine=routed.engine.children["vllm"], num_retries=0, cache=False)
    native = dspy.LM("openai/stub", api_base=f"{url}/v1", api_key="none", num_retries=0, cache=False)
    peers = {
        "dspy.LM(engine=<the child>)": lambda: child(PROMPT),
        "routed, records included": lambda: routed(PROMPT),
        "dspy.LM native": lambda: native(PROMPT),
    }
    return {**peers, "litellm.Router": _litellm(url)}


def _litellm(url: str) -> Callable[[], Any]:
    from litellm import Router

    # Two deployments, as its users have; the router takes the dictionaries apart, so each is its own.
    params = ({"model": "openai/stub", "api_base": f"{url}/v1", "api_key": "none"} for _ in range(2))
    router = Router(model_list=[{"model_name": "stub", "litellm_params": p} for p in params], num_retries=0)
    message = [{"role": "user", "content": PROMPT}]
    return lambda: router.completion(model="stub", messages=message)


def measure(calls: dict[str, Callable[[], Any]], count: int) -> dict[str, list[float]]:
    """Microseconds of each call.

    They take turns in blocks: what a contender leaves to be done after a call (caches that
    are empty) is then paid by itself and not by whoever comes next, and a busy machine is unfair to none.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(max(1, count // BLOCK)):
        for name, call in calls.items():
            for _ in range(WARM_UP):
                call()
            for _ in range(min(count, BLOCK)):
                began = time.perf_counter()
                call()
                times[name].append((time.perf_counter() - began) * 1e6)
    return times


def show(times: dict[str, list[float]]) -> None:
    """Medians, what routing adds, and the ratios."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    base, routed, native, router = medians.values()
    print(f"{'':<30}{'p50 us':>9}{'p99 us':>9}")
    for name, values in times.items():
        print(f"{name:<30}{medians[name]:>9.0f}{statistics.quantiles(values, n=100)[98]:>9.0f}")
    print(f"\nrouting adds {routed - base:.0f} us to a call of its child")
    print(f"routed is {routed / native:.2f}x of dspy.LM native and {routed / router:.2f}x of litellm.Router")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=400, help="calls of each contender (default 400)")
    options = parser.parse_args()
    if options.calls < 2:
        parser.error("--calls must be at least 2: one call has no spread")
    with stub() as url, tempfile.TemporaryDirectory() as folder:
        show(measure(contenders(url, Path(folder)), options.calls))


if __name__ == "__main__":
    main()
